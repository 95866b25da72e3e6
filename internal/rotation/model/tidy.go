package model

// tidy is what a run does that has nothing else to do, and the former password
// put back.
func (c call) tidy() {
	s, p := c.s, c.p
	switch p.at {
	case retire:
		c.set(cred{role: 1 - p.served.cred.role})
		p.journal.retire = false
	case rewrite:
		c.put(p.served.cred)
	case tidyCommit:
		s.journal.version++
		s.journal.retire = p.journal.retire
		s.moved = s.moved && !p.put
		p.journal = s.journal
	case revert:
		c.set(p.journal.previous)
	}
}

// retires: the role that is not served goes once no session of it is left.
func (c call) retires() bool {
	other := 1 - c.p.served.cred.role
	return c.p.journal.retire && c.Due && (!c.used(other) || c.Mistake == RetireInUse)
}

// retiresNow: so does the role that a rotation leaves, where its time is over
// when that has ended.
func (c call) retiresNow() bool {
	other := 1 - c.p.served.cred.role
	return c.p.journal.retire && (c.AtOnce || c.Due) && (!c.used(other) || c.Mistake == RetireInUse)
}

// rewrites: GitHub was written after the time that is recorded.
func (c call) rewrites() bool {
	return c.s.moved && c.p.journal.remote && !c.ask.Fewer && c.p.served.cred.password != 0 && c.Mistake != NoComparison
}
