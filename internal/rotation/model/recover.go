package model

// unsettled lets all runs die and one without faults start, and names what it
// leaves behind. Whatever that one is asked for, it has to end well from
// everywhere, but for what only a new password heals and for what is refused.
func (m Machine) unsettled(s state) []string {
	left := s.abandoned()
	for _, ask := range []Ask{m.healer(&s), {Command: Rotate}, {Command: Emergency}, {Command: Rollback}} {
		if ask.Command == Rollback && s.lostOpen {
			continue // it may turn the next rotation back, which restarts nobody
		}
		if bad := m.recovers(left, ask); len(bad) > 0 {
			return bad
		}
	}
	return nil
}

// healer is what a person has to ask for.
func (m Machine) healer(s *state) Ask {
	switch {
	case s.lostOpen:
		return Ask{Command: Rotate}
	case s.tampered() && s.journal.phase == idle:
		return Ask{Command: Emergency}
	case s.drifted:
		return Ask{Command: Rotate, Repair: true}
	}
	return Ask{Command: Resume}
}

func (m Machine) recovers(s state, ask Ask) []string {
	ask.Request = 4
	alone := m
	alone.Runs, alone.Budget, alone.Together, alone.One = []Ask{ask}, Budget{}, false, false
	s.runs[0].at = alone.first(alone.Runs[0])
	for s.runs[0].at < done {
		next := alone.successors(s)
		if len(next) == 0 {
			return []string{"I4 a run without faults cannot go on"}
		}
		s = next[0].to
		if bad := alone.broken(&s); len(bad) > 0 {
			return append(bad, "(while a "+ask.Command.String()+" without faults recovers)")
		}
	}
	return alone.differs(&s, ask)
}

// differs names what is not as it has to be when a run has ended. Where roles
// alternate and the journal of an open rotation was deleted, pods of both roles
// go on: nobody knows that they are to be restarted.
func (m Machine) differs(s *state, ask Ask) []string {
	var bad violations
	if s.runs[0].at == failed && m.refuses(s, ask) {
		return nil
	}
	at, now := s.runs[0].at, s.served.cred
	by := " (" + ask.Command.String() + ")"
	bad.note(at != done, "I4 a run without faults fails"+by)
	bad.note(s.journal.phase != idle, "I4 a run without faults leaves the journal open"+by)
	bad.note(!s.db.works(now) && !s.tampered() && (!s.drifted || ask.Repair), "I4 a run without faults leaves a served credential that does not log in"+by)
	bad.note(s.journal.remote && s.remote != now, "I4 a run without faults leaves GitHub with another credential"+by)
	if m.Alternate && s.lostOpen {
		return bad
	}
	bad.note(s.pods[0].cred != now || s.pods[1].cred != now && !m.Unlisted, "I4 a run without faults leaves pods with another credential"+by)
	return bad
}

// refuses: a rollback may find nothing that may be undone, a rotate that the
// role which it would change is in use, and who may not repair that the database
// was changed by hand.
func (m Machine) refuses(s *state, ask Ask) bool {
	switch {
	case ask.Command == Rollback:
		return true
	case s.drifted && s.journal.phase != forward && !ask.Repair && ask.Command != Emergency:
		return true
	}
	return ask.Command == Rotate && m.Alternate && s.used(m.target(Ask{}, s.served.cred))
}
