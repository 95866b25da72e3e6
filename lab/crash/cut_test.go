package crash

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// cut is a connection that ends after some bytes of one answer.
type cut struct {
	mode  mode
	name  string
	bytes int
}

func (c cut) String() string {
	return fmt.Sprintf("%s, cut %s after %d bytes", c.mode.name, c.name, c.bytes)
}

// password tells the requests that bring a new password somewhere, after the
// fence: ALTER ROLE, which preflight only tries, is repeated after it.
func password(requests []proxy.Request) (found []proxy.Request) {
	fenced := false
	for _, r := range requests {
		for _, kind := range []string{"postgres ALTER ROLE", "postgres COMMIT", "kubernetes PATCH secrets/postgres-credentials", "github PUT "} {
			if fenced && strings.HasPrefix(r.Name(), kind) {
				found = append(found, r)
			}
		}
		fenced = fenced || r.Name() == "kubernetes PATCH secrets/postgres-credentials #1"
	}
	return found
}

// cut ends the connection of whole rotations after some bytes of the answer to each
// write of the password; TestAnswerCutAtEveryByte tries them all.
func (s *suite) cut(t *testing.T) {
	t.Parallel()
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			var all []cut
			for _, r := range password(s.undisturbed(t, m, false)) {
				for n := range r.Answer {
					all = append(all, cut{m, r.Name(), n})
				}
			}
			cases := part(s, all, 4, func(cut) bool { return false })
			if s.only == "" {
				cases = evenly(cases, 100)
			}
			f := spread(s, t, kind{m.name, false}, cases, severed)
			fmt.Fprintf(os.Stdout, "cut, %s, at some of %d bytes: %s\n", m.name, len(all), f)
		})
	}
}

func severed(b *Bench, c cut) outcome {
	return disturbed(b, c.mode, &proxy.Fault{Name: c.name, Moment: proxy.After, Effect: proxy.Cut, Bytes: c.bytes})
}

// disturbed runs a rotation that meets a fault and goes on, then resumes.
func disturbed(b *Bench, m mode, fault *proxy.Fault) outcome {
	before, err := b.Look()
	if err != nil {
		return outcome{err: err}
	}
	o, code := meets(b, m, fault)
	if o.err == nil {
		o = o.then(b)
	}
	if o.err == nil {
		o.err = follows(b, m, before, code, o)
	}
	return o
}

// follows tells whether what is served now, compared with before, is what comes of
// the exit code of a run, of the journal that it left and of the resume.
func follows(b *Bench, m mode, before *fixture.State, code int, o outcome) error {
	switch {
	case code == 1, code == 2, o.code == 1: // rolled back, not begun, rolled back later
		return returned(b, before)
	case code == 0, phaseOf(o.left) == "forward":
		return brought(b, m, before)
	}
	return nil // the run did not know how it ended
}

// meets runs a rotation that meets a fault, and judges.
func meets(b *Bench, m mode, fault *proxy.Fault) (o outcome, code int) {
	reached := b.Proxy.Begin(fault)
	began := time.Now()
	run, err := b.Start(b.through, m.inputs)
	if err != nil {
		return outcome{err: err}, 0
	}
	ended, err := b.Finish(run, began)
	o = outcome{said: ended.Said + "\nrequests:\n" + listed(b.Proxy.End()), unreached: !met(reached)}
	if !slices.Contains([]int{0, 1, 2, 3}, ended.Code) {
		err = errors.Join(err, fmt.Errorf("the disturbed process ended with %d", ended.Code))
	}
	o.err = errors.Join(err, b.Kept())
	return o, ended.Code
}

// outage is a server that is gone from a request on, until the process has ended.
type outage struct {
	at
	effect proxy.Effect
}

func (c outage) String() string { return c.at.String() + lasting(c.effect) }

// lasting names an effect that lasts until the process has ended.
func lasting(effect proxy.Effect) string {
	return map[proxy.Effect]string{proxy.Reset: ", reset", proxy.Hole: ", black hole"}[effect]
}

// outages ends or swallows every connection to a server from one request on: from
// each that writes or asks for the lock, and from the first of every other kind.
func (s *suite) outage(t *testing.T) {
	t.Parallel()
	for _, m := range allModes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			var all []outage
			for _, c := range telling(moments(m, s.undisturbed(t, m, false))) {
				all = append(all, outage{c, proxy.Reset}, outage{c, proxy.Hole})
			}
			f := spread(s, t, kind{m.name, false}, part(s, all, 3, func(outage) bool { return false }), unplugged)
			fmt.Fprintf(os.Stdout, "outage, %s: %s\n", m.name, f)
		})
	}
}

// telling are the moments of the requests that write or ask for the lock, and the one
// before the first of every other kind.
func telling(all []at) (chosen []at) {
	known := map[string]bool{}
	for _, c := range all {
		kind, _, _ := strings.Cut(c.name, " #")
		if c.writes() || strings.Contains(c.name, "advisory") || strings.Contains(c.name, "clock_timestamp") || !known[kind] {
			chosen = append(chosen, c)
		}
		known[kind] = true
	}
	return chosen
}

func unplugged(b *Bench, c outage) outcome {
	return disturbed(b, c.mode, &proxy.Fault{Name: c.name, Moment: c.moment, Effect: c.effect})
}
