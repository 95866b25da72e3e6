package model

// look is what every run does first: note, lock, look, claim, check, fence.
func (c call) look() {
	s, p := c.s, c.p
	switch p.at {
	case noteServed:
		p.noted.served = s.served.id
	case noteJournal:
		p.noted.id, p.noted.open = s.journal.id, s.journal.phase != idle
	case lookJournal:
		p.journal, p.found = s.journal, s.journal.phase
	case lookServed:
		p.served = s.served
	case claim:
		c.claim()
	case fence:
		c.raise(p.journal.epoch)
	}
}

// claim makes the run the owner of the journal.
func (c call) claim() {
	highest := max(c.s.journal.epoch, c.p.served.epoch)
	if c.Mistake == EpochOfJournal {
		highest = c.s.journal.epoch
	}
	if c.s.journal.phase == forward && c.p.served.epoch < c.s.journal.epoch && c.Mistake != RestoredUnseen {
		c.s.journal.restored = true
	}
	c.s.journal.version++
	c.s.journal.epoch = highest + 1
	c.p.journal, c.p.claimed = c.s.journal, c.s.journal.epoch
	c.p.intact = c.Mistake == IntactOnResume
}

// raise shuts older runs out of the served Secret, and reads it again.
func (c call) raise(epoch int8) {
	if c.Mistake != NoFence {
		c.s.served.epoch = epoch
	}
	c.p.served = c.s.served
}

// afterLook ends the run before its first write where there is nothing to do.
func (c call) afterLook() step {
	j := &c.p.journal
	switch {
	case j.phase != idle && c.lacks(), j.phase == forward && (j.emergency || j.oneWay && c.Mistake != RepairTurnsBack) && c.ask.Command == Rollback:
		return failed
	case j.phase != idle:
		return claim
	case c.wants():
		c.p.own = c.mayBegin()
		return either(c.p.own, claim, failed)
	case c.untidy(), c.Mistake == ClaimBeforeLook:
		return claim
	}
	return done
}

// lacks: the record refuses a run whose inputs leave out a recorded target.
func (c call) lacks() bool {
	return c.p.journal.remote && c.ask.Fewer && c.Mistake != FewerTargets
}

// wants tells whether the run has to begin a rotation where none is open.
func (c call) wants() bool {
	switch {
	case c.ask.Command == Resume, c.over():
		return false
	case c.ask.Command == Emergency: // what others made meanwhile is no answer to it
		return true
	}
	return !c.meanwhile()
}

// over: the request has made its rotation already, whoever finished it.
func (c call) over() bool {
	mine := c.request(c.i)
	return (c.p.journal.request == mine || c.p.journal.by == mine) && c.Mistake != RequestForgotten
}

// meanwhile: somebody else has rotated while the run waited for the lock. What
// is served is the journal's last rotation, and the note knows of none or of an
// open one.
func (c call) meanwhile() bool {
	last, served, noted := c.p.journal.id, c.p.served.id, c.p.noted
	switch {
	case c.Mistake == NoNote, c.Mistake == UndoSince && c.ask.Command == Rollback:
		return false
	case c.Mistake == NoteServed:
		return served != noted.served || noted.open && served == noted.id
	case c.Mistake == NoNoteOfOpen:
		noted.open = false
	}
	return served == last && (noted.id != last || noted.open)
}

// mayBegin tells what a rotation that would be the run's own is refused for.
func (c call) mayBegin() bool {
	p := c.p
	switch {
	case p.served.cred.password == 0:
		return false
	case c.locksOut() && c.ask.Command != Emergency:
		return c.mayRepair()
	case c.ask.Command == Rollback:
		return c.mayUndo()
	}
	return !c.alternates(c.ask) || c.ask.Command == Emergency || c.Mistake == ReuseInUse || !c.used(c.target(c.ask, p.served.cred))
}

// locksOut: what is served, or would be put back, is not what somebody else has
// set in the database.
func (c call) locksOut() bool {
	if c.p.journal.phase == back {
		return c.foreign()
	}
	return c.s.drifted && !c.s.db.works(c.p.served.cred)
}

// mayRepair tells whether a rotation may begin to which there is no way back.
func (c call) mayRepair() bool {
	return c.ask.Command == Rotate && c.ask.Repair && (!c.alternates(c.ask) || !c.used(c.target(c.ask, c.p.served.cred)))
}

// repairs: a way back on which somebody else's password stands is given up.
func (c call) repairs() bool {
	return c.p.journal.phase == back && c.locksOut() && c.mayRepair() && c.Mistake != RepairResumes
}

// mayUndo: what is to be undone must be the last rotation, a planned one, and
// what it replaced must be known.
func (c call) mayUndo() bool {
	j := &c.p.journal
	switch {
	case j.previous.password == 0:
		return false
	case j.emergency && c.Mistake != UndoEmergency:
		return false
	case j.id != c.p.served.id && c.Mistake != UndoAny:
		return false
	}
	inPlace := j.previous.role == c.p.served.cred.role
	return inPlace || c.s.db.works(j.previous) || !c.used(j.previous.role)
}

// used tells whether a pod shows sessions of the role.
func (c call) used(role int8) bool { return c.s.used(role) && !c.Quiet }

func (s *state) used(role int8) bool {
	return s.pods[0].cred.role == role || s.pods[1].cred.role == role
}

// untidy: a role is due to be retired, or somebody has written GitHub.
func (c call) untidy() bool {
	return c.retires() || c.rewrites()
}
