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
	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// at is a moment of one request of a run.
type at struct {
	mode   mode
	name   string
	moment proxy.Moment
}

func (c at) String() string { return fmt.Sprintf("%s, %s %s", c.mode.name, c.moment, c.name) }

// wrote tells the moments at which something has changed that nobody knows of.
func (c at) wrote() bool { return c.moment == proxy.After && c.writes() }

// writes tells the requests that change something, or try to.
func (c at) writes() bool {
	for _, word := range []string{" ALTER ", " PATCH ", " PUT ", " POST "} {
		if strings.Contains(c.name, word) && !strings.Contains(c.name, "dryRun") && !strings.Contains(c.name, "authorization.k8s.io") {
			return true
		}
	}
	return false
}

// fewestKills are what the whole of a mode has to come to.
const fewestKills = 250

// kill ends the process with SIGKILL at every request of a rotation, before it
// is passed on and before its answer is passed back.
func (s *suite) kill(t *testing.T) {
	t.Parallel()
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s.killedAt(t, m, 15, at.wrote)
		})
	}
	t.Run(switching, func(t *testing.T) {
		t.Parallel()
		m := switchingAlarm()
		last := lastOf(s.undisturbed(t, m, true), "ALTER ROLE")
		s.killedAt(t, m, 3, func(c at) bool { return c.name == last })
	})
}

// killedEnough counts the kills of a mode.
func (s *suite) killedEnough(t testing.TB, kills int) {
	if s.whole && s.only == "" && kills < fewestKills {
		t.Errorf("%d kills are too few, want %d", kills, fewestKills)
	}
}

// lastOf names the last request of a kind to PostgreSQL.
func lastOf(requests []proxy.Request, kind string) (name string) {
	for _, r := range requests {
		if r.Kind == kind {
			name = r.Name()
		}
	}
	return name
}

// killedAt kills rotations of a mode: n in a part, and those that must be.
func (s *suite) killedAt(t *testing.T, m mode, n int, must func(at) bool) *figures {
	cases := part(s, moments(m, s.undisturbed(t, m, true)), n, must)
	f := spread(s, t, kind{m.name, true}, cases, func(b *Bench, c at) outcome {
		o := killedForward(b, c)
		if o.unreached && o.err == nil {
			o = s.first(t, c)
		}
		if o.unreached && o.err == nil && essential(c.name) {
			o.err = errors.New("every rotation makes this request, and it was not met")
		}
		return o
	})
	fmt.Fprintf(os.Stdout, "kill, %s: %s\n", m.name, f)
	s.killedEnough(t, f.reached())
	return f
}

// first kills the first rotation of its mode on a bench, which alone makes some
// requests: the second role is there later.
func (s *suite) first(t *testing.T, c at) outcome {
	b := s.bench(t, true)
	if b == nil {
		return outcome{err: errors.New("no bench for a first rotation")}
	}
	o := killedForward(b, c)
	if hits, _, err := b.Leaks(); len(hits) > 0 || err != nil {
		o.err = errors.Join(o.err, err, fmt.Errorf("secrets where they must not be: %q", hits))
	}
	o.err = errors.Join(o.err, b.Close())
	return o
}

// undisturbed are the requests of a rotation that meets no fault. They are the
// same at each one, so that one is made.
func (s *suite) undisturbed(t *testing.T, m mode, pods bool) []proxy.Request {
	s.resting.Lock()
	defer s.resting.Unlock()
	k := kind{m.name, pods}
	if s.atRest[k] == nil {
		b := s.bench(t, pods) // a first rotation makes requests that later ones do not
		if b == nil {
			t.FailNow()
		}
		s.atRest[k] = s.requests(t, b, m, 0)
		(&figures{}).leaked(t, b)
		s.giveBack(k, b)
	}
	return s.atRest[k]
}

// requests runs a rotation that ends with the exit code, and returns its requests.
func (s *suite) requests(t *testing.T, b *Bench, m mode, code int) []proxy.Request {
	b.Proxy.Begin(nil)
	began := time.Now()
	run, err := b.Start(b.through, m.inputs)
	if err != nil {
		t.Fatal(err)
	}
	ended, err := b.Finish(run, began)
	requests := b.Proxy.End()
	if err := errors.Join(err, b.Settled()); err != nil || ended.Code != code {
		t.Fatalf("the rotation at rest ended with %d: %v\n%s", ended.Code, err, ended.Said)
	}
	return requests
}

// mostAsked is how many requests a planned rotation in place makes to PostgreSQL; one
// is for the copy in the cluster, before which it asks whether it holds the lock.
const mostAsked = 50

// roundTrips holds what PostgreSQL is asked for: far away each is a wait.
func (s *suite) roundTrips(t *testing.T) {
	t.Parallel()
	all := slices.DeleteFunc(slices.Clone(s.undisturbed(t, modes()[0], true)), func(r proxy.Request) bool { return r.Server != "postgres" })
	t.Logf("%d requests to PostgreSQL", len(all))
	if len(all) > mostAsked {
		t.Errorf("%d requests to PostgreSQL, want %d at most:\n%s", len(all), mostAsked, listed(all))
	}
}

// moments are two of each request.
func moments(m mode, requests []proxy.Request) (all []at) {
	for _, r := range requests {
		all = append(all, at{m, r.Name(), proxy.Before}, at{m, r.Name(), proxy.After})
	}
	return all
}

// killedForward kills a rotation that nothing else speaks against: one resume brings
// the new password everywhere, and where roles alternate no login was refused.
func killedForward(b *Bench, c at) outcome {
	before, looked := b.Look()
	refused, err := b.Refused()
	if err := errors.Join(looked, err); err != nil {
		return outcome{err: err}
	}
	o := killed(b, c)
	if o.err != nil {
		return o
	}
	after, err := b.Refused()
	switch {
	case err != nil:
		o.err = err
	case o.code != 0:
		o.err = fmt.Errorf("the resume has not gone forward, it ended with exit code %d", o.code)
	case c.mode.name == "alternate" && after > refused:
		o.err = fmt.Errorf("%w: %d logins of pods", errRefused, after-refused)
	case goesForward(before, o.left):
		o.err = brought(b, c.mode, before)
	}
	return o
}

// brought tells whether another password is served than before, and of an
// emergency that the former one is refused.
func brought(b *Bench, m mode, before *fixture.State) error {
	err := once(b, before)
	if err == nil && m.emergency() {
		err = b.shutOut(before)
	}
	return err
}

// killed kills one rotation, judges, resumes once and judges again.
func killed(b *Bench, c at) outcome {
	o := cutShort(b, c)
	if o.err == nil {
		o = o.then(b)
	}
	return o
}

// cutShort kills one rotation and judges.
func cutShort(b *Bench, c at) outcome {
	started := make(chan *program.Run, 1)
	reached := b.Proxy.Begin(&proxy.Fault{Name: c.name, Moment: c.moment, Effect: proxy.Hang, Meet: func() {
		run := <-started
		started <- run
		run.Kill()
	}})
	began := time.Now()
	run, err := b.Start(b.through, c.mode.inputs)
	if err != nil {
		return outcome{err: err}
	}
	started <- run
	ended, err := b.Finish(run, began)
	o := outcome{said: ended.Said + "\nrequests:\n" + listed(b.Proxy.End())}
	if o.unreached = !met(reached); !o.unreached && ended.Code != -1 {
		err = errors.Join(err, fmt.Errorf("the killed process ended with %d", ended.Code))
	}
	o.err = errors.Join(err, b.Kept())
	return o
}

// met tells whether the request of a fault has come.
func met(reached <-chan struct{}) bool {
	select {
	case <-reached:
		return true
	default:
		return false
	}
}

// then resumes once and judges.
func (o outcome) then(b *Bench) outcome {
	left, looked := b.Look()
	ended, err := b.Run(map[string]string{"INPUT_COMMAND": "resume"})
	o.left, o.resumed, o.code, o.said = left, ended.Took, ended.Code, o.said+"\nresume:\n"+ended.Said
	if ended.Code != 0 && !(ended.Code == 1 && strings.Contains(ended.Said, "rolled-back")) {
		err = errors.Join(err, fmt.Errorf("resume ended with exit code %d", ended.Code))
	}
	o.err = errors.Join(b.Settled(), looked, err)
	return o
}
