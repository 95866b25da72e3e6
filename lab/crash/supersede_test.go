package crash

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/pgrotate/pgrotate/lab/proxy"
)

// superseding is a moment of an emergency that replaces an open rotation.
type superseding struct{ at }

func (c superseding) String() string { return c.at.String() + ", over an open rotation" }

// supersede kills an emergency at every request while it replaces a planned rotation
// that was killed after its password was served; one resume ends what is open then.
func (s *suite) supersede(t *testing.T) {
	t.Parallel()
	m := modes()[2]
	var all []superseding
	for _, c := range moments(m, s.replacing(t, m)) {
		all = append(all, superseding{c})
	}
	f := spread(s, t, kind{m.name, true}, part(s, all, 3, func(superseding) bool { return false }), superseded)
	fmt.Fprintf(os.Stdout, "kill, emergency over an open rotation: %s\n", f)
	s.killedEnough(t, f.reached())
}

// replacing are the requests of an emergency over an open rotation.
func (s *suite) replacing(t *testing.T, m mode) []proxy.Request {
	k := kind{m.name, true}
	b := s.borrow(t, k)
	if b == nil {
		t.FailNow()
	}
	if o := opened(b); o.err != nil {
		t.Fatalf("%v\n%s", o.err, o.said)
	}
	requests := s.requests(t, b, m, 0)
	s.giveBack(k, b)
	return requests
}

// opened leaves a planned rotation open whose password is served.
func opened(b *Bench) outcome {
	o := cutShort(b, at{modes()[0], "kubernetes PATCH secrets/postgres-credentials #2", proxy.After})
	if o.unreached && o.err == nil {
		o.err = errors.New("the rotation that was to be left open has not served its password")
	}
	return o
}

// superseded kills the emergency. Once it is written down, neither the password from
// before the open rotation works in the end, nor that of the open one.
func superseded(b *Bench, c superseding) outcome {
	before, err := b.Look()
	if err != nil {
		return outcome{err: err}
	}
	if o := opened(b); o.err != nil {
		return o
	}
	open, err := b.Look()
	if err != nil {
		return outcome{err: err}
	}
	o := killed(b, c.at)
	switch {
	case o.err != nil:
	case o.code != 0:
		o.err = fmt.Errorf("the resume has not gone forward, it ended with exit code %d", o.code)
	case goesForward(open, o.left):
		o.err = errors.Join(brought(b, c.mode, before), brought(b, c.mode, open))
	default:
		o.err = once(b, before)
	}
	return o
}
