package rotation_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestEmergencySwitchesFirstAndThenClosesTheFormerRole(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.intruder = true
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusRotated, 0)
		w.serves(t, twin, "NewPassword1")
		if !w.nologin || w.accepts != "" || res.FormerRole != "" {
			t.Errorf("the compromised role is closed: %v; %q is left", w.nologin, res.FormerRole)
		}
		order := []string{"1 Twins.Create 1", "1 Lockout.Close 1", "1 Lockout.Expel 1", "1 Lockout.Open 1", "1 Served.Set 2", "1 Restart " + inPod + " 1", "1 Retirement.Revoke 1", "1 Lockout.Expel 2", "1 Journal.Save 3"}
		if !slices.IsSortedFunc(order, func(a, b string) int { return slices.Index(w.calls, a) - slices.Index(w.calls, b) }) || slices.Index(w.calls, order[0]) < 0 {
			t.Errorf("calls %q", w.calls)
		}
		res, _ = w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		w.serves(t, role, "NewPassword2")
	})
}

func TestEmergencyInPlaceClosesTheOtherRoleToo(t *testing.T) {
	for name, before := range map[string]func(*world){
		"that is to be retired":          func(w *world) { w.run(rotate) },
		"that an open rotation has set":  func(w *world) { w.script["1 Served.Set 2"] = crashBefore; w.run(rotate) },
		"that an open rotation has left": func(w *world) { w.script["1 Served.Set 2"] = crashAfter; w.run(rotate) },
	} {
		t.Run(name, func(t *testing.T) {
			alternating(t, func(t *testing.T, w *world) {
				before(w)
				served := w.served.keys["username"]
				w.alternate = false
				res, _ := w.run(emergency, inPlace)
				expect(t, res, rotation.StatusRotated, 0)
				w.serves(t, served, w.served.keys["password"])
				other := map[string]string{role: twin, twin: role}[served]
				if l := w.role(other); !l.nologin || l.accepts != "" {
					t.Errorf("role %q opens its door", other)
				}
			})
		})
	}
}

func TestEmergencyThatDidNotCloseTheFormerRoleIsUnfinished(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.script["1 Retirement.Revoke 1"] = refuse
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusUnfinished, 3)
		if res.FailedStep != "revoke" || res.FormerRole != role || w.phase() != "forward" {
			t.Errorf("failed step %q, former role %q, the journal is %s", res.FailedStep, res.FormerRole, w.phase())
		}
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusRotated, 0)
		if !w.nologin {
			t.Error("the compromised role is open")
		}
	})
}

// What holds up the new password must not keep the compromised one alive.
func TestEmergencyClosesTheFormerRoleWhateverFails(t *testing.T) {
	for name, fails := range map[string]func(*world){
		"GitHub refuses":         func(w *world) { w.script["1 "+remote+".Set 1"] = refuse },
		"GitHub does not answer": func(w *world) { w.down = func(what string) bool { return what == remote+".Set" } },
		"nothing comes up":       func(w *world) { w.sick = func(string, string) bool { return true } },
		"a restart is refused":   func(w *world) { w.script["1 Restart "+inPod+" 1"] = refuse },
		"a pod is not ready":     func(w *world) { w.sick = func(name, _ string) bool { return name == inPod } },
	} {
		t.Run(name, func(t *testing.T) {
			alternating(t, func(t *testing.T, w *world) {
				fails(w)
				res, _ := w.run(emergency)
				expect(t, res, rotation.StatusUnfinished, 3)
				if !w.nologin || w.accepts != "" || res.FormerRole != "" {
					t.Errorf("the compromised role is closed: %v; %q is said to be left", w.nologin, res.FormerRole)
				}
				w.down, w.sick = func(string) bool { return false }, func(string, string) bool { return false }
				res, _ = w.run(resume)
				expect(t, res, rotation.StatusRotated, 0)
				w.serves(t, twin, "NewPassword1")
			})
		})
	}
}

// The door that is served has to be open before the other one is closed.
func TestEmergencyKeepsTheFormerRoleWhileItMayBeTheOnlyOne(t *testing.T) {
	for name, fails := range map[string]func(*world){
		"nobody is to be restarted yet": func(w *world) { w.script["1 "+cluster+".Set 1"] = refuse },
		"nobody is restarted": func(w *world) {
			w.script["1 Restart "+inPod+" 1"], w.script["1 Restart "+inPod2+" 1"] = refuse, refuse
		},
		"another one is served": func(w *world) {
			w.script["1 "+remote+".Set 1"] = refuse
			w.hooks["1 "+remote+".Set 1"] = w.changes(func() { w.served.keys["username"], w.served.keys["password"] = role, birth })
		},
		"nobody can read it": func(w *world) {
			w.hooks["1 "+remote+".Set 1"] = w.changes(func() { w.down = func(what string) bool { return what == "Served.Look" || what == remote+".Set" } })
		},
		"the run is to end": func(w *world) { w.script["1 "+remote+".Set 1"] = stopBefore },
	} {
		t.Run(name, func(t *testing.T) {
			alternating(t, func(t *testing.T, w *world) {
				fails(w)
				res, _ := w.run(emergency)
				expect(t, res, rotation.StatusUnfinished, 3)
				if w.nologin || res.FormerRole != role {
					t.Errorf("the former role is closed: %v; %q is said to be left", w.nologin, res.FormerRole)
				}
			})
		})
	}
}

// A lost lock is taken again: nothing has failed for good.
func TestEmergencyThatLosesItsLockClosesTheFormerRoleInItsTurn(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.script["1 "+remote+".Set 1"] = cutAfter
		w.hooks["1 "+remote+".Set 1"] = func(*process) { time.Sleep(5 * time.Second) } // the pods are restarted meanwhile
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusRotated, 0)
		if slices.ContainsFunc(res.Steps, func(s rotation.StepResult) bool { return s.Name == "revoke" && s.Err != nil }) || !w.nologin {
			t.Errorf("steps %+v; the former role is closed: %v", res.Steps, w.nologin)
		}
	})
}

// What an emergency has done for somebody else says nothing of its own rotation.
func TestEmergencyClosesAfterItsOwnRestartOnly(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.script["1 "+remote+".Set 1"] = refuse
		w.run(emergency, request("1"))
		w.hooks["2 Lock.Acquire 2"] = func(*process) { // one that dies, and is finished, too
			w.script["3 Served.Set 2"] = crashBefore
			w.run(emergency, request("3"))
		}
		w.script["2 "+cluster+".Set 2"] = refuse
		res, _ := w.run(emergency, request("2"))
		expect(t, res, rotation.StatusUnfinished, 3)
		if w.twin.nologin || res.FormerRole != twin {
			t.Errorf("the role that the pods use is closed: %v; %q is said to be left", w.twin.nologin, res.FormerRole)
		}
	})
}

// Pods that nobody restarts go on with the role that the own emergency would take.
func TestEmergencyDoesNotOvertakeOneThatHasRestartedNobody(t *testing.T) {
	for name, away := range map[string]func(string) bool{
		"a copy is refused":        func(what string) bool { return what == cluster+".Set" },
		"every restart is refused": func(what string) bool { return strings.HasPrefix(what, "Restart ") },
	} {
		t.Run(name, func(t *testing.T) {
			alternating(t, func(t *testing.T, w *world) {
				w.down = away
				w.run(emergency, request("7"))
				res, _ := w.run(emergency, request("8"))
				expect(t, res, rotation.StatusUnfinished, 3)
				if w.nologin || !w.login.opens(birth) || res.FormerRole != role || !res.Others {
					t.Errorf("the pods are shut out: %v; %q is said to be left, somebody else's: %v", w.nologin, res.FormerRole, res.Others)
				}
			})
		})
	}
}

// A Secret that was restored serves the former role again: it is not the one to close.
func TestEmergencyInPlaceOnTheFormerRole(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		older := w.served.keys
		w.served.keys = maps.Clone(older)
		w.run(rotate)
		w.served.keys = older
		w.alternate = false
		res, _ := w.run(emergency, inPlace)
		expect(t, res, rotation.StatusRotated, 0)
		w.serves(t, role, "NewPassword2")
		if w.login.nologin || !w.twin.nologin {
			t.Errorf("the served role is closed: %v, the other one: %v", w.login.nologin, w.twin.nologin)
		}
	})
}

func TestEmergencyProvesThatTheFormerRoleIsClosed(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.hooks["1 Lockout.Expel 2"] = w.changes(func() { w.accepts, w.nologin, w.burnt = w.verifier(birth), false, nil })
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusUnfinished, 3)
		says(t, res.Err, "still opens the door")
	})
}

// One that nobody has met before the end holds up a resume as little.
func TestResumedEmergencyIsNotHeldUpByAPodThatIsMetLate(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.proofs = func(string, int) secret.Proof { return secret.Proof{Addresses: []string{"10.1.0.1"}} }
		w.script["1 Restart "+inPod+" 1"] = crashAfter
		w.run(emergency)
		w.hooks["2 Health.Ready 1"] = w.changes(func() { w.clients = append(w.clients, session{role, "core", "10.1.0.1", time.Now().Add(time.Second)}) })
		res, _ := w.run(resume)
		expect(t, res, rotation.StatusRotated, 0)
		warns(t, res, `it has logged in as role "alfred_user" since the change`)
	})
}

// A pod that goes on with the compromised role is said once, and then shut out: it
// must not keep that role open.
func TestResumedEmergencyShutsOutAStalePod(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.proofs = func(workload string, pod int) secret.Proof {
			return secret.Proof{Evidence: secret.ByHealthCommand, Addresses: []string{"10.1.0.1"}}
		}
		w.hooks["1 Sessions.Opened 1"] = w.changes(func() { w.clients = append(w.clients, session{role, "core", "10.1.0.1", time.Now().Add(time.Second)}) })
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusUnfinished, 3)
		says(t, res.Err, `it has logged in as role "alfred_user" since the change`)
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusRotated, 1)
		says(t, res.Workloads[0].Err, `it has logged in as role "alfred_user" since the change`)
		if !w.login.nologin {
			t.Error("the compromised role still logs in")
		}
	})
}
