package model

// advance moves run i on after a call that was answered with a yes.
func (m Machine) advance(s *state, i int) {
	p := &s.runs[i]
	switch p.at {
	case fence:
		m.fromFence(s, p)
	case decide:
		p.at = probe
		if m.Mistake == SecretBeforeAlter {
			p.at = serve
		}
	case probe:
		p.at = either(p.live, m.afterAlter(), alter)
	case alter:
		p.at = m.afterAlter()
	case prove:
		p.at = either(m.Mistake == CommitEarly, commit, serve)
	case serve:
		p.at = either(m.Mistake == SecretBeforeAlter && !p.sent, alter, remote)
	case verify:
		p.at = either(m.Alternate && p.journal.emergency && m.Mistake != NoRevoke, revoke, commit)
		if m.Mistake == CommitEarly {
			p.at = done
		}
	case commit, backCommit:
		m.fromCommit(s, p)
	case turn:
		p.at = backProbe
	case backProbe:
		p.at = either(p.live, backServe, backAlter)
	case backRemote:
		p.at = either(p.journal.noRestart, backCommit, backPod0)
	case revert:
		p.at = failed
	default:
		p.at++ // the steps are declared in the order in which they follow
	}
	if p.at >= done {
		end(s, i, p.at)
	}
}

func either(yes bool, a, b step) step {
	if yes {
		return a
	}
	return b
}

// afterAlter: a login role that nobody uses is proven before it is served.
func (m Machine) afterAlter() step {
	switch {
	case m.Mistake == SecretBeforeAlter:
		return remote
	case m.Alternate, m.Mistake == CommitEarly:
		return prove
	}
	return serve
}

// fromFence goes where the journal points.
func (m Machine) fromFence(s *state, p *process) {
	switch {
	case p.journal.phase == idle && m.Mistake == AlterBeforeJournal:
		p.journal.pending, p.journal.previous, p.journal.emergency = cred{m.target(p.served.cred.role), s.next}, p.served.cred, p.emergency
		s.next++
		p.at = alter
	case p.journal.phase == idle, p.emergency && !p.journal.emergency, p.journal.phase == forward && m.Mistake == NewPasswordOnResume:
		p.at = decide
	case p.journal.phase == back:
		p.at = backProbe
	default:
		p.at = probe
	}
}

// fromCommit ends the run, unless the rotation that it was asked for is still
// to be made.
func (m Machine) fromCommit(s *state, p *process) {
	at := p.at
	p.at = done
	switch {
	case at == commit && m.Mistake == CommitEarly:
		p.at, p.journal.pending = serve, cred{m.target(p.served.cred.role), s.next - 1}
	case p.emergency && !p.mine && m.Mistake != SecondEmergencyAbsorbed:
		p.at = decide
	case at == backCommit && !p.emergency && p.found == back && !p.mine:
		p.again(s)
		p.claimed = 0
	}
}

// again starts the run from the lock.
func (p *process) again(s *state) {
	for i := range s.runs {
		if &s.runs[i] == p && s.holder == int8(i) {
			s.holder = -1
		}
	}
	*p = process{at: lock, emergency: p.emergency, claimed: p.claimed, mine: p.mine}
}

// end forgets what a run knew, so that equal situations are equal states.
func end(s *state, i int, at step) {
	if s.holder == int8(i) {
		s.holder = -1
	}
	s.runs[i] = process{at: at, emergency: s.runs[i].emergency}
}
