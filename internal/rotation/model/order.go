package model

// advance moves run i on after a call that was answered with a yes.
func (m Machine) advance(s *state, i int) {
	c := m.call(s, i)
	at := c.p.at
	if at == remote { // GitHub has said that it took it
		c.p.intact = false
	}
	switch {
	case at == lookServed:
		c.p.at = c.afterLook()
	case at == fence:
		c.p.at = c.afterFence()
	case at <= decide:
		c.p.at++ // the steps are declared in the order in which they follow
	case at == commit && c.retiresNow():
		c.p.at = retireNow
	case at == backCommit && c.p.journal.retire && !c.used(1-c.p.served.cred.role):
		c.p.at = backRetire
	case at == commit, at == backCommit, at == retireSaved, at == backSaved:
		c.ended()
	case at < commit, at == retireNow:
		c.p.at = c.afterForward()
	default:
		c.p.at = c.afterBackward()
	}
	if c.p.at >= done {
		m.end(s, i)
	}
}

func either(yes bool, a, b step) step {
	if yes {
		return a
	}
	return b
}

// afterForward is the runbook's order.
func (c call) afterForward() step {
	p, emergency := c.p, c.p.journal.emergency
	switch at := p.at; {
	case p.stuck && (at == expelFormer || at == pod1 && (!c.Alternate || c.Mistake == StuckOpen)):
		return c.givesUp()
	case at >= verify && p.stuck:
		return p.at + 1
	case at == probe:
		return c.afterProbe()
	case at == alter:
		return c.accepted()
	case at == shut && c.Mistake == ExpelFirst:
		return open
	case at == expel && c.Mistake == ExpelFirst:
		return shut
	case at == open:
		return c.accepted()
	case at == prove && c.Mistake == CommitEarly:
		return commit
	case at == serve && c.Mistake == SecretBeforeAlter && !p.live:
		return alter
	case at == verify && c.Mistake == CommitEarly:
		return done
	case at == prove && c.Mistake == RevokeEarly && emergency:
		return revoke
	case at == serve && c.Mistake == RetireEarly && c.AtOnce && !emergency:
		return retireNow
	case at == expelFormer && c.Mistake == RevokeEarly:
		return serve
	case at == retireNow && c.Mistake == RetireEarly:
		return either(p.journal.phase == idle, retireSaved, remote)
	case at == verify && emergency && c.Alternate && !c.leavesFormer():
		return revoke
	case at == verify, at == expelFormer:
		return commit
	}
	return p.at + 1
}

// givesUp: what an emergency replaced is closed, and no more can be done for it.
func (c call) givesUp() step {
	if c.overtakes(c.p, c.i) {
		*c.s = c.own(*c.s, c.i).to
		return lock
	}
	return failed
}

// afterProbe changes the password where the database does not accept it, and
// locks the role out where it is compromised. A role that is closed may have
// sessions: the lockout begins anew.
func (c call) afterProbe() step {
	p, role := c.p, c.p.journal.pending.role
	switch {
	case p.live:
		return c.accepted()
	case c.Mistake == SecretBeforeAlter:
		return serve
	case !p.journal.emergency, c.Alternate && c.Mistake == TargetOpen:
		return alter
	case c.Mistake == ExpelFirst:
		return expel
	case c.Mistake == OpenOnly && c.s.db.closed[role] && c.s.db.accepted[role] == p.journal.pending.password:
		return open
	}
	return shut
}

// leavesFormer is a mistake: of an emergency, the other role stays as it was.
func (c call) leavesFormer() bool {
	return c.Mistake == NoRevoke || c.Mistake == InPlaceKeepsFormer && c.p.journal.inPlace
}

// accepted: a login role that nobody uses is proven before it is served.
func (c call) accepted() step {
	switch p := c.p; {
	case c.Mistake == SecretBeforeAlter && p.sent:
		return remote
	case c.Alternate, p.journal.emergency, c.Mistake == CommitEarly:
		return prove
	}
	return serve
}

func (c call) afterBackward() step {
	switch p := c.p; p.at {
	case backProbe:
		return either(p.live, backServe, backAlter)
	case backRemote:
		return either(p.journal.noRestart, backVerify, backPod0)
	case retire:
		return either(c.rewrites(), rewrite, tidyCommit)
	case tidyCommit:
		return done
	case revert:
		return failed
	default:
		return p.at + 1
	}
}

// ended ends the run after a commit, unless the rotation that it was asked for
// is still to be made.
func (c call) ended() {
	p, at := c.p, c.p.at
	switch p.at = done; at {
	case retireSaved:
		at = commit
	case backSaved:
		at = backCommit
	}
	switch {
	case at == commit && c.Mistake == CommitEarly:
		p.at = serve
	case c.ask.Command == Emergency && p.journal.by != c.request(c.i) && c.Mistake != SecondEmergencyAbsorbed:
		p.at = decide
	case at == backCommit && (p.turned || c.ask.Command == Rollback && p.journal.undo && c.Mistake != UndoUndone):
		p.at = failed // not what it was asked for
	case at == backCommit && c.ask.Command == Rotate && p.found == back:
		p.noted, p.claimed = note{id: p.journal.id}, 0
		p.again(c.s)
		p.at = either(c.Mistake == NoteAnew, noteJournal, lock)
	}
}

// again starts the run from the lock.
func (p *process) again(s *state) {
	for i := range s.runs {
		if &s.runs[i] == p && s.holder == int8(i) {
			s.holder = -1
		}
	}
	*p = process{at: lock, claimed: p.claimed, turned: p.turned, noted: p.noted}
}

// end forgets what a run knew, so that equal situations are equal states.
func (m Machine) end(s *state, i int) {
	if s.holder == int8(i) {
		s.holder = -1
	}
	at := s.runs[i].at
	s.exposed = s.exposed || at == failed && m.exposes(s, i)
	s.shutOut = s.shutOut || at == failed && m.shutsOut(s, i)
	s.runs[i] = process{at: at}
	if at != done {
		return
	}
	switch m.Runs[i].Command {
	case Emergency:
		s.floor = max(s.floor, s.began[m.request(i)-1])
	case Rollback:
		s.undone = true
	}
}

// onlyRefused tells whether a run of an emergency has met nothing but failures of
// GitHub and of restarts.
func (m Machine) onlyRefused(s *state, i int) bool {
	spent := s.spent
	spent.Failures = 0
	return s.runs[i].journal.emergency && m.Runs[i].Command != Rollback && spent == (Budget{})
}

// shutsOut tells whether no pod that it restarts can log in when it ends.
func (m Machine) shutsOut(s *state, i int) bool {
	opens := s.db.works(s.pods[0].cred) || !m.Unlisted && s.db.works(s.pods[1].cred)
	return m.onlyRefused(s, i) && m.Alternate && s.journal.phase == forward && !s.journal.inPlace && !s.journal.gaveUp && !opens
}

// exposes tells whether it ends with a compromised password that still works, though
// pods are being restarted.
func (m Machine) exposes(s *state, i int) bool {
	if !m.onlyRefused(s, i) || m.Alternate && !s.runs[i].begun {
		return false
	}
	began := s.began[m.request(i)-1]
	for role, password := range s.db.accepted {
		known := s.compromised&(1<<password) != 0 || password < began
		if password != stolen && known && s.db.works(cred{int8(role), password}) {
			return true
		}
	}
	return false
}
