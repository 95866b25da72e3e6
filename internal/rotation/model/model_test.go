package model

import (
	"flag"
	"testing"
)

var full = flag.Bool("full", false, "let three runs meet, too: minutes and gigabytes")

func TestInvariantsHoldInEveryState(t *testing.T) {
	total := 0
	for _, f := range foci(2, *full) {
		t.Run(f.name, func(t *testing.T) {
			for _, m := range f.machines {
				r := m.Explore("")
				total += r.States
				t.Logf("%s: %d states", m.name(), r.States)
				if r.Violation != "" {
					t.Errorf("%s: %s", m.name(), r.Violation)
				}
			}
		})
	}
	t.Logf("%d states", total)
}
