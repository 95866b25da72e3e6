package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// fault is what happens to one call.
type fault int

const (
	none fault = iota
	crashBefore
	crashAfter
	failBefore // an error, and the call had no effect
	failAfter  // an error, and the call had its effect
	refuse     // a definite no
	cutBefore  // the database session dies before the call
	cutAfter   // and after it: the answer is lost
	delay      // an error now, the effect after the next call
	stopBefore // the run is told to stop
	stopAfter
	overtake // the session dies and another process does a whole run meanwhile
	faults
)

func (f fault) String() string {
	return [...]string{"nothing", "crash before", "crash after", "fail before", "fail after", "refuse", "cut before", "cut after",
		"delay", "stop before", "stop after", "overtake"}[f]
}

// fits tells whether the fault can happen to the call.
func (f fault) fits(call string) bool {
	database := strings.Contains(call, " Database.") || strings.Contains(call, " Lock.Check") || strings.Contains(call, " Lockout.") || strings.Contains(call, " Twins.") || strings.Contains(call, " Retirement.") ||
		strings.Contains(call, " Standbys.") || strings.Contains(call, " Sessions.")
	switch f {
	case cutBefore, cutAfter:
		return database && !strings.Contains(call, "Verifier") && !strings.Contains(call, "Lockout.Break")
	case delay:
		return strings.Contains(call, ".Set") && !strings.Contains(call, "Database") || strings.Contains(call, "Save")
	}
	return true
}

// failed is an error as the targets make them.
type failed struct{ class, text string }

func (e *failed) Error() string { return e.text }
func (e *failed) Class() string { return e.class }

var (
	errGone = errors.New("connection refused")
	errLost = &failed{"lost", "the session is gone"}
)

// process is one run of the program in the world. Every call of a port passes
// through it; one that has crashed does nothing any more.
type process struct {
	w       *world
	name    string
	session bool // the database session is alive
	dead    bool
	seen    map[string]int
	wrote   map[string]time.Time // when it wrote which copy
	stop    context.CancelFunc
}

func (w *world) process() *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.processes++
	return &process{w: w, name: strconv.Itoa(w.processes), seen: map[string]int{}, wrote: map[string]time.Time{}, stop: func() {}}
}

// command is what a process is told to do.
type command = func(*rotation.Rotation, context.Context) rotation.Result

// run lets a new process do one thing, and tells whether it lived to see its end.
func (w *world) run(do command, inputs ...func(*rotation.Rotation)) (res rotation.Result, ended bool) {
	p := w.process()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	p.stop = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stopped = time.Now()
		stop()
	}
	r := p.rotation()
	for _, set := range inputs {
		set(r)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		res = do(r, ctx)
		ended = true
	}()
	<-done
	return res, ended
}

func rotate(r *rotation.Rotation, ctx context.Context) rotation.Result { return r.Rotate(ctx) }
func resume(r *rotation.Rotation, ctx context.Context) rotation.Result { return r.Resume(ctx) }
func plan(r *rotation.Rotation, ctx context.Context) rotation.Result   { return r.Plan(ctx) }
func undo(r *rotation.Rotation, ctx context.Context) rotation.Result   { return r.Rollback(ctx) }
func repair(r *rotation.Rotation, ctx context.Context) rotation.Result {
	r.Policy.Repair = true
	return r.Rotate(ctx)
}
func emergency(r *rotation.Rotation, ctx context.Context) rotation.Result {
	r.Mode = rotation.Emergency
	return r.Rotate(ctx)
}

func (p *process) rotation() *rotation.Rotation {
	w, strategy := p.w, rotation.InPlace
	if w.alternate {
		strategy = rotation.Alternate
	}
	return &rotation.Rotation{
		Lock: lockPort{p}, Database: databasePort{p}, Lockout: lockoutPort{p}, Twins: twinsPort{p}, Retirement: retirementPort{p}, Journal: journalPort{p}, Served: servedPort{p},
		Strategy: strategy, ClusterCopies: []rotation.Copy{readablePort{copyPort{p, cluster}}},
		RemoteCopies: []rotation.Copy{copyPort{p, remote}},
		Workloads:    []rotation.Workload{workloadPort{p, inPod}, workloadPort{p, inPod2}},
		Standbys:     standbysPort{p}, Sessions: sessionsPort{p}, Addresses: addressesPort{p}, Refusals: refusalsPort{p}, Health: healthPort{p},
		Keep: secret.New, Scrub: func(s string) string { return strings.ReplaceAll(s, birth, "***") },
		Generate: func() secret.Value {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.passwords++
			return secret.New(fmt.Sprintf("NewPassword%d", w.passwords))
		},
		NewID: func() string {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ids++
			return fmt.Sprintf("id%d", w.ids)
		},
		Now:     time.Now,
		Request: rotation.Request{Owner: "https://ci/run/1"},
		Policy:  w.policy,
	}
}

// call is one request: the fault that is scripted for it, and its effect.
func (p *process) call(ctx context.Context, what string, effect func() error) error {
	f, call := p.arrive(what)
	if hook := p.w.hooks[call]; hook != nil {
		hook(p)
	}
	latency, down := p.w.conditions()
	if latency > 0 {
		<-time.After(latency)
	}
	if down(what) {
		return fmt.Errorf("%s: %w", what, errGone)
	}
	switch f {
	case crashBefore:
		p.crash()
	case stopBefore:
		p.stop()
	case cutBefore:
		p.cut()
	case overtake:
		p.cut()
		p.w.run(rotate)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var err error
	switch f {
	case failBefore:
		return fmt.Errorf("%s: %w", what, errGone)
	case refuse:
		return &failed{"refused", what + ": forbidden"}
	case delay:
		p.later(what, effect)
		return fmt.Errorf("%s: %w", what, context.DeadlineExceeded)
	default:
		err = p.happen(call, effect)
	}
	switch f {
	case crashAfter:
		p.crash()
	case failAfter:
		return fmt.Errorf("%s: %w", what, errGone)
	case stopAfter:
		p.stop()
	case cutAfter:
		p.cut()
		return errLost
	}
	return err
}

func (w *world) conditions() (latency time.Duration, down func(string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.latency, w.down
}

// changes makes a hook of something that somebody else does to the world.
func (w *world) changes(do func()) func(*process) {
	return func(*process) {
		w.mu.Lock()
		defer w.mu.Unlock()
		do()
	}
}

func (p *process) arrive(what string) (fault, string) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	if p.dead {
		runtime.Goexit()
	}
	p.seen[what]++
	call := p.name + " " + what + " " + strconv.Itoa(p.seen[what])
	p.w.calls = append(p.w.calls, call)
	f := p.w.script[call]
	delete(p.w.script, call)
	return f, call
}

// happen lets the effect take place, and then the requests that were delayed.
func (p *process) happen(call string, effect func() error) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	err := effect()
	p.w.check(call)
	for _, late := range p.w.late {
		late()
		p.w.check("a late request after " + call)
	}
	p.w.late = nil
	return err
}

// later keeps a request under way. One for the served Secret names the version
// that it replaces.
func (p *process) later(what string, effect func() error) {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	version := p.w.served.version
	p.w.late = append(p.w.late, func() {
		if p.w.served.version == version || what != "Served.Set" {
			_ = effect()
		}
	})
}

// cut ends the database session of the process, and with it the lock.
func (p *process) cut() {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.w.free(p)
}

func (p *process) crash() {
	p.cut()
	p.w.mu.Lock()
	p.dead = true
	p.w.mu.Unlock()
	runtime.Goexit()
}
