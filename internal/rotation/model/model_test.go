package model

import (
	"flag"
	"fmt"
	"testing"
)

var full = flag.Bool("full", false, "let three runs meet, too: minutes and gigabytes")

// company are the runs that meet, by whether each is an emergency.
var company = [][]bool{{false, false}, {false, true}, {true, true}}

func machines(faults int8) []Machine {
	budget, meet := Machine{Faults: faults, Failures: 1, Takeovers: 1}, company
	if *full {
		meet = append(meet, []bool{false, true, false}, []bool{false, false, false})
	}
	var all []Machine
	for _, alternate := range []bool{false, true} {
		for _, runs := range meet {
			m := budget
			m.Alternate, m.Emergency = alternate, runs
			all = append(all, m)
		}
	}
	return all
}

func (m Machine) name() string {
	return fmt.Sprintf("alternate %v, emergencies %v, %d faults", m.Alternate, m.Emergency, m.Faults)
}

func TestInvariantsHoldInEveryState(t *testing.T) {
	total := 0
	for _, m := range machines(2) {
		r := m.Explore()
		total += r.States
		t.Logf("%s: %d states", m.name(), r.States)
		if r.Violation != "" {
			t.Errorf("%s: %s", m.name(), r.Violation)
		}
	}
	t.Logf("%d states", total)
}

func TestEveryMistakeIsCaught(t *testing.T) {
	for _, mistake := range Mistakes() {
		t.Run(mistake.String(), func(t *testing.T) {
			for _, m := range machines(1) {
				m.Mistake = mistake
				if r := m.Explore(); r.Violation != "" {
					t.Logf("%s: %s", m.name(), r.Violation)
					return
				}
			}
			t.Error("nothing noticed that the rule is left out")
		})
	}
}
