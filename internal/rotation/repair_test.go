package rotation_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

func TestRepairGoesForwardOnly(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.drift()
		writes := w.writes
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRefused, 2)
		says(t, res.Err, "the database refuses the password", "on-drift: repair")
		if w.writes != writes {
			t.Error("a refused run wrote")
		}
		res, _ = w.run(repair)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, w.served.keys["password"])
		warns(t, res, "there is nothing to go back to")
		commit := slices.IndexFunc(res.Steps, func(s rotation.StepResult) bool { return s.Name == "commit" })
		if commit < 0 || res.Steps[commit].Detail != "nothing of the rotation is kept" {
			t.Errorf("steps %+v", res.Steps)
		}
		if !res.OneWay || w.drifted() || !w.journal.Data["previous"].IsZero() {
			t.Errorf("one way %v, drifted %v, kept %v", res.OneWay, w.drifted(), w.journaled())
		}
		res, _ = w.run(undo)
		expect(t, res, rotation.StatusRefused, 2)
		says(t, res.Err, "was not kept")
		res, _ = w.run(repair)
		expect(t, res, rotation.StatusRotated, 0)
		if res.OneWay || w.journal.Data["previous"].IsZero() {
			t.Error("a rotation without drift is one way")
		}
	})
}

// TestRepairWithoutDriftGoesBack: the permission to repair takes nothing away.
func TestRepairWithoutDriftGoesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
		res, _ := w.run(repair)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, birth)
	})
}

func TestPlanOfARepair(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.drift()
		res, _ := w.run(plan)
		expect(t, res, rotation.StatusRefused, 2)
		res, _ = w.run(plan, func(r *rotation.Rotation) { r.Policy.Repair = true })
		expect(t, res, rotation.StatusPlanned, 0)
		warns(t, res, "there is nothing to go back to")
		if w.writes != 0 {
			t.Errorf("%d writes", w.writes)
		}
	})
}

// TestRepairThatDoesNotComeUpStops, and a later run ends it all the same: the
// stores have to agree.
func TestRepairThatDoesNotComeUpStops(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.drift()
		w.sick = func(string, string) bool { return true }
		res, _ := w.run(repair)
		expect(t, res, rotation.StatusUnfinished, 3)
		res, _ = w.run(undo)
		expect(t, res, rotation.StatusRefused, 2)
		says(t, res.Err, "the database refused what was served before it", "resume")
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusRotated, 1)
		w.settled(t, "NewPassword1")
	})
}

// TestRepairForbearsUnhealthyWorkloads: the refused password may be why.
func TestRepairForbearsUnhealthyWorkloads(t *testing.T) {
	ailing := func(r *rotation.Rotation) {
		r.Workloads[0] = ailingWorkload{r.Workloads[0]}
	}
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(repair, ailing)
		expect(t, res, rotation.StatusRefused, 2)
		w.drift()
		res, _ = w.run(repair, ailing)
		expect(t, res, rotation.StatusRotated, 0)
		warns(t, res, "is not healthy before the start")
		w.drift()
		w.script["3 Plan "+inPod2+" 1"] = refuse
		res, _ = w.run(repair, ailing)
		expect(t, res, rotation.StatusRefused, 2)
	})
}

func TestRepairEndsAWayBackWithAForeignPassword(t *testing.T) {
	for _, alternate := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			w.alternate, w.policy.RetireAfter = alternate, time.Hour
			w.sick = func(_, mark string) bool { return mark != "" && !strings.HasSuffix(mark, "-back") }
			w.script["1 Journal.Save 3"] = crashAfter // the way back is decided
			w.run(rotate)
			w.sick = func(string, string) bool { return false }
			w.role(role).accepts, w.foreign = w.verifier("ByHand"), "ByHand"
			if w.phase() != "back" {
				t.Fatalf("the journal is %s", w.phase())
			}
			for _, command := range []command{resume, rotate} {
				res, _ := w.run(command)
				expect(t, res, rotation.StatusUnfinished, 3)
				says(t, res.Err, "somebody else has changed it meanwhile", "on-drift: repair")
			}
			if alternate { // nobody uses the role that gets the new password
				for _, set := range w.sets {
					for i := range set.pods {
						set.pods[i].user = w.served.keys["username"]
					}
				}
			}
			res, _ := w.run(repair)
			expect(t, res, rotation.StatusRotated, 0)
			w.settled(t, w.served.keys["password"])
			warns(t, res, "the way back of rotation", "is given up")
			if !res.OneWay {
				t.Error("it is not one way")
			}
		})
	}
}

// TestRepairLeavesAWayBackThatCanEnd alone, and makes its own rotation after it.
func TestRepairLeavesAWayBackThatCanEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sick = func(_, mark string) bool { return mark != "" && !strings.HasSuffix(mark, "-back") }
		w.script["1 Journal.Save 3"] = crashAfter
		w.run(rotate)
		w.sick = func(string, string) bool { return false }
		res, _ := w.run(repair)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword2")
		if res.OneWay {
			t.Error("it is one way")
		}
	})
}

func TestEmergencyOverARepair(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.drift()
		w.script["1 Served.Set 2"] = crashBefore
		w.run(repair)
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword2")
		if res.OneWay {
			t.Error("an emergency is called a repair")
		}
	})
}

func TestRepairDoesNotGuess(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.down = func(what string) bool { return what == "Database.Holds" }
		res, _ := w.run(repair)
		if res.Status == rotation.StatusRotated || w.served.keys["password"] != birth {
			t.Errorf("it ended %q though the database did not answer", res.Status)
		}
		w.down = func(string) bool { return false }
		w.nologin = true
		res, _ = w.run(repair)
		expect(t, res, rotation.StatusRefused, 2)
	})
}

// TestOneWayJournalsHoldNoWayBack: one that does is damaged.
func TestOneWayJournalsHoldNoWayBack(t *testing.T) {
	for name, damage := range map[string]func(*world){
		"goes back":        func(w *world) { w.journal.Annotations["pgrotate.io/phase"] = "back" },
		"holds a previous": func(w *world) { w.journal.Data["previous"] = w.journal.Data["pending"] },
	} {
		inWorld(t, func(t *testing.T, w *world) {
			w.drift()
			w.script["1 Served.Set 2"] = crashBefore
			w.run(repair)
			damage(w)
			res, _ := w.run(resume)
			if res.Err == nil || !strings.Contains(res.Err.Error(), "it is of a repair and "+name) {
				t.Errorf("%s: %v", name, res.Err)
			}
			w.broken = nil
		})
	}
}

// ailingWorkload is unhealthy before the start.
type ailingWorkload struct{ rotation.Workload }

func (ailingWorkload) Plan(context.Context) (string, []string, error) {
	return "", nil, &failed{"unhealthy", inPod + ": it is not healthy before the start"}
}
