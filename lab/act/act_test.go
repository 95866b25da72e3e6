package act

import (
	"fmt"
	"os"
	"testing"
	"time"
)

// TestWorkflows runs the workflows that README and .github/workflows offer, and
// what becomes of a rotation when its run is cancelled or its runner dies. The
// others there talk to GitHub alone.
func TestWorkflows(t *testing.T) {
	b := newBench(t)
	for _, one := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"ci.yml, job action", ci},
		{"quick start of the README", quickStart},
		{"rotate.yml, called from another repository", called},
		{"rotate-scheduled.yml, the weekly run", weekly},
		{"rotate-scheduled.yml, the daily run", daily},
		{"rotate-emergency.yml", emergency},
		{"a cancelled run, ended by the post step", cancelled},
		{"resume.yml, after the runner died", resumed},
	} {
		t.Run(one.name, func(t *testing.T) {
			began := time.Now()
			one.run(t, b)
			if !t.Failed() {
				fmt.Fprintf(os.Stdout, "act: %s: ok, %s\n", one.name, time.Since(began).Round(time.Second))
			}
		})
	}
}
