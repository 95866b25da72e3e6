package crash

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// superseding is a moment of an emergency that replaces an open rotation.
type superseding struct {
	at
	over mode
}

func (c superseding) String() string { return c.at.String() + ", over " + c.over.name }

// decides tells the moment since which the emergency is the open rotation.
func (c superseding) decides() bool {
	return c.moment == proxy.After && strings.HasPrefix(c.name, "kubernetes PUT secrets/"+fixture.Journal+" #2")
}

// supersede kills an emergency at every request while it replaces a planned rotation
// that was killed after its password was served; one resume ends what is open then.
func (s *suite) supersede(t *testing.T) {
	t.Parallel()
	for _, c := range []superseding{{at{mode: modes()[2]}, modes()[0]}, {at{mode: switchingAlarm()}, modes()[1]}} {
		t.Run(c.mode.name, func(t *testing.T) { s.killedOver(t, c.mode, c.over) })
	}
}

func (s *suite) killedOver(t *testing.T, m, over mode) {
	k := kind{m.name + " over " + over.name, true}
	var all []superseding
	for _, c := range moments(m, s.replacing(t, k, m, over)) {
		all = append(all, superseding{c, over})
	}
	f := spread(s, t, k, part(s, all, 2, superseding.decides), func(b *Bench, c superseding) outcome {
		o := superseded(b, c)
		if o.unreached && o.err == nil && essential(c.name) {
			o.err = errors.New("every emergency makes this request, and it was not met")
		}
		return o
	})
	fmt.Fprintf(os.Stdout, "kill, %s over an open rotation, %s: %s\n", m.name, over.name, f)
	s.killedEnough(t, f.reached())
}

// replacing are the requests of an emergency over an open rotation.
func (s *suite) replacing(t *testing.T, k kind, m, over mode) []proxy.Request {
	b := s.borrow(t, k)
	if b == nil {
		t.FailNow()
	}
	if _, o := opened(b, over); o.err != nil || o.unreached {
		t.Fatalf("no rotation was left open: %v\n%s", o.err, o.said)
	}
	requests := s.requests(t, b, m, 0)
	s.giveBack(k, b)
	return requests
}

// opened leaves a planned rotation open whose password is served.
func opened(b *Bench, m mode) (*fixture.State, outcome) {
	before, err := b.Look()
	if err != nil {
		return nil, outcome{err: err}
	}
	o := cutShort(b, at{m, "kubernetes PATCH secrets/" + fixture.Secret + " #2", proxy.After})
	open, err := b.Look()
	if o.err = errors.Join(o.err, err); o.err == nil {
		o.unreached = o.unreached || phaseOf(open) != "forward" || open.Served() == before.Served()
	}
	return open, o
}

// superseded kills the emergency. Once it is written down, neither the password from
// before the open rotation works in the end, nor that of the open one.
func superseded(b *Bench, c superseding) outcome {
	before, err := b.Look()
	if err != nil {
		return outcome{err: err}
	}
	open, o := opened(b, c.over)
	if o.err != nil || o.unreached {
		return o
	}
	o = killed(b, c.at)
	switch {
	case o.err != nil:
	case o.code != 0:
		o.err = fmt.Errorf("the resume has not gone forward, it ended with exit code %d", o.code)
	case goesForward(open, o.left):
		o.err = errors.Join(brought(b, c.mode, before), brought(b, c.mode, open))
	default:
		o.err = serves(b, open)
	}
	return o
}

// serves tells whether the same password is served as then.
func serves(b *Bench, then *fixture.State) error {
	now, err := b.Look()
	if err == nil && now.Served() != then.Served() {
		err = errors.New("another password is served than that of the rotation which was resumed")
	}
	return err
}
