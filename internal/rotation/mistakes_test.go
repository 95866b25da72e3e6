package rotation_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// TestAllMistakesAreToldAtOnce has several things speak against a rotation, of
// which the first is met before the lock is held.
func TestAllMistakesAreToldAtOnce(t *testing.T) {
	everywhere := []string{"Journal.Plan", "Served.Plan", "Plan " + cluster, "Plan " + inPod, "Plan " + remote}
	for _, test := range []struct {
		name   string
		run    command
		first  string // call that is refused
		others []string
		want   rotation.Status
	}{
		{"the lock", rotate, "Lock.Acquire", everywhere, rotation.StatusRefused},
		{"the served Secret", rotate, "Served.Look", []string{"Plan " + remote}, rotation.StatusRefused},
		{"the journal", rotate, "Journal.Load", []string{"Plan " + remote}, rotation.StatusRefused},
		{"the served Secret in a plan", plan, "Served.Look", []string{"Plan " + remote}, rotation.StatusRefused},
		{"the lock in an emergency", emergency, "Lock.Acquire", everywhere[:2], rotation.StatusRefused},
		{"the lock, and nothing is open", resume, "Lock.Acquire", nil, rotation.StatusRefused},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.script["1 "+test.first+" 1"] = refuse
				for _, call := range everywhere {
					w.script["1 "+call+" 1"] = refuse
				}
				res, _ := w.run(test.run)
				expect(t, res, test.want, 2)
				for _, call := range append(test.others, test.first) {
					if !strings.Contains(res.Err.Error(), call+": forbidden") {
						t.Errorf("%v does not tell of %q", res.Err, call)
					}
				}
				if told, want := strings.Count(res.Err.Error(), "forbidden"), 1+len(test.others); told != want || w.writes > 0 {
					t.Errorf("%d things told, want %d; %d writes: %v", told, want, w.writes, res.Err)
				}
			})
		})
	}
}

// TestWhatSeveralSayIsToldOnce: a database that cannot be reached is met by the
// discovery, and again by the lock or, in a plan, by its own question.
func TestWhatSeveralSayIsToldOnce(t *testing.T) {
	for call, do := range map[string]command{"Lock.Acquire": rotate, "Database.Plan": plan} {
		inWorld(t, func(t *testing.T, w *world) {
			w.script["1 "+call+" 1"] = refuse
			both := errors.Join(&failed{"refused", "list cronjobs: forbidden"}, &failed{"refused", call + ": forbidden"})
			res, _ := w.run(do, func(r *rotation.Rotation) { r.Undiscovered = both })
			expect(t, res, rotation.StatusRefused, 2)
			for _, text := range []string{"list cronjobs: forbidden", call + ": forbidden"} {
				if n := strings.Count(res.Err.Error(), text); n != 1 {
					t.Errorf("%q is told %d times: %v", text, n, res.Err)
				}
			}
			if class := rotation.ClassOf(res.Err); class != rotation.Refused || w.writes > 0 {
				t.Errorf("class %s, %d writes", class, w.writes)
			}
		})
	}
}

// TestWhatIsToldBesideDecidesNothing: how a run ends is up to what it met first.
func TestWhatIsToldBesideDecidesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.down = func(what string) bool { return what == "Lock.Acquire" }
		w.script["1 Plan "+inPod+" 1"] = refuse
		res, _ := w.run(rotate)
		if class := rotation.ClassOf(res.Err); class != rotation.Unavailable || !strings.Contains(res.Err.Error(), "Plan "+inPod) {
			t.Errorf("%s: %v", class, res.Err)
		}
	})
}

// TestNothingIsToldBesideWhereNothingIsDue: the targets of a rotation that would
// not be made are not asked.
func TestNothingIsToldBesideWhereNothingIsDue(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.policy.MinimumAge, w.calls = time.Hour, nil
		w.script["2 Lock.Acquire 1"] = refuse
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRefused, 2)
		if !slices.Contains(w.calls, "2 Lock.Acquire 1") {
			t.Errorf("the lock was not asked for: %q", w.calls)
		}
		for _, call := range w.calls {
			if strings.Contains(call, "Plan") {
				t.Errorf("%s was asked", call)
			}
		}
	})
}
