package model

import "fmt"

// edge leads to a state, with what happened on the way.
type edge struct {
	to    state
	event string
}

// successors returns every state that may come next; for each run that can
// move, what happens without a fault comes first.
func (m Machine) successors(s state) []edge {
	var out []edge
	for i := range m.Emergency {
		switch at := s.runs[i].at; {
		case at == lock:
			out = append(out, m.locks(s, i)...)
		case at < done:
			out = append(out, m.calls(s, i)...)
		}
	}
	return out
}

// locks takes the lock, from a live run where that is allowed: its session is
// ended, and it does not know.
func (m Machine) locks(s state, i int) []edge {
	event := fmt.Sprintf("run %d takes the lock", i)
	switch {
	case s.holder == -1:
	case s.takeovers < m.Takeovers:
		event = fmt.Sprintf("run %d takes the lock from live run %d", i, s.holder)
		s.takeovers++
		s.runs[s.holder].lost = true
	default:
		return nil
	}
	s.holder = int8(i)
	s.runs[i].at = lookJournal
	if s.runs[i].emergency && s.began[i] == 0 {
		s.began[i] = s.next
	}
	return []edge{{s, event}}
}

// calls makes the next call of run i, in every way in which it may go.
func (m Machine) calls(s state, i int) []edge {
	var out []edge
	p := s.runs[i]
	add := func(what string, edges ...edge) {
		for _, e := range edges {
			out = append(out, edge{e.to, fmt.Sprintf("run %d %v %s%s", i, p.at, what, e.event)})
		}
	}
	after, yes := m.do(s, i)
	if yes {
		next := after
		m.advance(&next, i)
		add("", edge{next, ""})
	} else {
		add("is refused: ", m.stops(after, i, true)...)
	}
	if p.at == verify && s.failures < m.Failures && !p.lost {
		failing := s
		failing.failures++
		add("says no: ", m.stops(failing, i, false)...)
	}
	if s.faults == m.Faults {
		return out
	}
	s.faults++
	after.faults++
	add("CRASHES BEFORE", crash(s, i))
	add("LOSES THE REQUEST: ", m.stops(s, i, false)...)
	if yes {
		add("CRASHES AFTER", crash(after, i))
		add("LOSES THE ANSWER: ", m.stops(after, i, false)...)
	}
	return out
}

func crash(s state, i int) edge {
	end(&s, i, dead)
	return edge{s, ""}
}

// stops is what a run does after a no or after no answer at all. A no says that
// somebody else owns the rotation, or that the session is gone: nothing is
// compensated, but a lost lock may be taken again.
func (m Machine) stops(s state, i int, refused bool) []edge {
	p := s.runs[i]
	given := s
	end(&given, i, failed)
	out := []edge{{given, "gives up"}}
	if refused && p.at != prove && p.at != verify {
		if p.lost && (p.at == check || p.at == alter || p.at == backAlter) {
			s.runs[i].again(&s)
			out = append(out, edge{s, "takes the lock again"})
		}
		return out
	}
	if p.journal.emergency && m.Mistake != EmergencyKeepsOld || p.journal.previous.password == 0 {
		return out
	}
	if m.mayRevert(&p) {
		reverted := s
		reverted.runs[i].at = revert
		out = append(out, edge{reverted, "puts the former password back"})
	}
	if p.at >= alter && p.at <= verify {
		s.runs[i].at = turnFence
		out = append(out, edge{s, "turns back"})
	}
	return out
}

// mayRevert: the Secret cannot be written, nor the way back be decided, and no
// pod can have read the new password.
func (m Machine) mayRevert(p *process) bool {
	stuck := p.at == serve || p.at == turnFence || p.at == turn
	return stuck && !m.Alternate && p.sent && !p.shown()
}
