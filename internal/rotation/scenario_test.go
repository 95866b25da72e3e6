package rotation_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// inWorld runs a scenario on a clock of its own, and demands the invariants.
func inWorld(t *testing.T, scenario func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		scenario(t, w)
		for _, text := range w.broken {
			t.Error(text)
		}
	})
}

func expect(t *testing.T, res rotation.Result, status rotation.Status, exit int) {
	t.Helper()
	if res.Status != status || res.ExitCode() != exit {
		t.Fatalf("the run ended %q with exit code %d, want %q and %d (failed step %q, error: %v)",
			res.Status, res.ExitCode(), status, exit, res.FailedStep, res.Err)
	}
}

// settled demands that everything agrees on one password.
func (w *world) settled(t *testing.T, password string) {
	t.Helper()
	for _, text := range w.unsettled() {
		t.Error(text)
	}
	if got := w.served.keys["password"]; got != password {
		t.Errorf("%q is served, want %q", got, password)
	}
}

func says(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(fmt.Sprint(err, rotation.Hints(err)), word) {
			t.Errorf("the error does not mention %q:\n%v\nhints: %q", word, err, rotation.Hints(err))
		}
	}
}

// crashAt leaves the world as a process leaves it that dies after the call.
func (w *world) crashAt(t *testing.T, call string) {
	t.Helper()
	w.script[call] = crashAfter
	if _, ended := w.run(rotate); ended {
		t.Fatalf("the call %q was never made", call)
	}
	if slices.ContainsFunc(w.calls, func(c string) bool { return c == call }) {
		return
	}
	t.Fatalf("the call %q was never made", call)
}

func TestRotated(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.rollout = 20 * time.Second
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword1")
		if res.RotationID == "" || w.served.stamp.RotationID != res.RotationID || !res.RotatedAt.Equal(w.served.stamp.RotatedAt) {
			t.Errorf("the served Secret is stamped %+v, the result says %q at %v", w.served.stamp, res.RotationID, res.RotatedAt)
		}
		if res.RefusedWindow != w.rollout {
			t.Errorf("the window is %v, the restart took %v", res.RefusedWindow, w.rollout)
		}
		var names []string
		for _, step := range res.Steps {
			names = append(names, step.Name)
		}
		slices.Sort(names[10:12]) // the two that run beside each other
		want := []string{"lock", "look", "preflight", "claim", "fence", "journal", "database", "served Secret", "cluster copies", "standbys", "GitHub", "restart", "health", "verify", "sessions", "refused logins", "commit"}
		if !slices.Equal(names, want) {
			t.Errorf("steps %q, want %q", names, want)
		}
		if len(res.Workloads) != 2 || len(res.Copies) != 2 || res.Copies[0].UpdatedAt.IsZero() || res.FailedStep != "" {
			t.Errorf("workloads %v, copies %v, failed step %q", res.Workloads, res.Copies, res.FailedStep)
		}
	})
}

func TestNothingToResumeWritesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(resume)
		expect(t, res, rotation.StatusUnchanged, 0)
		if w.writes != 0 {
			t.Errorf("%d writes", w.writes)
		}
	})
}

func TestPlanChangesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(plan)
		expect(t, res, rotation.StatusPlanned, 0)
		if w.writes != 0 || slices.ContainsFunc(w.calls, func(c string) bool { return strings.Contains(c, "Acquire") }) {
			t.Errorf("%d writes, calls %q", w.writes, w.calls)
		}
		var steps []string
		for _, line := range res.Plan {
			steps = append(steps, line.Step)
		}
		want := []string{"database", "journal", "served Secret", "cluster copies", "restart", "restart", "GitHub", "standbys", "sessions", "health"}
		if !slices.Equal(steps, want) {
			t.Errorf("the plan has %q, want %q", steps, want)
		}
	})
}

func TestUnhealthyRolloutBringsTheFormerPasswordBackExactly(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		keys, stamp := maps.Clone(w.served.keys), w.served.stamp
		accepts := w.accepts
		w.sick = func(name, mark string) bool { return name == inPod && !strings.HasSuffix(mark, "-back") }
		w.rollout = 7 * time.Second
		res, _ = w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, "NewPassword1")
		if !maps.Equal(keys, w.served.keys) || w.accepts != accepts {
			t.Error("the bytes of the Secret or the verifier are not the former ones")
		}
		now := w.served.stamp
		if now.RotationID != stamp.RotationID || !now.RotatedAt.Equal(stamp.RotatedAt) || now.Epoch <= stamp.Epoch {
			t.Errorf("the Secret is stamped %+v, was %+v", now, stamp)
		}
		if res.FailedStep != "restart" || res.RefusedWindow != 2*w.rollout || len(res.Unhealthy()) != 0 {
			t.Errorf("failed step %q, window %v, unhealthy %v", res.FailedStep, res.RefusedWindow, res.Unhealthy())
		}
		says(t, res.Err, inPod+" did not come up")
		for name, set := range w.sets {
			if set.mark != res.RotationID+"-back" {
				t.Errorf("%s carries the mark %q", name, set.mark)
			}
		}
	})
}

func TestWorkloadsThatStayUnhealthyDoNotHoldTheWayBackUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sick = func(name, _ string) bool { return name == inPod }
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, birth)
		if sick := res.Unhealthy(); len(sick) != 1 || sick[0].Name != inPod {
			t.Errorf("unhealthy: %v", sick)
		}
	})
}

func TestEveryFindingOfThePreflightIsToldAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Plan "+remote+" 1"] = refuse
		w.script["1 Plan "+inPod2+" 1"] = refuse
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRefused, 2)
		says(t, res.Err, remote, inPod2)
		w.settled(t, birth)
		if w.writes != 0 {
			t.Errorf("%d writes", w.writes)
		}
	})
}

func TestServedPasswordThatTheDatabaseRefusesIsADrift(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.served.keys["password"] = "by hand"
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRefused, 2)
		says(t, res.Err, "the database refuses the password")
		w.broken = nil // the drift itself
	})
}

func TestYoungPasswordsAreLeftAlone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.policy.MinimumAge = time.Hour
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnchanged, 0)
		w.served.created = w.served.created.Add(-time.Hour)
		res, _ = w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		writes := w.writes
		res, _ = w.run(rotate)
		expect(t, res, rotation.StatusUnchanged, 0)
		if w.writes != writes || !strings.Contains(res.Reason, "minimum-age") {
			t.Errorf("%d writes, reason %q", w.writes-writes, res.Reason)
		}
	})
}

func request(id string) func(*rotation.Rotation) {
	return func(r *rotation.Rotation) { r.Request.ID = id }
}

func TestRequestMakesOneRotation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(rotate, request("7"))
		expect(t, res, rotation.StatusRotated, 0)
		res, _ = w.run(rotate, request("7"))
		expect(t, res, rotation.StatusUnchanged, 0)
		res, _ = w.run(rotate, request("8"))
		expect(t, res, rotation.StatusRotated, 0)
	})
}

func TestRequestFindsItsRotationDoneByAnother(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Served.Set 2"] = crashBefore
		w.run(rotate, request("7"))
		res, _ := w.run(resume, request("nightly"))
		expect(t, res, rotation.StatusRotated, 0)
		for _, id := range []string{"7", "nightly"} {
			res, _ = w.run(rotate, request(id))
			expect(t, res, rotation.StatusUnchanged, 0)
		}
	})
}

func TestRequestThatWasRolledBackMayTryAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Restart "+inPod+" 1"] = refuse
		res, _ := w.run(rotate, request("7"))
		expect(t, res, rotation.StatusRolledBack, 1)
		res, _ = w.run(rotate, request("7"))
		expect(t, res, rotation.StatusRotated, 0)
	})
}

func TestFormerPasswordIsKeptForAWhile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		if !slices.Contains(w.journaled(), birth) {
			t.Error("the former password is not kept")
		}
		<-time.After(w.policy.KeepPrevious + time.Second)
		w.script["2 Lock.Check 1"] = crashBefore
		w.run(rotate)
		if known := w.journaled(); len(known) != 0 {
			t.Errorf("the run after its time did not wipe the former password: %q", known)
		}
		w.policy.KeepPrevious = 0
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		if known := w.journaled(); len(known) != 0 {
			t.Errorf("kept for 0 s: %q", known)
		}
	})
}

// secrets are what no text that a person sees may hold.
func TestNoTextHoldsAPassword(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var seen []string
		w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
		res, _ := w.run(rotate, func(r *rotation.Rotation) {
			r.Observe = func(e rotation.Event) { seen = append(seen, fmt.Sprintf("%+v", e)) }
		})
		seen = append(seen, fmt.Sprintf("%+v", res), fmt.Sprint(w.journal.Annotations))
		for _, text := range seen {
			for _, bad := range []string{birth, "NewPassword", "SCRAM$"} {
				if strings.Contains(text, bad) {
					t.Errorf("%q in: %s", bad, text)
				}
			}
		}
		if len(seen) < 30 {
			t.Errorf("only %d texts were seen", len(seen))
		}
	})
}

func TestToldToStopBeforeItStarts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.process()
		ctx, stop := context.WithCancel(t.Context())
		stop()
		res := p.rotation().Rotate(ctx)
		expect(t, res, rotation.StatusFailed, 2)
		if len(w.calls) != 0 {
			t.Errorf("calls %q", w.calls)
		}
	})
}
