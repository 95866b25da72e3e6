package model

import "fmt"

// edge leads to a state, with what happened on the way.
type edge struct {
	to    state
	event event
}

// event is a call of a run, how it went and what the run did then; or, without a
// call, what somebody else did.
type event struct {
	run       int8
	at        step
	how, then string
}

func (e event) String() string {
	if e.how == "" {
		return e.then
	}
	return fmt.Sprintf("run %d %v%s%s", e.run, e.at, e.how, e.then)
}

func other(to state, text string) edge { return edge{to, event{then: text}} }

// successors returns every state that may come next; for each run that can
// move, what happens without a fault comes first.
func (m Machine) successors(s state) []edge {
	var out []edge
	for i := range m.Runs {
		switch at := s.runs[i].at; {
		case at < lock && s.runs[i].noted == note{} && m.Together && s.made > 0: // too late to start together
		case at == lock:
			out = append(out, m.locks(s, i)...)
		case at < done:
			out = append(out, m.calls(s, i)...)
		}
	}
	return append(out, m.events(s)...)
}

// locks takes the lock, from a live run where that is allowed: its session is
// ended, and it does not know.
func (m Machine) locks(s state, i int) []edge {
	text := fmt.Sprintf("run %d takes the lock", i)
	switch {
	case s.holder == -1:
	case s.spent.Takeovers < m.Budget.Takeovers:
		text = fmt.Sprintf("run %d takes the lock from live run %d", i, s.holder)
		s.spent.Takeovers++
		s.runs[s.holder].lost = true
	default:
		return nil
	}
	s.holder = int8(i)
	s.runs[i].at = lookJournal
	if began := &s.began[m.request(i)-1]; m.Runs[i].Command == Emergency && *began == 0 {
		*began = s.next
	}
	return []edge{other(s, text)}
}

// calls makes the next call of run i, in every way in which it may go.
func (m Machine) calls(s state, i int) []edge {
	var out []edge
	p := s.runs[i]
	add := func(how string, edges ...edge) {
		for _, e := range edges {
			out = append(out, edge{e.to, event{int8(i), p.at, how, e.event.then}})
		}
	}
	if p.at >= remote && p.at <= pod1 && s.spent.Failures < m.Budget.Failures {
		refusing := s
		refusing.spent.Failures++
		add(" IS REFUSED FOR GOOD: ", m.stops(refusing, i, false)...)
	}
	m.call(&s, i).attempt()
	after, yes := m.do(s, i)
	if yes {
		next := after
		m.advance(&next, i)
		add(" ", other(next, ""))
	} else {
		add(" IS REFUSED: ", m.stops(after, i, true)...)
	}
	if p.at == verify && s.spent.Failures < m.Budget.Failures && !p.lost && !p.stuck { // then no rollout is asked any more
		failing := s
		failing.spent.Failures++
		add(" SAYS NO: ", m.stops(failing, i, false)...)
	}
	if sent, ok := m.sendsLate(s, i); ok {
		add(" IS LATE, DIES", m.crash(sent, i))
		add(" IS LATE: ", m.stops(sent, i, false)...)
		add(" IS LATE, is repeated", m.repeats(sent, i)...)
	}
	if s.spent.Faults == m.Budget.Faults {
		return out
	}
	s.spent.Faults++
	after.spent.Faults++
	add(" CRASHES BEFORE", m.crash(s, i))
	add(" LOSES THE REQUEST: ", m.stops(s, i, false)...)
	if yes {
		add(" CRASHES AFTER", m.crash(after, i))
		add(" LOSES THE ANSWER: ", m.stops(after, i, false)...)
	}
	return out
}

func (m Machine) crash(s state, i int) edge {
	s.runs[i].at = dead
	m.end(&s, i)
	return other(s, "")
}

// stops is what a run does after a no or after no answer at all. A no says that
// somebody else owns the rotation, or that the session is gone: nothing is
// compensated, but a lost lock may be taken again.
func (m Machine) stops(s state, i int, refused bool) []edge {
	p := s.runs[i]
	given := s
	given.runs[i].at = failed
	m.end(&given, i)
	out := []edge{other(given, "gives up")}
	verdict := p.at == prove || p.at == verify && s.served.cred == p.journal.pending
	switch {
	case refused && p.lost && p.at.inSession():
		s.runs[i].again(&s)
		return append(out, other(s, "takes the lock again"))
	case refused && p.at == claim && m.Runs[i].Command == Emergency && !p.lost: // somebody who has lost the lock has claimed meanwhile
		s.runs[i].at = lookJournal
		return append(out, other(s, "looks again"))
	case refused && !verdict:
		return out
	}
	if on, ok := m.goesOn(s, i); ok {
		if s.spent.Faults > 0 { // or the fault is that it is told to stop
			return append(out, on)
		}
		return []edge{on}
	}
	if p.journal.emergency && m.Mistake != EmergencyKeepsOld || p.journal.previous.password == 0 {
		return out
	}
	if m.mayRevert(&p) {
		reverted := s
		reverted.runs[i].at = revert
		out = append(out, other(reverted, "puts the former password back"))
	}
	if p.at >= probe && p.at <= verify {
		s.runs[i].turned, s.runs[i].begun = true, false
		s.runs[i].at = either(m.Mistake == NoTurnFence, turn, turnFence)
		out = append(out, other(s, "turns back"))
	}
	return out
}

// goesOn is what an emergency does although GitHub or a restart has failed.
func (m Machine) goesOn(s state, i int) (edge, bool) {
	switch p := &s.runs[i]; {
	case p.journal.emergency && p.at == remote: // beside GitHub, pods are restarted
		p.stuck, p.at = true, pod0
		return other(s, "restarts all the same"), true
	case m.closesAnyway(p):
		p.stuck, p.at = true, verify
		return other(s, "closes the other role all the same"), true
	case m.overtakes(p, i):
		return m.own(s, i), true
	}
	return edge{}, false
}

// closesAnyway: what an emergency replaced does not stay open because GitHub or a
// rollout failed. What is served is proven first, and pods are being restarted.
func (m Machine) closesAnyway(p *process) bool {
	return p.journal.emergency && m.Alternate && p.begun && (p.at < verify || !p.stuck) && p.at >= remote && p.at <= verify && m.Mistake != StuckOpen
}

// overtakes: an emergency does not wait for GitHub or a rollout to finish another
// one. The password of that one is in the database and in the Secret. Where both
// switch roles, the own one takes the door that pods use until they are restarted.
func (m Machine) overtakes(p *process, i int) bool {
	others := m.Runs[i].Command == Emergency && p.journal.emergency && p.journal.by != m.request(i)
	shut := p.begun || p.journal.inPlace || !m.alternates(m.Runs[i]) || m.Mistake == DoorOfPods
	return others && shut && p.wrote && p.at >= remote && p.at <= expelFormer && m.Mistake != StuckFirst
}

// own begins the run's own emergency over the one that cannot be finished.
func (m Machine) own(s state, i int) edge {
	p := &s.runs[i]
	given := p.journal.id
	p.noted, p.claimed = note{id: given}, 0
	p.again(&s)
	p.given = given
	return other(s, "makes its own all the same")
}

// mayRevert: the Secret cannot be written, nor the way back be decided, and it is
// as the rotation found it.
func (m Machine) mayRevert(p *process) bool {
	stuck := p.at == serve || p.at == turnFence || p.at == turn
	written := call{Machine: m, p: p}.written()
	return stuck && p.journal.inPlace && p.sent && !written
}

// sendsLate: the write is given up, and arrives some time later.
func (m Machine) sendsLate(s state, i int) (state, bool) {
	c := m.call(&s, i)
	if s.spent.Late == m.Budget.Late || s.late.kind != 0 {
		return s, false
	}
	s.spent.Late++
	switch j := &c.p.journal; c.p.at {
	case serve:
		s.late = request{serve, served{j.epoch, j.id, j.pending}}
	case backServe:
		s.late = request{serve, served{j.epoch, j.former, j.previous}}
	case remote:
		s.late = request{remote, served{cred: j.pending}}
	case backRemote:
		s.late = request{remote, served{cred: j.previous}}
	case rewrite:
		s.late = request{remote, served{cred: c.p.served.cred}}
	default:
		return s, false
	}
	return s, !(c.ask.Fewer && s.late.kind == remote)
}

func (m Machine) repeats(s state, i int) []edge {
	after, yes := m.do(s, i)
	if !yes {
		return nil
	}
	m.advance(&after, i)
	return []edge{other(after, "")}
}
