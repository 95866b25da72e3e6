package model

import (
	"flag"
	"os"
	"runtime/debug"
	"sync/atomic"
	"testing"
)

var full = flag.Bool("full", false, "let three runs meet, too: minutes and gigabytes")

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // nearly all that a search makes it keeps
	os.Exit(m.Run())
}

func TestInvariantsHoldInEveryState(t *testing.T) {
	var total atomic.Int64
	t.Cleanup(func() { t.Logf("%d states", total.Load()) })
	for _, f := range foci(2, *full) {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			for _, m := range f.machines {
				r := m.Explore("")
				total.Add(int64(r.States))
				t.Logf("%s: %d states", m.name(), r.States)
				if r.Violation != "" {
					t.Errorf("%s: %s", m.name(), r.Violation)
				}
			}
		})
	}
}
