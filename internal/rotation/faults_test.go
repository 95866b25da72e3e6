package rotation_test

import (
	"context"
	"flag"
	"fmt"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// go test ./internal/rotation -run EveryFault -v -args -pairs=basic
var pairs = flag.String("pairs", "few", "which pairs of faults to try: few (one of 1499, behind one of 5 first faults), sample (one of 149), basic (sample, and every pair of crashes and failures), all")

// begins tells whether the n-th fault is tried, by itself and with those after it.
func begins(n int) bool { return *pairs != "few" || n%5 == 0 }

// wanted tells whether the n-th pair is tried.
func wanted(n int, first, second fault) bool {
	switch *pairs {
	case "few":
		return n%1499 == 0
	case "basic":
		return n%149 == 0 || first <= failAfter && second <= failAfter
	}
	return n%149 == 0 || *pairs == "all"
}

// exhausts tells whether every pair of such faults is tried.
func exhausts(f fault) bool { return *pairs == "all" || *pairs == "basic" && f <= failAfter }

// situation is one way in which a rotation may go where no call fails.
type situation struct {
	name    string
	before  func(*world)
	first   command
	sick    func(workload, mark string) bool
	stop    bool // on-failure
	recover command
	heal    command // a run without a fault before the last resume; nil: none is needed
}

func situations() []situation {
	forward := func(_, mark string) bool { return mark != "" && !strings.HasSuffix(mark, "-back") }
	well, sick := func(string, string) bool { return false }, func(string, string) bool { return true }
	none, rotated := func(*world) {}, func(w *world) { w.run(rotate) }
	open := func(w *world) {
		w.script["1 Served.Set 2"] = crashAfter
		w.run(rotate)
	}
	back := func(w *world) {
		w.sick = forward
		w.script["1 Database.Set 2"] = crashAfter
		w.run(rotate)
	}
	intruder := func(w *world) { w.intruder = true }
	busy := func(w *world) {
		live := w.process()
		live.session, w.locks[role] = true, live
	}
	drifted := func(w *world) { w.run(rotate); w.drift() }
	driftedBack := func(w *world) {
		w.sick = forward
		w.script["1 Journal.Save 3"] = crashAfter
		w.run(rotate)
		w.drift()
	}
	return append(alternations(), []situation{
		{"repair, resume", drifted, repair, well, false, resume, repair},
		{"repair that nothing comes up after, repair", drifted, repair, sick, false, repair, repair},
		{"repair of a way back, repair", driftedBack, repair, well, false, repair, repair},
		{"verified, resume", none, rotate, well, false, resume, nil},
		{"verified, rotate", none, rotate, well, false, rotate, nil},
		{"verified, on-failure stop", none, rotate, well, true, resume, nil},
		{"not verified, resume", none, rotate, forward, false, resume, nil},
		{"nothing comes up, resume", none, rotate, sick, false, resume, nil},
		{"emergency, resume", intruder, emergency, well, false, resume, nil},
		{"emergency, emergency", none, emergency, well, false, emergency, nil},
		{"emergency that takes the lock from a live run, resume", busy, emergency, well, false, resume, nil},
		{"emergency over one that GitHub refuses, resume", refused, emergency, well, false, resume, nil},
		{"rotation that ends the former sessions, resume", occupied, expelling, well, false, resume, nil},
		{"emergency that nothing comes up after, resume", none, emergency, sick, false, resume, nil},
		{"emergency over a way forward, resume", open, emergency, well, false, resume, nil},
		{"emergency over a way back, rotate", back, emergency, well, false, rotate, nil},
		{"rollback of a way forward, resume", open, undo, well, false, resume, nil},
		{"rollback of a rotation, resume", rotated, undo, well, false, resume, nil},
		{"rollback of a rotation that is not verified, rollback", rotated, undo, forward, false, undo, nil},
	}...)
}

// alternations are those in which runs switch roles.
func alternations() []situation {
	forward := func(_, mark string) bool { return mark != "" && !strings.HasSuffix(mark, "-back") }
	well, sick := func(string, string) bool { return false }, func(string, string) bool { return true }
	none := func(*world) {}
	alternate := func(before func(*world)) func(*world) {
		return func(w *world) {
			w.alternate, w.policy.RetireAfter = true, 24*time.Hour
			before(w)
		}
	}
	atOnce, intruder := func(w *world) { w.policy.RetireAfter = 0 }, func(w *world) { w.intruder = true }
	drifted := func(w *world) { w.run(rotate); w.drift() }
	switched, open := func(w *world) { w.run(rotate) }, func(w *world) {
		w.script["1 Served.Set 2"] = crashAfter
		w.run(rotate)
	}
	returned := func(w *world) { w.run(rotate); w.alternate = false }
	deleted := func(w *world) {
		w.policy.RetireAfter = 0
		w.run(rotate)
		w.journal, w.highest[0] = secret.Document{}, 0
	}
	back := func(w *world) {
		w.sick = forward
		w.script["1 Journal.Save 3"] = crashAfter
		w.run(rotate)
	}
	return []situation{
		{"repair that switches, repair", alternate(drifted), repair, well, false, repair, repair},
		{"switched, resume", alternate(none), rotate, well, false, resume, nil},
		{"switched again, rotate", alternate(switched), rotate, well, false, rotate, nil},
		{"switched and retired at once, resume", alternate(atOnce), rotate, well, false, resume, nil},
		{"switched, on-failure stop", alternate(none), rotate, well, true, resume, nil},
		{"switched and not verified, resume", alternate(switched), rotate, forward, false, resume, nil},
		{"switched, then in place, resume", alternate(returned), rotate, well, false, resume, nil},
		{"switched back without a journal, resume", alternate(deleted), rotate, well, false, resume, nil},
		{"emergency that switches, resume", alternate(intruder), emergency, well, false, resume, nil},
		{"emergency that switches and nothing comes up after, resume", alternate(intruder), emergency, sick, false, resume, nil},
		{"emergency that switches over one that GitHub refuses, resume", alternate(refused), emergency, well, false, resume, nil},
		{"emergency that switches over a way forward, resume", alternate(open), emergency, well, false, resume, nil},
		{"emergency that switches over a way back, rotate", alternate(back), emergency, well, false, rotate, nil},
		{"rollback of a way forward that switches, resume", alternate(open), undo, well, false, resume, nil},
		{"rollback of a switch, rollback", alternate(switched), undo, well, false, undo, nil},
	}
}

// refused leaves an emergency unfinished that GitHub does not take, nor those after it.
func refused(w *world) {
	w.down = func(what string) bool { return what == remote+".Set" }
	w.run(emergency)
}

func expelling(r *rotation.Rotation, ctx context.Context) rotation.Result {
	terminating(r)
	return r.Rotate(ctx)
}

// scripted is one fault at one call.
type scripted struct {
	call  string
	fault fault
}

// played is how a situation went.
type played struct {
	calls []string // of the first run and of the recovery; none where not all faults have happened
	first int      // so many of them are the first run's
	world string   // what the first run left; empty where not all faults have happened in it
	bad   []string // what did not hold
}

// play lets a rotation meet the faults, then runs the recovery until they have
// all happened, then once more without any. A world that is known to be led to
// its end ends it.
func (s situation) play(t *testing.T, known map[string]bool, faults ...scripted) (p played) {
	synctest.Test(t, func(*testing.T) {
		w := newWorld()
		s.before(w)
		w.sick, w.policy.GoBack, w.calls = s.sick, !s.stop, nil
		for _, f := range faults {
			w.script[f.call] = f.fault
		}
		w.run(s.first)
		if p.first = len(w.calls); len(w.script) == 0 && len(w.late) == 0 {
			p.world = w.fingerprint()
		}
		if p.bad = w.broken; known[p.world] {
			return
		}
		w.run(s.recover)
		if len(w.script) == 0 {
			p.calls = w.calls
		}
		w.script, w.down = nil, func(string) bool { return false }
		w.policy.GoBack = true
		if s.heal != nil {
			w.run(s.heal)
		}
		w.run(resume)
		p.bad = append(w.broken, w.unsettled()...)
	})
	return p
}

func TestEveryFaultAtEveryCall(t *testing.T) {
	var tried, equal atomic.Int64
	garbage := debug.SetGCPercent(800)
	t.Cleanup(func() {
		debug.SetGCPercent(garbage)
		t.Logf("%d cases tried, %d more go on as one of them from an equal world", tried.Load(), equal.Load())
	})
	for _, s := range situations() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			e := exhaustion{situation: s, met: map[string]bool{}, recovers: map[string]bool{}}
			e.exhaust(t)
			tried.Add(e.tried)
			equal.Add(e.equal)
		})
	}
}

// TestEveryPortMeetsFaults: what no situation calls is tried with no fault.
func TestEveryPortMeetsFaults(t *testing.T) {
	called := map[string]bool{}
	for _, s := range situations() {
		for _, call := range s.play(t, nil).calls {
			called[strings.Fields(call)[1]] = true
		}
	}
	for _, port := range []reflect.Type{reflect.TypeFor[rotation.Lock](), reflect.TypeFor[rotation.Database](), reflect.TypeFor[rotation.Lockout](), reflect.TypeFor[rotation.Twins](),
		reflect.TypeFor[rotation.Retirement](), reflect.TypeFor[rotation.Journal](), reflect.TypeFor[rotation.Served](), reflect.TypeFor[rotation.Standbys](),
		reflect.TypeFor[rotation.Sessions](), reflect.TypeFor[rotation.Addresses](), reflect.TypeFor[rotation.Refusals](), reflect.TypeFor[rotation.Health]()} {
		for i := range port.NumMethod() {
			what := port.Name() + "." + port.Method(i).Name
			asksNobody := strings.HasSuffix(what, ".String") || what == "Lock.Release" || what == "Served.Render"
			if !called[what] && !asksNobody && what != "Served.Differs" { // a check asks that, and changes nothing
				t.Errorf("%s is called in no situation", what)
			}
		}
	}
}

// exhaustion tries all that can happen to a situation.
type exhaustion struct {
	situation
	met          map[string]bool // worlds that a recovery has gone on from with every fault
	recovers     map[string]bool // worlds that were led to their end without another fault
	pairs        int
	tried, equal int64
}

// exhaust tries every fault at every call, and after each of them every fault
// at every later call, those of the recovery included, as far as -pairs wants them.
func (e *exhaustion) exhaust(t *testing.T) {
	well := e.play(t, nil)
	if len(well.bad) > 0 {
		t.Fatalf("without a fault: %q", well.bad)
	}
	for n, first := range combine(well.calls) {
		if !begins(n) {
			continue
		}
		if e.follow(t, first); t.Failed() {
			return
		}
	}
}

// follow tries every second fault after the first. What happens in the recovery
// depends on the world that it finds, and need not be tried twice.
func (e *exhaustion) follow(t *testing.T, first scripted) {
	e.tried++
	one := e.play(t, nil, first)
	if len(one.bad) > 0 {
		t.Errorf("%v: %q", first, one.bad)
	}
	begun := slices.Index(one.calls, first.call) + 1
	if begun == 0 {
		return
	}
	met := exhausts(first.fault) && one.world != "" && e.met[one.world]
	if exhausts(first.fault) && one.world != "" {
		e.met[one.world] = true
	}
	for i, call := range one.calls[begun:] {
		for _, second := range combine([]string{call}) {
			e.pair(t, first, second, met && begun+i >= one.first && exhausts(second.fault))
		}
	}
}

func (e *exhaustion) pair(t *testing.T, first, second scripted, met bool) {
	e.pairs++
	switch {
	case !wanted(e.pairs, first.fault, second.fault):
		return
	case met:
		e.equal++
		return
	}
	e.tried++
	p := e.play(t, e.recovers, first, second)
	if len(p.bad) > 0 {
		t.Errorf("%v, %v: %q", first, second, p.bad)
	}
	e.recovers[p.world] = p.world != "" && len(p.bad) == 0
}

func combine(calls []string) []scripted {
	var all []scripted
	for _, call := range calls {
		for f := crashBefore; f < faults; f++ {
			if f.fits(call) {
				all = append(all, scripted{call, f})
			}
		}
	}
	return all
}

func (s scripted) String() string { return fmt.Sprintf("%v at %q", s.fault, s.call) }
