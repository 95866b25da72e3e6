package model

import "slices"

// broken names the invariants that do not hold in s.
func (m Machine) broken(s *state) []string {
	var bad []string
	note := func(broken bool, text string) {
		if broken && !slices.Contains(bad, text) {
			bad = append(bad, text)
		}
	}
	role := s.served.cred.role
	note(s.accepted[role] != 0 && !s.stored(cred{role, s.accepted[role]}), "I1 an accepted password of the served role is stored nowhere")
	opens := s.login(s.served.cred)
	note(m.Alternate && !opens, "I2 the served credential does not log in")
	note(!m.Alternate && !opens && s.journal.phase == idle, "I2 the served credential does not log in and no journal is open")
	for _, password := range s.accepted {
		if password == 0 {
			continue
		}
		note(s.burnt&(1<<password) != 0, "I3 a compromised password works again")
		note(s.journal.phase == idle && !s.wanted && s.compromised&(1<<password) != 0, "I3 a compromised password works after the emergency")
	}
	for i, p := range s.runs {
		for role, password := range s.accepted {
			older := p.at == done && p.emergency && password != 0 && password < s.began[i]
			note(older && (m.Alternate || int8(role) == s.served.cred.role), "I3 a password older than a finished emergency works")
		}
	}
	for _, c := range s.pods {
		note(m.Alternate && s.compromised == 0 && !s.login(c), "I6 a pod has a credential that does not log in")
		note(!m.Alternate && s.journal.phase == idle && !s.login(c), "I6 a pod has a stale credential and no journal is open")
	}
	return bad
}

// stored tells whether the Secret or the journal holds c.
func (s *state) stored(c cred) bool {
	j := s.journal
	return slices.Contains([]cred{s.served.cred, j.pending, j.previous, j.superseded[0], j.superseded[1]}, c)
}

// unsettled lets all runs die and one without faults start, and names what it
// leaves behind.
func (m Machine) unsettled(s state) []string {
	s.holder = -1
	for i := range s.runs {
		s.runs[i] = process{at: dead}
	}
	s.runs[0].at = lock
	m.Emergency, m.Faults, m.Failures, m.Takeovers = []bool{false}, 0, 0, 0
	for range 100 {
		next := m.successors(s)
		if len(next) == 0 {
			break
		}
		s = next[0].to
		if bad := m.broken(&s); len(bad) > 0 {
			return append(bad, "(while one run without faults recovers)")
		}
	}
	switch {
	case s.runs[0].at != done:
		return []string{"I4 a run without faults does not end: " + s.runs[0].at.String()}
	case s.journal.phase != idle:
		return []string{"I4 a run without faults leaves the journal open"}
	case !s.login(s.served.cred), s.remote != s.served.cred, s.pods != [2]cred{s.served.cred, s.served.cred}:
		return []string{"I4 a run without faults leaves places that differ"}
	}
	return nil
}
