package model

// unsettled lets all runs die and one without faults start, and names what it
// leaves behind. Whatever that one is asked for, it has to end well from
// everywhere, but for what only a new password heals and for what is refused.
func (m Machine) unsettled(s state) []string {
	left := s.abandoned()
	for _, command := range []Command{m.healer(&s), Rotate, Emergency, Rollback} {
		if command == Rollback && s.lostOpen {
			continue // it may turn the next rotation back, which restarts nobody
		}
		if bad := m.recovers(left, command); len(bad) > 0 {
			return bad
		}
	}
	return nil
}

// healer is what a person has to ask for.
func (m Machine) healer(s *state) Command {
	switch {
	case s.lostOpen:
		return Rotate
	case s.tampered() && s.journal.phase == idle:
		return Emergency
	}
	return Resume
}

func (m Machine) recovers(s state, command Command) []string {
	alone := m
	alone.Runs, alone.Budget, alone.Together, alone.One = []Ask{{Command: command, Request: 4}}, Budget{}, false, false
	s.runs[0].at = alone.first(alone.Runs[0])
	for s.runs[0].at < done {
		next := alone.successors(s)
		if len(next) == 0 {
			return []string{"I4 a run without faults cannot go on"}
		}
		s = next[0].to
		if bad := alone.broken(&s); len(bad) > 0 {
			return append(bad, "(while a "+command.String()+" without faults recovers)")
		}
	}
	return alone.differs(&s, command)
}

// differs names what is not as it has to be when a run has ended. Where roles
// alternate and the journal of an open rotation was deleted, pods of both roles
// go on: nobody knows that they are to be restarted.
func (m Machine) differs(s *state, command Command) []string {
	var bad violations
	if s.runs[0].at == failed && m.refuses(s, command) {
		return nil
	}
	at, now := s.runs[0].at, s.served.cred
	by := " (" + command.String() + ")"
	bad.note(at != done, "I4 a run without faults fails"+by)
	bad.note(s.journal.phase != idle, "I4 a run without faults leaves the journal open"+by)
	bad.note(!s.db.works(now) && !s.tampered(), "I4 a run without faults leaves a served credential that does not log in"+by)
	bad.note(s.journal.remote && s.remote != now, "I4 a run without faults leaves GitHub with another credential"+by)
	if m.Alternate && s.lostOpen {
		return bad
	}
	bad.note(s.pods[0].cred != now || s.pods[1].cred != now && !m.Unlisted, "I4 a run without faults leaves pods with another credential"+by)
	return bad
}

// refuses: a rollback may find nothing that may be undone, and a rotate that the
// role which it would change is in use.
func (m Machine) refuses(s *state, command Command) bool {
	return command == Rollback || command == Rotate && m.Alternate && s.used(m.target(Ask{}, s.served.cred))
}
