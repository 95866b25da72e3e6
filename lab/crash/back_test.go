package crash

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/github/githubtest"
	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// turn is a moment of the way back of a rotation that GitHub refuses after the
// served Secret is written. Requests are numbered from its first one.
type turn struct{ at }

func (c turn) String() string { return c.at.String() + " of the way back" }

// away is a server that is gone from a moment of the way back on.
type away struct {
	turn
	effect proxy.Effect
}

func (c away) String() string { return c.turn.String() + lasting(c.effect) }

// back kills the process at every request of the way back, or takes a server away from
// one on; one resume ends it.
func (s *suite) back(t *testing.T) {
	t.Parallel()
	for _, m := range modes()[:2] { // an emergency has none
		t.Run(m.name, func(t *testing.T) { s.killedBack(t, m) })
		t.Run(m.name+", outage", func(t *testing.T) { s.unpluggedBack(t, m) })
	}
}

func (s *suite) killedBack(t *testing.T, m mode) {
	var all []turn
	for _, c := range s.turned(t, m) {
		all = append(all, turn{c})
	}
	f := spread(s, t, kind{m.name, true}, part(s, all, 5, func(turn) bool { return false }), func(b *Bench, c turn) outcome {
		return turnedBack(b, func() outcome { return killed(b, c.at) })
	})
	fmt.Fprintf(os.Stdout, "way back killed, %s: %s\n", m.name, f)
}

func (s *suite) unpluggedBack(t *testing.T, m mode) {
	var all []away
	for _, c := range telling(s.turned(t, m)) {
		all = append(all, away{turn{c}, proxy.Reset}, away{turn{c}, proxy.Hole})
	}
	f := spread(s, t, kind{m.name, true}, part(s, all, 3, func(away) bool { return false }), func(b *Bench, c away) outcome {
		return turnedBack(b, func() outcome { return unplugged(b, outage{c.at, c.effect}) })
	})
	fmt.Fprintf(os.Stdout, "way back, outage, %s: %s\n", m.name, f)
}

// turnedBack tries a rotation that GitHub refuses, of which only the way back counts, and
// tells whether the former password is served in the end.
func turnedBack(b *Bench, try func() outcome) outcome {
	before, err := b.Look()
	if err != nil {
		return outcome{err: err}
	}
	refuse(b)
	defer b.GitHub.ClearFaults()
	b.Proxy.From = wayBack()
	o := try()
	b.Proxy.From = nil
	if o.err == nil && !(o.unreached && phaseOf(o.left) == "forward") { // it was not turned back
		o.err = returned(b, before)
	}
	return o
}

// undo kills the process at every request of a rollback that undoes a finished
// rotation; one resume ends it.
func (s *suite) undo(t *testing.T) {
	t.Parallel()
	rollback := mode{name: "rollback", inputs: map[string]string{"INPUT_COMMAND": "rollback"}}
	f := spread(s, t, kind{rollback.name, true}, part(s, moments(rollback, s.undisturbed(t, rollback, true)), 5, func(at) bool { return false }), func(b *Bench, c at) outcome {
		if o := rotated(b, at{mode: modes()[0]}); o.err != nil {
			return o
		}
		return killed(b, c)
	})
	fmt.Fprintf(os.Stdout, "rollback killed: %s\n", f)
}

// refuse makes GitHub refuse the next write for good.
func refuse(b *Bench) {
	b.GitHub.Fault(githubtest.Fault{Effect: githubtest.Answer, Method: "PUT", Times: 1, Status: 403,
		Header: map[string]string{"X-Accepted-GitHub-Permissions": "secrets=write"}, Body: `{"message":"no","documentation_url":"https://docs.github.com"}`})
}

// turned are the moments since the journal says that the rotation goes back. One
// that is killed before it goes forward again.
func (s *suite) turned(t *testing.T, m mode) []at {
	b := s.borrow(t, kind{m.name, true})
	if b == nil {
		t.FailNow()
	}
	refuse(b)
	b.Proxy.From = wayBack()
	all := moments(m, s.requests(t, b, m, 1))
	b.Proxy.From = nil
	s.giveBack(kind{m.name, true}, b)
	return all[min(1, len(all)):]
}

// wayBack tells the request that begins it: the journal is written after GitHub
// was asked to.
func wayBack() func(proxy.Request) bool {
	asked := false
	return func(r proxy.Request) bool {
		asked = asked || r.Server == "github" && strings.HasPrefix(r.Kind, "PUT ")
		return asked && r.Server == "kubernetes" && r.Kind == "PUT secrets/postgres-credentials-rotation"
	}
}

// returned tells whether the former password is served again.
func returned(b *Bench, before *fixture.State) error {
	now, err := b.Look()
	if err != nil {
		return err
	}
	if now.Served() != before.Served() || now.Verifier != before.Verifier {
		return fmt.Errorf("%w: the rotation was refused, and another password is served", errDiffering)
	}
	return nil
}
