package model

// forward is the runbook with the pending credential.
func (c call) forward() {
	s, p := c.s, c.p
	switch pending := p.journal.pending; p.at {
	case probe:
		p.live = c.accepts(pending)
	case alter:
		p.sent = true
		c.set(pending)
		s.db.closed[pending.role] = s.db.closed[pending.role] && p.journal.inPlace
	case shut:
		p.sent = true
		c.set(pending)
		s.db.closed[pending.role] = c.Mistake != NoNologin
	case expel:
		s.db.attacker[pending.role] = false
	case open:
		c.set(pending)
		s.db.closed[pending.role] = false
	case serve:
		s.served, p.wrote = served{p.journal.epoch, p.journal.id, pending}, true
		p.served = s.served
	case remote:
		c.put(pending)
	case pod0, pod1:
		p.begun = p.begun || !c.Unlisted || p.at == pod0
		c.restart(int(p.at-pod0), p.journal.id)
	case verify:
		p.put = p.put || c.Mistake == AnyTime
	case revoke:
		s.db.closed[1-pending.role] = true
		c.set(cred{role: 1 - pending.role})
	case expelFormer:
		s.db.attacker[1-pending.role] = false
	case commit:
		c.commit()
	case retireNow:
		c.set(cred{role: 1 - p.served.cred.role})
	case retireSaved:
		c.retired()
	}
}

// commit closes the journal. The credential that a planned rotation replaced is
// kept; the role that had it is retired later.
func (c call) commit() {
	s, p := c.s, c.p
	ended := p.journal
	next := journal{version: s.journal.version + 1, epoch: s.journal.epoch, id: ended.id, by: ended.by, request: c.committed(), emergency: ended.emergency,
		remote: !c.ask.Fewer, retire: c.leavesRole(), previous: ended.previous}
	s.moved = !p.put
	s.wanted = s.wanted && !ended.emergency
	if ended.emergency {
		s.floor = max(s.floor, ended.pending.password)
	}
	s.forgot, s.lostOpen, s.drifted = false, false, false
	s.dropped = s.dropped || ended.remote && c.ask.Fewer && s.remote != s.served.cred
	if c.One {
		s.made++
	}
	s.journal, p.journal = next, next
	if c.Mistake == CommitEarly {
		p.journal.pending, p.journal.emergency = ended.pending, ended.emergency
	}
}

// leavesRole tells whether the role that is not served is still to be retired.
func (c call) leavesRole() bool {
	ended := &c.p.journal
	switch {
	case ended.emergency, c.Mistake == SwitchForgets && ended.inPlace:
		return false
	case ended.inPlace && !ended.retire:
		return false
	}
	return c.Alternate && c.s.db.accepted[1-ended.pending.role] != 0
}

// retired notes that the role that is not served is closed.
func (c call) retired() {
	c.s.journal.version++
	c.s.journal.retire = false
	c.p.journal = c.s.journal
}

// committed is the request that has its rotation now. An emergency that finished
// another one is not content with it.
func (c call) committed() int8 {
	j := &c.p.journal
	if c.ask.Command == Emergency && j.by != c.request(c.i) && c.Mistake != RequestTooEarly {
		return j.request
	}
	return c.request(c.i)
}

// set is ALTER ROLE PASSWORD.
func (c call) set(to cred) {
	d := &c.s.db
	old := d.accepted[to.role]
	d.accepted[to.role] = to.password
	if old != to.password && c.s.compromised&(1<<old) != 0 {
		c.s.burnt |= 1 << old
	}
}

// put writes GitHub, where it is among the run's targets.
func (c call) put(credential cred) {
	if c.ask.Fewer {
		return
	}
	c.s.write(credential)
	c.p.put = true
}

// attempt notes that GitHub may have what a put on the way forward brings: it
// arrived, or was lost, or its answer was, or it is late.
func (c call) attempt() {
	if c.p.at == remote && c.Mistake != IntactUnanswered {
		c.p.intact = false
	}
}

func (s *state) write(credential cred) {
	s.remote, s.moved = credential, true
	for i := range s.runs {
		s.runs[i].put = false
	}
}

// restart changes nothing where the mark is there already.
func (c call) restart(i int, mark int8) {
	unlisted := c.Unlisted && i == 1
	if unlisted || c.s.pods[i].mark == mark {
		return
	}
	c.s.pods[i] = pod{c.s.served.cred, mark}
}
