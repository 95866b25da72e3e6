package model

import (
	"slices"
	"strings"
)

// Report is what a search has found.
type Report struct {
	States    int
	Violation string // the first one, with the way to it; empty: none
}

// Explore searches breadth first and stops at the first state in which an
// invariant does not hold whose name begins with only, so that the way to it is
// a shortest one.
func (m Machine) Explore(only string) Report {
	first := start(m)
	found := search{at: map[state]int32{first: 0}, states: []state{first}, from: []arrival{{from: -1}}, settled: map[state]bool{}}
	for here := 0; here < len(found.states); here++ {
		s := found.states[here]
		bad := m.broken(&s)
		if len(bad) == 0 && found.settles(s) {
			bad = m.unsettled(s)
		}
		if slices.ContainsFunc(bad, func(text string) bool { return strings.HasPrefix(text, only) }) {
			return Report{len(found.states), strings.Join(bad, "; ") + ": " + found.way(here)}
		}
		for _, e := range m.successors(s) {
			found.add(int32(here), e)
		}
	}
	return Report{States: len(found.states)}
}

type arrival struct {
	from  int32
	event event
}

type search struct {
	at      map[state]int32
	states  []state
	from    []arrival
	settled map[state]bool // the recoveries that were tried
}

func (f *search) add(from int32, e edge) {
	if _, known := f.at[e.to]; known {
		return
	}
	f.at[e.to] = int32(len(f.states))
	f.states = append(f.states, e.to)
	f.from = append(f.from, arrival{from, e.event})
}

// settles tells whether the recovery from s is still to be tried: it depends on
// what the runs leave behind, not on them.
func (f *search) settles(s state) bool {
	left := s.abandoned()
	if f.settled[left] {
		return false
	}
	f.settled[left] = true
	return true
}

// abandoned is s with all its runs dead and nothing to come.
func (s state) abandoned() state {
	s.holder, s.late, s.spent = -1, request{}, Budget{}
	s.began, s.made, s.wasted, s.undone = [4]int8{}, 0, false, false
	for i := range s.runs {
		s.runs[i] = process{at: dead}
	}
	return s
}

func (f *search) way(to int) string {
	var events []string
	for at := int32(to); at > 0; at = f.from[at].from {
		events = append(events, strings.TrimSpace(f.from[at].event.String()))
	}
	slices.Reverse(events)
	return strings.Join(events, " > ")
}
