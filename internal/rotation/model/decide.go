package model

// afterFence goes where the journal points, or begins.
func (c call) afterFence() step {
	j := &c.p.journal
	escalates := c.ask.Command == Emergency && (!j.emergency || c.p.given == j.id && j.id != 0)
	switch {
	case j.phase == idle && c.p.own && c.Mistake == AlterBeforeJournal:
		return c.alterFirst()
	case j.phase == idle && c.p.own:
		return decide
	case j.phase == idle && c.untidy():
		return either(c.retires(), retire, rewrite)
	case j.phase == idle:
		c.s.wasted = true
		return done
	case escalates, c.repairs(), j.phase == forward && c.Mistake == NewPasswordOnResume:
		return decide
	case j.phase == back:
		return backProbe
	case c.ask.Command == Rollback && !j.emergency && (!j.undo || c.Mistake == UndoUndone):
		return turnFence
	}
	return probe
}

// alterFirst is a mistake: what is pending is known to the process alone.
func (c call) alterFirst() step {
	c.p.journal.pending = cred{c.target(c.ask, c.p.served.cred), c.s.next}
	c.s.next++
	return alter
}

// decide writes a rotation of the run's own down, before anything changes.
func (c call) decide() {
	s, p, last := c.s, c.p, c.p.journal
	next := journal{version: s.journal.version + 1, epoch: last.epoch, phase: forward, id: s.next, by: c.request(c.i), request: last.request,
		emergency: c.ask.Command == Emergency, undo: c.ask.Command == Rollback, remote: !c.ask.Fewer, timed: last.remote, retire: last.retire,
		former: p.served.id, previous: p.served.cred, pending: cred{c.target(c.ask, p.served.cred), s.next}}
	s.next++
	switch {
	case next.undo:
		next.pending = last.previous
	case next.emergency:
		c.escalate(&next)
	case c.locksOut():
		c.repair(&next)
	}
	next.inPlace = next.pending.role == p.served.cred.role
	s.journal, p.journal = next, next
	p.own, p.sent, p.wrote, p.begun, p.intact, p.noted = false, false, false, false, true, note{}
}

// repair: what the database refuses is nothing to go back to.
func (c call) repair(next *journal) {
	last := c.p.journal
	next.oneWay = true
	if last.phase != idle {
		next.superseded = [2]cred{last.pending, last.previous}
		next.gaveUp = last.inPlace
	}
	if c.Mistake != RepairKeepsOld {
		next.previous = cred{}
	}
}

// escalate: an emergency keeps nothing that it replaces, but what an open
// rotation may have brought into the database stays known until the new
// credential is live.
func (c call) escalate(next *journal) {
	s, last := c.s, c.p.journal
	s.wanted = true
	s.compromised |= 1 << c.p.served.cred.password &^ 1
	if last.phase != idle {
		s.compromised |= (1<<last.pending.password | 1<<last.previous.password) &^ 1
		next.superseded = [2]cred{last.pending, last.previous}
		next.gaveUp = last.inPlace
	}
	switch c.Mistake {
	case EscalationForgets:
		next.previous, next.superseded = cred{}, [2]cred{}
	case EmergencyLeavesKept:
		next.previous = last.previous
	case EmergencyKeepsOld, UndoEmergency:
	default:
		next.previous = cred{}
	}
}
