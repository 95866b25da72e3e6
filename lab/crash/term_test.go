package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// soon is how long a run may take to end when it is told to: five seconds, and
// what a busy machine adds.
const soon = 15 * time.Second

// cancelled is a moment at which a run is told to end.
type cancelled struct{ at }

func (c cancelled) String() string { return c.at.String() + ", SIGTERM" }

// term tells the process to end, with SIGTERM, at every request of a rotation,
// which goes its way: it ends soon, says how, and one resume ends the rest.
func (s *suite) term(t *testing.T) {
	t.Parallel()
	planned, alarm := modes()[0], modes()[2]
	t.Run(planned.name, func(t *testing.T) { s.cancelledAt(t, planned, 4) })
	t.Run(alarm.name, func(t *testing.T) { s.cancelledAt(t, alarm, 2) })
}

// cancelledAt tells n of the rotations of a mode to end, or all.
func (s *suite) cancelledAt(t *testing.T, m mode, n int) {
	var all []cancelled
	for _, c := range moments(m, s.undisturbed(t, m, true)) {
		all = append(all, cancelled{c})
	}
	var mu sync.Mutex
	var slowest time.Duration
	f := spread(s, t, kind{m.name, true}, part(s, all, n, func(cancelled) bool { return false }), func(b *Bench, c cancelled) outcome {
		o, took := toldToEnd(b, c)
		mu.Lock()
		defer mu.Unlock()
		slowest = max(slowest, took)
		return o
	})
	fmt.Fprintf(os.Stdout, "SIGTERM, %s: slowest end %.1fs; %s\n", m.name, slowest.Seconds(), f)
}

// toldToEnd tells one rotation to end, judges, resumes once and judges again.
func toldToEnd(b *Bench, c cancelled) (o outcome, took time.Duration) {
	started, sent := make(chan *program.Run, 1), make(chan time.Time, 1)
	b.Proxy.Begin(&proxy.Fault{Name: c.name, Moment: c.moment, Effect: proxy.Pass, Meet: func() {
		run := <-started
		started <- run
		sent <- time.Now()
		run.Signal(syscall.SIGTERM)
	}})
	began := time.Now()
	run, err := b.Start(b.through, c.mode.inputs)
	if err != nil {
		return outcome{err: err}, 0
	}
	started <- run
	_, late := run.Wait(limit)
	over := time.Now()
	b.Proxy.End()
	select {
	case at := <-sent:
		took = over.Sub(at)
	default:
		o.unreached = true
	}
	told, untold := account(run)
	ended, err := b.Finish(run, began)
	o.said = ended.Said
	if o.err = errors.Join(late, err, b.Kept(), untold); o.err == nil {
		o.err = b.cancelledWell(c, ended.Code, told)
	}
	switch {
	case o.err != nil:
	case took > soon:
		o.err = fmt.Errorf("it took %s to end", took)
	default:
		o = o.then(b)
	}
	return o, took
}

// account reads what a run leaves to the job: none of it may be missing.
func account(run *program.Run) (end told, err error) {
	for _, name := range []string{program.Report, program.Summary, program.Output} {
		text, failed := os.ReadFile(filepath.Join(run.Folder, name))
		if failed == nil && len(text) == 0 {
			failed = fmt.Errorf("the file %s is empty", name)
		}
		if name == program.Report && failed == nil {
			failed = json.Unmarshal(text, &end)
		}
		err = errors.Join(err, failed)
	}
	return end, err
}

// cancelledWell tells whether the exit code is that of the state in which the
// journal was left. A run that is told to end while it writes the journal cannot
// know whether that has arrived.
func (b *Bench) cancelledWell(c cancelled, code int, end told) error {
	s, err := b.Look()
	if err != nil {
		return err
	}
	codes := map[string]int{"rotated": 0, "unchanged": 0, "rolled-back": 1, "refused": 2, "failed": 2, "unfinished": 3, "busy": 3}
	phase, unsure := s.Journal.Annotations["pgrotate.io/phase"], strings.Contains(c.name, "PUT secrets/postgres-credentials-rotation")
	want, known := codes[end.Status]
	switch {
	case !known || code != want:
		return fmt.Errorf("it ended as %q with exit code %d", end.Status, code)
	case (phase == "idle") != (code < 3) && !(unsure && phase == "idle"):
		return fmt.Errorf("it ended as %q with exit code %d, and the journal is %s", end.Status, code, phase)
	}
	return nil
}
