package crash

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// stop is where a run is stopped, and what takes over.
type stop struct {
	at
	by mode
}

func (c stop) String() string { return c.at.String() + ", taken over by " + c.by.name }

// writesLate tells a write of GitHub that is under way when an emergency takes over.
func (c stop) writesLate() bool {
	return c.mode.name == "planned" && c.by.emergency() && c.moment == proxy.Before && strings.HasPrefix(c.name, "github PUT ")
}

// zombie stops a rotation at a request, lets another run take over and end, and
// wakes it again: its late request, and all that it does then, change nothing
// but GitHub, which knows no precondition; the next resume heals that. All
// requests count where an emergency takes over, else a part of them.
func (s *suite) zombie(t *testing.T) {
	t.Parallel()
	for _, m := range allModes() {
		t.Run(m.name, func(t *testing.T) {
			var cases []stop
			for _, by := range modes() {
				all := s.stops(t, m, by)
				if !by.emergency() && s.only == "" {
					all = evenly(all, 20)
				}
				cases = append(cases, part(s, all, 1, stop.writesLate)...)
			}
			f := spread(s, t, kind{m.name, true}, cases, woken)
			fmt.Fprintf(os.Stdout, "zombie, %s, taken over by each: %s\n", m.name, f)
		})
	}
}

// stops are the moments at which one rotation is stopped, for another to take over.
func (s *suite) stops(t *testing.T, m, by mode) (all []stop) {
	for _, c := range begun(m, moments(m, s.undisturbed(t, m, true))) {
		all = append(all, stop{c, by})
	}
	return all
}

// begun leaves out what comes before a run has begun: one that is stopped there
// and finds another rotation done when it wakes up is right to make its own.
func begun(m mode, all []at) []at {
	for i, c := range all {
		if strings.HasPrefix(c.name, m.begins) && c.moment == proxy.After {
			return all[i:]
		}
	}
	return nil
}

// sleeper is a run that stops at a request.
type sleeper struct {
	run     *program.Run
	began   time.Time
	stopped chan struct{} // closed when it has
	release chan struct{} // lets the request go its way
}

func stopAt(b *Bench, c at) (z sleeper, err error) {
	started, stopped, release := make(chan *program.Run, 1), make(chan struct{}), make(chan struct{})
	b.Proxy.Begin(&proxy.Fault{Name: c.name, Moment: c.moment, Effect: proxy.Pass, Meet: func() {
		run := <-started
		started <- run
		run.Signal(syscall.SIGSTOP)
		close(stopped)
		<-release
	}})
	began := time.Now()
	run, err := b.Start(b.through, c.mode.inputs)
	if err == nil {
		started <- run
	}
	return sleeper{run, began, stopped, release}, err
}

// wake lets the run go on to its end.
func (z sleeper) wake(b *Bench) (Ended, told, error) {
	close(z.release) // its request arrives late
	z.run.Signal(syscall.SIGCONT)
	_, late := z.run.Wait(limit)
	end, untold := account(z.run)
	ended, err := b.Finish(z.run, z.began)
	b.Proxy.End()
	return ended, end, errors.Join(late, err, untold)
}

func woken(b *Bench, c stop) outcome {
	before, err := b.Look()
	if err != nil {
		return outcome{err: err}
	}
	z, err := stopAt(b, c.at)
	if err != nil {
		return outcome{err: err}
	}
	select {
	case <-z.stopped:
	case <-z.run.Done():
		ended, _, err := z.wake(b)
		return outcome{unreached: true, err: err, said: ended.Said}
	}
	found, looked := b.Look()
	o, after := takeOver(b, c.by)
	ended, end, err := z.wake(b)
	o.said += "\nthe one that was stopped:\n" + ended.Said
	if c.mode.emergency() && o.err == nil && looked == nil && err == nil && found.Journal.ResourceVersion == before.Journal.ResourceVersion {
		o.unreached, o.err = true, b.Settled() // it had not begun, the order was another: its own rotation is right
		return o
	}
	if o.err = errors.Join(o.err, looked, err); o.err == nil {
		o.err = errors.Join(rightly(before, found, ended.Code, end), untouched(b, after))
	}
	if o.err == nil {
		o = o.then(b)
	}
	if o.err == nil {
		o.err = replaced(b, c, before, found)
	}
	return o
}

// rightly tells whether the stopped run tells the truth: it has rotated only where
// its rotation was over when the other run found it.
func rightly(before, found *fixture.State, code int, end told) error {
	over := phaseOf(found) == "idle" && idOf(found) != idOf(before) && idOf(found) == end.RotationID
	switch {
	case end.ExitCode != code:
		return fmt.Errorf("the stopped run ended with exit code %d, and its report tells %d", code, end.ExitCode)
	case end.Status == "rotated" && !over:
		return fmt.Errorf("the stopped run ended as %q with rotation %q, which was not over when it was stopped", end.Status, end.RotationID)
	}
	return nil
}

// replaced tells whether another password is served than before, and whether those
// that an emergency has replaced are refused.
func replaced(b *Bench, c stop, before, found *fixture.State) error {
	errs := []error{once(b, before)}
	if c.by.emergency() || c.mode.emergency() && goesForward(before, found) {
		errs = append(errs, b.shutOut(before))
	}
	if c.by.emergency() {
		errs = append(errs, b.shutOut(found))
	}
	return errors.Join(errs...)
}

// takeOver rotates. An emergency takes the lock from the stopped run itself; for
// any other that run's session is ended, as by a server that misses its client.
func takeOver(b *Bench, by mode) (o outcome, after *fixture.State) {
	inputs, alarm, err := maps.Clone(by.inputs), by.emergency(), error(nil)
	if alarm {
		inputs["INPUT_LOCK_TIMEOUT"] = "1s"
	} else {
		err = b.SQL(b.Superuser, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '`+b.Rotator+`'`)
	}
	ended, failed := b.Run(inputs)
	o.said = "the one that took over:\n" + ended.Said
	switch {
	case ended.Code != 0:
		err = errors.Join(err, fmt.Errorf("the run that took over ended with exit code %d", ended.Code))
	case alarm && !strings.Contains(ended.Said, "somebody else held the lock, another run by its name"):
		err = errors.Join(err, errors.New("the emergency found the lock free, and the stopped run holds it"))
	}
	after, looked := b.Look()
	o.err = errors.Join(err, failed, looked)
	return o, after
}

// underWay is how many writes of GitHub may be so when a run is stopped: it has two
// secrets.
const underWay = 2

// untouched tells whether all but GitHub is as it was.
func untouched(b *Bench, before *fixture.State) error {
	now, err := b.Look()
	if err != nil {
		return err
	}
	if late := now.Sent[len(before.Sent):]; len(late) > underWay {
		return fmt.Errorf("a run that was taken over has gone on to write GitHub: %q", late)
	}
	before.GitHub, before.Sent = now.GitHub, now.Sent
	return b.Unchanged(before)
}
