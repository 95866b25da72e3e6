package model

import (
	"flag"
	"os"
	"runtime/debug"
	"sync/atomic"
	"testing"
)

// go test ./internal/rotation/model -v -args -explore=usual
var explore = flag.String("explore", "first", "first (machine of each focus), usual (all), full (and three runs that meet: minutes and gigabytes)")

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // nearly all that a search makes it keeps
	os.Exit(m.Run())
}

func TestInvariantsHoldInEveryState(t *testing.T) {
	var total atomic.Int64
	t.Cleanup(func() { t.Logf("%d states", total.Load()) })
	for _, f := range foci(2, *explore == "full") {
		if *explore == "first" {
			f.machines = f.machines[:1]
		}
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
