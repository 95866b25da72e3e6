package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// soon is how long a run may take to end when it is told to.
const soon = 5 * time.Second

// cancelled is a moment at which a run is told to end. With proxy.Hole the server
// of the request answers nothing from then on.
type cancelled struct {
	at
	by     syscall.Signal
	effect proxy.Effect
}

func (c cancelled) String() string {
	return c.at.String() + map[syscall.Signal]string{syscall.SIGTERM: ", SIGTERM", syscall.SIGINT: ", SIGINT"}[c.by] + lasting(c.effect)
}

// unanswered tells the moments at which the server has done what it was asked for,
// and does not say so.
func (c cancelled) unanswered() bool {
	return c.effect == proxy.Hole && c.moment == proxy.After && strings.HasPrefix(c.name, "postgres COMMIT ")
}

// term tells the process to end, with SIGINT as a runner first does or SIGTERM, at
// every request of a rotation, which goes its way, or after which its server answers
// nothing: it ends soon, begins nothing more, says how, and one resume ends the rest.
func (s *suite) term(t *testing.T) {
	t.Parallel()
	for _, m := range allModes() {
		t.Run(m.name, func(t *testing.T) { s.cancelledAt(t, m, proxy.Pass, 3) })
	}
	for _, m := range []mode{modes()[0], modes()[2]} {
		t.Run(m.name+lasting(proxy.Hole), func(t *testing.T) { s.cancelledAt(t, m, proxy.Hole, 4) })
	}
}

// cancellations are the moments at which a rotation is told to end.
func (s *suite) cancellations(t *testing.T, m mode, effect proxy.Effect) (all []cancelled) {
	for i, c := range moments(m, s.undisturbed(t, m, true)) {
		all = append(all, cancelled{c, []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}[i/2%2], effect})
	}
	return all
}

// cancelledAt tells n of the rotations of a mode to end, or all.
func (s *suite) cancelledAt(t *testing.T, m mode, effect proxy.Effect, n int) {
	all := s.cancellations(t, m, effect)
	var mu sync.Mutex
	var slowest time.Duration
	ends := map[string]int{}
	f := spread(s, t, kind{m.name, true}, part(s, all, n, cancelled.unanswered), func(b *Bench, c cancelled) outcome {
		o, took, status := toldToEnd(b, c)
		mu.Lock()
		defer mu.Unlock()
		slowest = max(slowest, took)
		if !o.unreached {
			ends[status]++
		}
		return o
	})
	fmt.Fprintf(os.Stdout, "SIGINT and SIGTERM, %s%s: slowest end %.1fs, ended as %v; %s\n", m.name, lasting(effect), slowest.Seconds(), ends, f)
}

// slack is how many requests a run may still make that has not noticed the signal.
const slack = 3

// wentOn tells whether a run that was told to end at a request has begun more: it
// has come to the commit although that was far away.
func wentOn(requests []proxy.Request, c cancelled) bool {
	told := slices.IndexFunc(requests, func(r proxy.Request) bool { return r.Name() == c.name })
	commit := 0
	for i, r := range requests {
		if strings.HasPrefix(r.Name(), "kubernetes PUT secrets/"+fixture.Journal+" ") {
			commit = i
		}
	}
	return told >= 0 && commit > told+slack
}

// toldToEnd tells one rotation to end, judges, resumes once and judges again.
func toldToEnd(b *Bench, c cancelled) (o outcome, took time.Duration, status string) {
	started, sent := make(chan *program.Run, 1), make(chan time.Time, 1)
	b.Proxy.Begin(&proxy.Fault{Name: c.name, Moment: c.moment, Effect: c.effect, Meet: func() {
		run := <-started
		started <- run
		sent <- time.Now()
		run.Signal(c.by)
	}})
	began := time.Now()
	run, err := b.Start(b.through, c.mode.inputs)
	if err != nil {
		return outcome{err: err}, 0, ""
	}
	started <- run
	_, late := run.Wait(limit)
	over := time.Now()
	requests := b.Proxy.End()
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
	case told.Status == "rotated" && wentOn(requests, c):
		o.err = errors.New("it has gone on to the end")
		o.said += "\nrequests:\n" + listed(requests)
	default:
		o = o.then(b)
	}
	return o, took, told.Status
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

// codes are the exit codes of how a rotation can end.
func codes() map[string]int {
	return map[string]int{"rotated": 0, "unchanged": 0, "rolled-back": 1, "refused": 2, "failed": 2, "unfinished": 3, "busy": 3}
}

// cancelledWell tells whether the exit code is that of the state in which the
// journal was left. A run that is told to end while it writes the journal cannot
// know whether that has arrived.
func (b *Bench) cancelledWell(c cancelled, code int, end told) error {
	s, err := b.Look()
	if err != nil {
		return err
	}
	phase, unsure := phaseOf(s), strings.Contains(c.name, "PUT secrets/postgres-credentials-rotation")
	want, known := codes()[end.Status]
	switch {
	case !known || code != want:
		return fmt.Errorf("it ended as %q with exit code %d", end.Status, code)
	case (phase == "idle") != (code < 3) && !(unsure && phase == "idle"):
		return fmt.Errorf("it ended as %q with exit code %d, and the journal is %s", end.Status, code, phase)
	}
	return nil
}

func TestOnlyWhoWasToldToEndCanHaveGoneOn(t *testing.T) {
	told, other := proxy.Request{Server: "postgres", Kind: "COMMIT", Nth: 1}, proxy.Request{Server: "postgres", Kind: "BEGIN", Nth: 1}
	commit := proxy.Request{Server: "kubernetes", Kind: "PUT secrets/" + fixture.Journal, Nth: 3}
	c := cancelled{at: at{name: told.Name(), moment: proxy.After}}
	for _, k := range []struct {
		requests []proxy.Request
		want     bool
	}{
		{[]proxy.Request{told, other, other, other, commit}, true},
		{[]proxy.Request{told, other, other, commit}, false},
		{[]proxy.Request{other, other, other, other, commit}, false}, // it was not told
	} {
		if got := wentOn(k.requests, c); got != k.want {
			t.Errorf("%s\nhas gone on: %t", listed(k.requests), got)
		}
	}
}
