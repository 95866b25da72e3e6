package model

// do is the effect of the call that run i is about to make. It tells whether
// the call is answered with a yes; where it is not, nothing has changed.
func (m Machine) do(s state, i int) (state, bool) {
	p := &s.runs[i]
	if m.refused(&s, p) {
		return s, false
	}
	switch p.at {
	case lookJournal:
		p.journal, p.found = s.journal, s.journal.phase
	case lookServed:
		p.served = s.served
	case claim:
		s.journal.version++
		s.journal.epoch = max(s.journal.epoch, p.served.epoch) + 1
		p.journal, p.claimed = s.journal, s.journal.epoch
	case fence, turnFence:
		m.fenced(&s, p)
	case decide:
		m.decided(&s, p)
	case probe:
		p.live = s.login(p.journal.pending)
	case backProbe:
		p.live = s.login(p.journal.previous)
	case alter:
		p.sent = true
		m.set(&s, p.journal.pending)
	case backAlter, revert:
		m.set(&s, p.journal.previous)
	case revoke:
		m.set(&s, cred{role: 1 - p.journal.pending.role})
	case serve:
		s.served, p.wrote = served{p.journal.epoch, p.journal.pending}, true
		p.served = s.served
	case backServe:
		s.served = served{p.journal.epoch, p.journal.previous}
		p.served = s.served
	case remote:
		s.remote = p.journal.pending
	case backRemote:
		s.remote = p.journal.previous
	case pod0, backPod0:
		s.pods[0] = s.served.cred
	case pod1, backPod1:
		s.pods[1] = s.served.cred
	case turn:
		m.turned(&s, p)
	case commit, backCommit:
		s.wanted = s.wanted && !s.journal.emergency
		s.journal = journal{version: s.journal.version + 1, epoch: s.journal.epoch, generation: s.journal.generation}
		p.journal = s.journal
	}
	return s, true
}

// refused tells whether a precondition of the call does not hold.
func (m Machine) refused(s *state, p *process) bool {
	switch p.at {
	case claim, decide, turn, commit, backCommit:
		return s.journal.version != p.journal.version && m.Mistake != NoPreconditions
	case lookJournal:
		return false
	case lookServed:
		return p.claimed > 0 && p.journal.epoch != p.claimed
	case check:
		return p.lost && m.Mistake != NoLockCheck
	case fence, serve, backServe:
		return s.served.epoch > p.journal.epoch && m.checksEpoch()
	case turnFence:
		return s.served.epoch > p.journal.epoch+1 && m.checksEpoch()
	case alter, backAlter, revoke, revert:
		return p.lost && m.Mistake != AlterWithoutLock
	case prove, verify:
		return !s.login(p.journal.pending)
	}
	return false
}

func (m Machine) checksEpoch() bool { return m.Mistake != NoPreconditions && m.Mistake != NoEpochCheck }

func (m Machine) fenced(s *state, p *process) {
	if m.Mistake != NoFence {
		s.served.epoch = p.journal.epoch
		if p.at == turnFence {
			s.served.epoch++
		}
	}
	p.served = s.served
}

// decided writes down a rotation of the run's own.
func (m Machine) decided(s *state, p *process) {
	open := p.journal
	next := journal{version: s.journal.version + 1, epoch: open.epoch, phase: forward, emergency: p.emergency, generation: s.next,
		pending: cred{m.target(p.served.cred.role), s.next}, previous: p.served.cred}
	s.next++
	if p.emergency {
		m.escalated(s, p, &next)
	}
	s.journal, p.journal, p.mine = next, next, true
	p.sent, p.wrote = false, false
}

// escalated: an emergency keeps nothing that it replaces, but what an open
// rotation may have brought into the database stays known until the new
// credential is live.
func (m Machine) escalated(s *state, p *process, next *journal) {
	open := p.journal
	if m.Mistake != EmergencyKeepsOld {
		next.previous.password = 0
	}
	s.wanted = true
	s.compromised |= 1 << p.served.cred.password
	if open.phase == idle {
		return
	}
	if m.Mistake != EscalationForgets {
		next.superseded = [2]cred{open.pending, open.previous}
	}
	for _, c := range []cred{open.pending, open.previous} {
		if c.password != 0 {
			s.compromised |= 1 << c.password
		}
	}
}

func (m Machine) target(current int8) int8 {
	if m.Alternate {
		return 1 - current
	}
	return current
}

// turned writes the way back down.
func (m Machine) turned(s *state, p *process) {
	s.journal.version++
	s.journal.epoch++
	s.journal.phase = back
	s.journal.noRestart = !p.shown() || m.Mistake == BackWithoutRestart
	p.journal, p.claimed = s.journal, s.journal.epoch
}

// shown tells whether pods may have read the pending credential.
func (p *process) shown() bool { return p.wrote || p.served.cred == p.journal.pending }

func (m Machine) set(s *state, c cred) {
	old := s.accepted[c.role]
	s.accepted[c.role] = c.password
	if old != 0 && old != c.password && s.compromised&(1<<old) != 0 {
		s.burnt |= 1 << old
	}
}
