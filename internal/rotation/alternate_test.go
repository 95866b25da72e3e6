package rotation_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// alternating runs a scenario in a world whose runs have the strategy alternate.
func alternating(t *testing.T, scenario func(t *testing.T, w *world)) {
	t.Helper()
	inWorld(t, func(t *testing.T, w *world) {
		w.alternate, w.policy.RetireAfter = true, 24*time.Hour
		scenario(t, w)
	})
}

// switched rotates once, so that the twin is served.
func switched(t *testing.T, w *world) {
	t.Helper()
	res, _ := w.run(rotate)
	expect(t, res, rotation.StatusRotated, 0)
	w.serves(t, twin, "NewPassword1")
}

func (w *world) serves(t *testing.T, user, password string) {
	t.Helper()
	w.settled(t, password)
	if got := w.served.keys["username"]; got != user {
		t.Errorf("role %q is served, want %q", got, user)
	}
}

func inPlace(r *rotation.Rotation) { r.Strategy = rotation.InPlace }

func TestAlternateTakesTurns(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		for n, user := range []string{twin, role, twin, role} {
			res, _ := w.run(rotate)
			expect(t, res, rotation.StatusRotated, 0)
			w.serves(t, user, fmt.Sprintf("NewPassword%d", n+1))
			former := map[string]string{role: twin, twin: role}[user]
			if res.Username != user || res.FormerRole != former || time.Until(res.RetireAt) > 24*time.Hour || time.Until(res.RetireAt) < 23*time.Hour {
				t.Errorf("user %q, former role %q until %v", res.Username, res.FormerRole, res.RetireAt)
			}
			if res.RefusedWindow != 0 || res.Strategy != rotation.Alternate {
				t.Errorf("window %v, strategy %q", res.RefusedWindow, res.Strategy)
			}
		}
		if n := slices.Index(w.calls, "1 Twins.Create 1"); n < 0 || slices.Index(w.calls, "1 Twins.Enable 1") < n {
			t.Error("the twin was not made before it got its password")
		}
	})
}

// Pods that have the user name from elsewhere would log in as the former role.
// They do when it comes back.
func TestAlternateRefusesWorkloadsThatTakeThePasswordAlone(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		alone := map[string][]string{inPod2: {"app", "migrate"}}
		w.unnamed = alone
		for name, command := range map[string]command{"rotate": rotate, "emergency": emergency} {
			writes := w.writes
			res, _ := w.run(command)
			expect(t, res, rotation.StatusRefused, 2)
			if w.writes != writes || !strings.Contains(res.Err.Error(), inPod2+": container app, migrate takes the password without the user name") {
				t.Errorf("%s: %d writes, %v", name, w.writes-writes, res.Err)
			}
		}
		res, _ := w.run(rotate, inPlace)
		expect(t, res, rotation.StatusRotated, 0)

		w.unnamed = nil
		res, _ = w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		w.unnamed = alone
		res, _ = w.run(undo)
		expect(t, res, rotation.StatusRotated, 0)
		if got := w.served.keys["username"]; got != role {
			t.Errorf("role %q is served", got)
		}
	})
}

func TestFormerRoleIsRetiredByTheFirstRunAfterItsTime(t *testing.T) {
	for name, next := range map[string]command{"resume": resume, "rotate": rotate} {
		t.Run(name, func(t *testing.T) {
			alternating(t, func(t *testing.T, w *world) {
				switched(t, w)
				w.policy.MinimumAge = 1000 * time.Hour
				writes := w.writes
				res, _ := w.run(next)
				expect(t, res, rotation.StatusUnchanged, 0)
				if w.writes != writes || res.FormerRole != role || res.RetireAt.IsZero() {
					t.Errorf("%d writes, former role %q", w.writes-writes, res.FormerRole)
				}
				<-time.After(25 * time.Hour)
				w.visitors[role] = 2
				res, _ = w.run(next)
				expect(t, res, rotation.StatusUnchanged, 0)
				if w.writes != writes || len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "2 sessions") {
					t.Errorf("%d writes, warnings %q", w.writes-writes, res.Warnings)
				}
				w.visitors[role] = 0
				res, _ = w.run(next)
				expect(t, res, rotation.StatusUnchanged, 0)
				if w.accepts != "" || res.Retired != role || res.FormerRole != "" || !strings.Contains(res.Reason, "retired") {
					t.Errorf("%q retired, %q is left, reason %q", res.Retired, res.FormerRole, res.Reason)
				}
				w.serves(t, twin, "NewPassword1")
				writes = w.writes
				w.run(next)
				if w.writes != writes {
					t.Error("a run with nothing to do wrote")
				}
			})
		})
	}
}

func TestRetireAfterNothingRetiresWithTheRotation(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.policy.RetireAfter = 0
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		if w.accepts != "" || res.Retired != role || res.FormerRole != "" {
			t.Errorf("%q retired, %q is left", res.Retired, res.FormerRole)
		}
		w.visitors[twin] = 1
		res, _ = w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		if w.twin.accepts == "" || res.FormerRole != twin || len(res.Warnings) != 1 {
			t.Errorf("%q is left, warnings %q", res.FormerRole, res.Warnings)
		}
		w.serves(t, role, "NewPassword2")
	})
}

// Nothing needs the rotation any more to which the role belongs.
func TestRoleThatCannotBeRetiredFailsNothing(t *testing.T) {
	for _, f := range []fault{refuse, failBefore, failAfter, cutBefore} {
		alternating(t, func(t *testing.T, w *world) {
			w.policy.RetireAfter = 0
			w.script["1 Retirement.Retire 1"] = f
			res, _ := w.run(rotate)
			expect(t, res, rotation.StatusRotated, 0)
			if res.FormerRole != role || len(res.Warnings) != 1 || res.FailedStep != "" {
				t.Errorf("%v: %q is left, warnings %q", f, res.FormerRole, res.Warnings)
			}
			w.script["2 Retirement.Retire 1"] = f
			if res, _ = w.run(resume); res.Status != rotation.StatusUnchanged || res.FailedStep != "" {
				t.Errorf("%v: the next run ended %q, failed step %q", f, res.Status, res.FailedStep)
			}
			res, _ = w.run(resume)
			if w.accepts != "" || res.Retired != role {
				t.Errorf("%v: the next run has retired %q", f, res.Retired)
			}
		})
	}
}

func TestRoleIsNotRetiredWhereTheServedPasswordDoesNotLogIn(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		switched(t, w)
		<-time.After(25 * time.Hour)
		w.served.keys["password"] = "by hand"
		for _, set := range w.sets {
			set.pods = nil
		}
		res, _ := w.run(resume)
		w.broken = nil
		if w.accepts == "" || res.Retired != "" || len(res.Warnings) != 1 {
			t.Errorf("%q retired, warnings %q", res.Retired, res.Warnings)
		}
		warns(t, res, "is not retired: the database refuses the served password")
	})
}

func TestServedRoleIsNeverRetired(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		switched(t, w)
		<-time.After(25 * time.Hour)
		w.served.keys["username"], w.served.keys["password"] = role, birth // somebody went back by hand
		for _, set := range w.sets {
			set.pods = nil
		}
		res, _ := w.run(resume)
		if _, tried := stepOf(res, "retire"); w.accepts == "" || res.Retired != "" || tried {
			t.Errorf("%q retired, tried: %t", res.Retired, tried)
		}
		w.broken = nil
	})
}

func TestRoleInUseGetsNoNewPassword(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		switched(t, w)
		w.visitors[role] = 1
		writes := w.writes
		for _, do := range []command{rotate, plan} {
			res, _ := w.run(do)
			expect(t, res, rotation.StatusRefused, 2)
			says(t, res.Err, role, "1 session is", "pg_stat_activity")
		}
		if w.writes != writes {
			t.Error("something was written")
		}
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusRotated, 0)
	})
}

func TestAlternateGoesBackWithoutAnAlter(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		first := w.accepts
		w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.serves(t, role, birth)
		if w.accepts != first || w.twin.accepts != "" || res.Retired != twin || res.FormerRole != "" {
			t.Errorf("%q retired, %q is left", res.Retired, res.FormerRole)
		}
		if slices.Contains(w.calls, "1 Database.Set 1") {
			t.Error("the way back sent ALTER ROLE for a password that logs in")
		}
	})
}

func TestPendingRoleThatIsUsedIsRetiredLater(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
		w.hooks["1 Journal.Save 3"] = w.changes(func() { w.visitors[twin] = 1 })
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		if res.FormerRole != twin || res.RetireAt.After(time.Now()) {
			t.Errorf("%q is left until %v", res.FormerRole, res.RetireAt)
		}
		w.visitors[twin] = 0
		res, _ = w.run(resume)
		if res.Retired != twin || w.twin.accepts != "" {
			t.Errorf("%q retired", res.Retired)
		}
	})
}

func TestRotationThatSwitchedIsUndone(t *testing.T) {
	for _, retireAfter := range []time.Duration{0, 24 * time.Hour} {
		alternating(t, func(t *testing.T, w *world) {
			w.policy.RetireAfter = retireAfter
			first := w.accepts
			switched(t, w)
			res, _ := w.run(undo, inPlace)
			expect(t, res, rotation.StatusRotated, 0)
			w.serves(t, role, birth)
			if w.accepts != first || res.Strategy != rotation.Alternate || res.Undone == "" {
				t.Errorf("the verifier is the former one: %v; strategy %q", w.accepts == first, res.Strategy)
			}
		})
	}
}

func TestStrategyMayChangeBetweenRuns(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		switched(t, w)
		w.alternate = false // the invariants of alternate are over
		res, _ := w.run(rotate, inPlace)
		expect(t, res, rotation.StatusRotated, 0)
		w.serves(t, twin, "NewPassword2")
		if res.FormerRole != role || res.Strategy != rotation.InPlace {
			t.Errorf("former role %q, strategy %q", res.FormerRole, res.Strategy)
		}
		<-time.After(25 * time.Hour)
		res, _ = w.run(rotate, inPlace)
		expect(t, res, rotation.StatusRotated, 0)
		if w.accepts != "" || res.Retired != role {
			t.Errorf("%q retired", res.Retired)
		}
		w.alternate = true
		res, _ = w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		w.serves(t, role, "NewPassword4")
	})
}

func TestPairIsFoundFromWhateverIsServed(t *testing.T) {
	named := func(base, other string) func(*rotation.Rotation) {
		return func(r *rotation.Rotation) { r.Role, r.AlternateRole = base, other }
	}
	for name, input := range map[string]func(*rotation.Rotation){
		"by the journal": func(*rotation.Rotation) {},
		"by the inputs":  named(role, twin),
		"by the role":    named(role, ""),
	} {
		t.Run(name, func(t *testing.T) {
			alternating(t, func(t *testing.T, w *world) {
				switched(t, w)
				res, _ := w.run(rotate, input)
				expect(t, res, rotation.StatusRotated, 0)
				w.serves(t, role, "NewPassword2")
			})
		})
	}
	t.Run("by the membership", func(t *testing.T) {
		alternating(t, func(t *testing.T, w *world) {
			switched(t, w)
			w.journal.Annotations, w.journal.Data, w.highest[0] = nil, nil, 0
			res, _ := w.run(rotate)
			w.broken = nil // the journal was deleted
			expect(t, res, rotation.StatusRotated, 0)
			w.serves(t, role, "NewPassword2")
		})
	})
}

func TestRolesBetweenWhichNothingRotates(t *testing.T) {
	long := strings.Repeat("x", 60)
	for name, c := range map[string]struct {
		before func(*world)
		input  func(*rotation.Rotation)
		words  []string
	}{
		"neither is served": {func(*world) {}, func(r *rotation.Rotation) { r.Role, r.AlternateRole = "app_a", "app_b" }, []string{"app_a", "app_b", role, "postgres-role"}},
		"a name too long":   {func(w *world) { w.served.keys["username"] = long }, func(*rotation.Rotation) {}, []string{long + "_alt", "64 bytes", "63", "postgres-alternate-role"}},
		"no user name":      {func(w *world) { delete(w.served.keys, "username") }, func(r *rotation.Rotation) { r.Role = role }, []string{"no user name", twin}},
	} {
		t.Run(name, func(t *testing.T) {
			alternating(t, func(t *testing.T, w *world) {
				c.before(w)
				for _, do := range []command{rotate, plan, emergency} {
					res, _ := w.run(do, c.input)
					expect(t, res, rotation.StatusRefused, 2)
					says(t, res.Err, c.words...)
				}
				if w.writes != 0 {
					t.Errorf("%d writes", w.writes)
				}
			})
		})
	}
}

func TestTwinIsNotExchangedWhileTheFormerOneOpensItsDoor(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		switched(t, w)
		w.run(rotate) // the base is served, the twin is to be retired
		res, _ := w.run(rotate, func(r *rotation.Rotation) { r.Role, r.AlternateRole = role, "another" })
		expect(t, res, rotation.StatusRefused, 2)
		says(t, res.Err, twin, "still to be retired")
	})
}

func TestOpenRotationKeepsItsTwin(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.crashAt(t, "1 Twins.Enable 1")
		res, _ := w.run(resume, func(r *rotation.Rotation) { r.Role, r.AlternateRole = role, "another" })
		expect(t, res, rotation.StatusRefused, 2)
		says(t, res.Err, twin, "another", "postgres-alternate-role")
		res, _ = w.run(resume, inPlace)
		expect(t, res, rotation.StatusRotated, 0)
		w.serves(t, twin, "NewPassword1")
	})
}

// Enable makes it LOGIN with the password: who made it NOLOGIN since had a reason.
func TestRoleThatSomebodyHasClosedMeanwhileIsLeftClosed(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.crashAt(t, "1 Twins.Enable 1")
		w.twin.nologin = true
		res, _ := w.run(resume)
		expect(t, res, rotation.StatusRolledBack, 1)
		says(t, res.Err, twin, "NOLOGIN")
		w.serves(t, role, birth)
	})
}
