package rotation_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestEmergencyShutsTheCompromisedPasswordOut(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.intruder = true
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword1")
		if known := w.journaled(); len(known) != 0 {
			t.Errorf("the journal keeps %q", known)
		}
		if res.Mode != rotation.Emergency || len(res.Lingering) != 1 {
			t.Errorf("mode %q, lingering %q", res.Mode, res.Lingering)
		}
		order := []string{"1 Lockout.Close 1", "1 Lockout.Expel 1", "1 Lockout.Open 1", "1 Served.Set 2"}
		for i, call := range order[1:] {
			if slices.Index(w.calls, order[i]) > slices.Index(w.calls, call) || !slices.Contains(w.calls, call) {
				t.Errorf("%q does not follow %q", call, order[i])
			}
		}
	})
}

func TestReasonTakesNoPasswordIntoTheJournal(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.process()
		r := p.rotation()
		r.Mode, r.Request.Reason = rotation.Emergency, birth+" stood in a log"
		expect(t, r.Rotate(t.Context()), rotation.StatusRotated, 0)
		if got := w.journal.Annotations["pgrotate.io/reason"]; got != "*** stood in a log" {
			t.Errorf("the journal's reason is %q", got)
		}
	})
}

func TestEmergencyServesNothingThatTheDatabaseDoesNotAccept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.hooks["1 Database.Holds 3"] = w.changes(func() { w.accepts = w.verifier("of another administrator") })
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusUnfinished, 3)
		says(t, res.Err, "somebody else changes it")
		if w.served.keys["password"] != birth {
			t.Error("the served Secret was written")
		}
		res, _ = w.run(resume)
		w.broken = nil // nobody stores the password of another administrator
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword1")
	})
}

func TestEmergencyWipesTheKeptPassword(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.script["2 Served.Set 2"] = crashBefore
		w.run(emergency)
		if known := w.journaled(); len(known) != 1 || known[0] != "NewPassword2" {
			t.Errorf("the journal of the open emergency holds %q", known)
		}
	})
}

func TestEmergencyThatIsNotProvenStaysOpenAndIsResumedWhateverThePodsDo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sick = func(name, _ string) bool { return name == inPod }
		w.script["1 "+remote+".Set 1"] = failBefore
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusUnfinished, 3)
		if w.opens(birth) || w.phase() != "forward" {
			t.Errorf("the compromised password opens the door: %v; the journal is %s", w.opens(birth), w.phase())
		}
		says(t, res.Err, inPod, remote)
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusRotated, 1)
		w.settled(t, "NewPassword1")
		if sick := res.Unhealthy(); len(sick) != 1 || sick[0].Name != inPod {
			t.Errorf("unhealthy: %v", sick)
		}
	})
}

func TestEmergencyDoesNotWaitForGitHubOrWorkloads(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Plan "+remote+" 1"] = refuse
		w.script["1 Plan "+inPod+" 1"] = refuse
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusRotated, 0)
		if len(res.Warnings) != 2 || !strings.Contains(res.Warnings[0], "left unfinished") {
			t.Errorf("warnings %q", res.Warnings)
		}
	})
}

func TestEmergencyRestartsTheWorkloadsThatWereFound(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(emergency, func(r *rotation.Rotation) { r.Undiscovered = &failed{"refused", "list cronjobs: forbidden"} })
		expect(t, res, rotation.StatusUnfinished, 3)
		says(t, res.Err, "list cronjobs")
		if w.opens(birth) || len(res.Warnings) == 0 || !strings.Contains(res.Warnings[0], "left unfinished: list cronjobs") {
			t.Errorf("the compromised password opens the door: %v; warnings %q", w.opens(birth), res.Warnings)
		}
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword1")
	})
}

// TestResumedEmergencyClosesThePasswordFirst: whoever resumes it may see as little
// of the workloads as the run that was killed.
func TestResumedEmergencyClosesThePasswordFirst(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		blind := func(r *rotation.Rotation) { r.Undiscovered = &failed{"refused", "list cronjobs: forbidden"} }
		w.script["1 Lockout.Close 1"] = crashBefore
		w.run(emergency, blind)
		if !w.opens(birth) {
			t.Fatal("the compromised password was closed before the crash")
		}
		res, _ := w.run(resume, blind)
		expect(t, res, rotation.StatusUnfinished, 3)
		says(t, res.Err, "list cronjobs")
		if w.opens(birth) {
			t.Error("the compromised password opens the door")
		}
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword1")
	})
}

func TestEmergencyGoesAheadOverADrift(t *testing.T) {
	for name, drift := range map[string]func(*world){
		"the password was changed": func(w *world) { w.accepts = w.verifier("evil") },
		"the role was closed":      func(w *world) { w.nologin = true },
		"the Secret lost it":       func(w *world) { delete(w.served.keys, "password") },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				drift(w)
				res, _ := w.run(emergency)
				w.broken = nil
				expect(t, res, rotation.StatusRotated, 0)
				w.settled(t, "NewPassword1")
			})
		})
	}
}

// Whoever waited for the lock before gets it next, and the emergency after them.
func TestEmergencyIsNotHeldUpByAQueue(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.rollout, w.policy.LockTimeout = 5*time.Minute, 5*time.Minute
		var taken rotation.Result
		w.hooks["1 Restart "+inPod+" 1"] = func(*process) {
			for range 4 {
				go w.run(rotate)
			}
			<-time.After(time.Second)
			w.changes(func() { w.rollout, w.latency = 0, time.Second })(nil) // none of them ends soon
			taken, _ = w.run(emergency)
		}
		w.run(rotate)
		expect(t, taken, rotation.StatusRotated, 0)
		<-time.After(time.Hour)
		w.settled(t, w.served.keys["password"])
		if w.opens(birth) || w.opens("NewPassword1") {
			t.Error("what the emergency has replaced opens the door")
		}
	})
}

// One from which another one has taken over while its claim was under way does nothing
// more, also where it does not know that the claim has arrived.
func TestEmergencyThatWasOvertakenAtItsClaimEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.hooks["1 Journal.Save 1"] = func(p *process) {
			p.cut()
			w.run(emergency, request("8"))
		}
		res, _ := w.run(emergency, request("7"))
		if res.Status == rotation.StatusRotated || rotation.ClassOf(res.Err) != rotation.Conflict {
			t.Errorf("it ended %q: %v", res.Status, res.Err)
		}
		w.settled(t, w.served.keys["password"])
		if w.journal.Annotations["pgrotate.io/request"] != "8" {
			t.Errorf("%q", w.journal.Annotations)
		}
	})
}

func TestEmergencyTakesOverFromALiveRun(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.rollout = 5 * time.Minute
		var taken rotation.Result
		w.hooks["1 Restart "+inPod+" 1"] = func(*process) {
			w.changes(func() { w.rollout = 0 })(nil)
			began := time.Now()
			taken, _ = w.run(emergency)
			if waited := time.Since(began); waited != 10*time.Second {
				t.Errorf("it took over after %v", waited)
			}
		}
		res, _ := w.run(rotate)
		if taken.Status != rotation.StatusRotated || res.ExitCode() != 3 || rotation.ClassOf(res.Err) != rotation.Conflict {
			t.Errorf("the emergency ended %q, the run before it %q: %v", taken.Status, res.Status, res.Err)
		}
		w.run(resume)
		w.settled(t, "NewPassword2")
	})
}

// A run that only resumes has asked no target for its plan, and names them all.
func TestUnfinishedEmergencyNamesWhatItIsAbout(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Lockout.Close 1"], w.script["2 Lockout.Close 1"] = crashBefore, refuse
		w.run(emergency)
		res, _ := w.run(resume)
		want := []rotation.Line{{Step: "cluster copies", Target: cluster}, {Step: "restart", Target: inPod}, {Step: "restart", Target: inPod2}, {Step: "GitHub", Target: remote}}
		if diff := cmp.Diff(want, res.Targets); res.ExitCode() != 3 || diff != "" {
			t.Errorf("it ended %q and names (-want +got):\n%s", res.Status, diff)
		}
	})
}

// An emergency that finds no password in the Secret has none to put back either.
func TestEmergencyPutsNothingIntoTheGap(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		delete(w.served.keys, "username")
		delete(w.served.keys, "password")
		w.hooks["1 Lockout.Close 1"] = w.changes(func() { w.down = func(what string) bool { return what == "Served.Set" } })
		res, _ := w.run(emergency, func(r *rotation.Rotation) { r.Role = role })
		w.broken = nil // the served password was gone before
		expect(t, res, rotation.StatusUnfinished, 3)
		if slices.ContainsFunc(w.calls, func(c string) bool { return strings.Contains(c, "Database.Set") }) {
			t.Errorf("calls %q", w.calls)
		}
	})
}

func TestWorkloadThatIsLeftAloneIsNoneOfThoseRestarted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alone = inPod2
		w.script["1 Served.Set 2"] = crashBefore
		w.run(emergency)
		w.script["2 "+remote+".Set 1"] = refuse
		res, _ := w.run(resume)
		if i := slices.IndexFunc(res.Steps, func(s rotation.StepResult) bool { return s.Name == "restart" }); i < 0 || res.Steps[i].Detail != "1 workload restarted" {
			t.Errorf("steps %+v", res.Steps)
		}
		if slices.ContainsFunc(res.Targets, func(l rotation.Line) bool { return l.Target == inPod2 }) || len(res.Targets) != 3 {
			t.Errorf("targets %+v", res.Targets)
		}
	})
}

// A run that was stopped before its restart goes on after the emergency.
func TestStoppedRunRestartsNobody(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.hooks["1 Restart "+inPod+" 1"] = func(*process) { w.run(emergency) }
		res, _ := w.run(rotate)
		if res.ExitCode() != 3 {
			t.Errorf("the run ended %q: %v", res.Status, res.Err)
		}
		if mark, last := w.markOf(inPod), w.journal.Annotations["pgrotate.io/rotation-id"]; mark != last {
			t.Errorf("the workload has the mark %q, the last rotation is %q", mark, last)
		}
	})
}

// A run that was stopped with a write under way goes on after the emergency.
func TestLateWriteOfAStoppedRunIsHealed(t *testing.T) {
	for _, name := range []string{remote, cluster} {
		inWorld(t, func(t *testing.T, w *world) {
			w.hooks["1 "+name+".Set 1"] = func(*process) { w.run(emergency) }
			w.run(rotate)
			if w.copies[name].password != "NewPassword1" || name == cluster && w.copies[remote].password != "NewPassword2" {
				t.Fatal("the late write did not arrive, or another one was sent after it")
			}
			res, _ := w.run(resume)
			expect(t, res, rotation.StatusUnchanged, 0)
			if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], name) {
				t.Errorf("warnings %q", res.Warnings)
			}
			w.settled(t, "NewPassword2")
			writes := w.writes
			res, _ = w.run(resume)
			expect(t, res, rotation.StatusUnchanged, 0)
			if w.writes != writes {
				t.Errorf("%d writes of a run with nothing to do", w.writes-writes)
			}
		})
	}
}

func TestWriteOfAnotherDuringTheRestartIsWrittenOver(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.hooks["1 Served.Look 4"] = w.changes(func() { w.copies[remote] = copied{role, "by hand", w.tick()} })
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "overwritten") {
			t.Errorf("warnings %q", res.Warnings)
		}
		w.settled(t, "NewPassword1")
	})
}

// forgetful answers with what it knew before: GitHub reads from replicas.
type forgetful struct{ rotation.Copy }

func (c forgetful) Updated(ctx context.Context) (time.Time, error) {
	at, err := c.Copy.Updated(ctx)
	return at.Add(-time.Hour), err
}

func TestStoreThatAnswersWithWhatItKnewBeforeIsNotOverwritten(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(rotate, func(r *rotation.Rotation) { r.RemoteCopies = []rotation.Copy{forgetful{r.RemoteCopies[0]}} })
		expect(t, res, rotation.StatusRotated, 0)
		if len(res.Warnings) > 0 || slices.Contains(w.calls, "1 "+remote+".Set 2") {
			t.Errorf("warnings %q, calls %q", res.Warnings, w.calls)
		}
	})
}

// The write of a stopped run arrives between this run's own and its proof.
func TestLateWriteIsNotTakenForOnesOwn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.hooks["1 "+remote+".Verify 1"] = w.changes(func() { w.copies[remote] = copied{role, "late", w.tick()} })
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword1")
	})
}

func TestCopiesAreLeftAloneWhereTheServedPasswordDoesNotLogIn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.copies[remote] = copied{role, "by hand", w.tick()}
		w.served.keys["password"] = "by hand, too"
		writes := w.writes
		res, _ := w.run(resume)
		w.broken = nil
		expect(t, res, rotation.StatusUnchanged, 0)
		if w.writes != writes || len(res.Warnings) != 1 {
			t.Errorf("%d writes, warnings %q", w.writes-writes, res.Warnings)
		}
	})
}

func TestEmergencyReplacesAnOpenRotation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.crashAt(t, "1 Database.Set 1")
		w.script["2 Lockout.Close 1"] = crashBefore
		w.run(emergency)
		if known := w.journaled(); !slices.Equal(known, []string{"NewPassword2", "NewPassword1", birth}) {
			t.Errorf("while the database has one of the superseded passwords the journal holds %q", known)
		}
		res, _ := w.run(resume)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword2")
	})
}

func TestEmergencyFinishesAnotherAndMakesItsOwn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Lockout.Close 1"] = crashAfter
		w.run(emergency, request("7"))
		w.script["2 Journal.Save 2"] = crashAfter // it has ended the first, its own is not begun
		w.run(emergency, request("8"))
		res, _ := w.run(emergency, request("8"))
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword2")
		res, _ = w.run(emergency, request("8"))
		expect(t, res, rotation.StatusUnchanged, 0)
	})
}

// What holds up somebody else's emergency must not keep its password alive, which
// is compromised by now.
func TestEmergencyDoesNotWaitForAnotherThatCannotBeFinished(t *testing.T) {
	for name, in := range map[string]func(*testing.T, func(*testing.T, *world)){rotation.InPlace: inWorld, rotation.Alternate: alternating} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, w *world) {
				w.down = func(what string) bool { return what == remote+".Set" }
				res, _ := w.run(emergency, request("7"))
				expect(t, res, rotation.StatusUnfinished, 3)
				res, _ = w.run(emergency, request("8"))
				expect(t, res, rotation.StatusUnfinished, 3)
				warned(t, res, "cannot be finished, and this one replaces its password")
				for _, old := range []string{birth, "NewPassword1"} {
					if w.login.opens(old) && !w.nologin || w.twin != nil && w.twin.opens(old) && !w.twin.nologin {
						t.Errorf("%q opens a door", old)
					}
				}
				if res.Others || res.FailedStep != "GitHub" || !w.opens("NewPassword2") {
					t.Errorf("somebody else's: %t, failed step %q, the own password opens: %t", res.Others, res.FailedStep, w.opens("NewPassword2"))
				}
				w.down = func(string) bool { return false }
				res, _ = w.run(resume)
				expect(t, res, rotation.StatusRotated, 0)
				w.settled(t, "NewPassword2")
				res, _ = w.run(emergency, request("8"))
				expect(t, res, rotation.StatusUnchanged, 0)
			})
		})
	}
}

// What was reached for somebody else's is still to be done for its own.
func TestEmergencyTellsWhatIsLeftOfItsOwn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.down = func(what string) bool { return what == remote+".Set" }
		w.run(emergency, request("7"))
		w.script["2 "+cluster+".Set 2"] = refuse
		res, _ := w.run(emergency, request("8"))
		expect(t, res, rotation.StatusUnfinished, 3)
		if len(res.Workloads) > 0 || len(res.Copies) != 1 || res.Copies[0].Err == nil {
			t.Errorf("workloads %+v and copies %+v, want nothing but the copy that was refused", res.Workloads, res.Copies)
		}
	})
}

// Who goes on at the same request finishes its own, and makes no other.
func TestEmergencyThatGitHubRefusesIsNotMadeTwice(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.down = func(what string) bool { return what == remote+".Set" }
		w.run(emergency, request("7"))
		res, _ := w.run(emergency, request("7"))
		expect(t, res, rotation.StatusUnfinished, 3)
		if w.passwords != 1 || !w.opens("NewPassword1") {
			t.Errorf("%d passwords were made", w.passwords)
		}
	})
}

// Nothing is known of the own one yet.
func TestEmergencyThatFinishesAnotherSaysWhoseIsOpen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Lockout.Close 1"] = crashAfter
		w.run(emergency, request("7"))
		w.script["2 Lockout.Expel 1"] = refuse
		res, _ := w.run(emergency, request("8"))
		expect(t, res, rotation.StatusUnfinished, 3)
		if !res.Others {
			t.Error("the open emergency is somebody else's, and is said to be this run's own")
		}
	})
}

func TestEmergencyIsNotDoneByTheRotationOfItsOwnWorkflowRun(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate, request("7"))
		res, _ := w.run(emergency, request("7"))
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword2")
	})
}

func TestResumedEmergencyExpelsAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Lockout.Close 1"] = crashAfter
		w.run(emergency)
		w.intruder = true
		res, _ := w.run(resume)
		expect(t, res, rotation.StatusRotated, 0)
		if w.intruder {
			t.Error("a session that was open meanwhile was left")
		}
		w.settled(t, "NewPassword1")
	})
}

// A journal that comes back from a backup must not bring back what it holds.
func TestRestoredJournalIsRefused(t *testing.T) {
	for _, later := range []func(*rotation.Rotation, context.Context) rotation.Result{rotate, emergency} {
		for _, first := range []func(*rotation.Rotation, context.Context) rotation.Result{rotate, emergency} {
			inWorld(t, func(t *testing.T, w *world) {
				w.script["1 Served.Set 2"] = crashBefore
				w.run(first)
				copied := clone(w.journal)
				w.run(resume)
				w.run(later)
				copied.Version = w.version()
				w.journal, w.highest[0] = copied, 0
				writes := w.writes
				for _, next := range []func(*rotation.Rotation, context.Context) rotation.Result{resume, rotate, undo, emergency} {
					res, _ := w.run(next)
					expect(t, res, rotation.StatusRefused, 2)
				}
				if w.writes != writes || w.opens(birth) || w.opens("NewPassword1") {
					t.Errorf("%d writes", w.writes-writes)
				}
			})
		}
	}
}

func TestEmergencyToldToStopAtEveryInstant(t *testing.T) {
	var calls []string
	inWorld(t, func(t *testing.T, w *world) {
		w.run(emergency)
		calls = slices.Clone(w.calls)
	})
	for _, call := range calls {
		for _, f := range []fault{stopBefore, stopAfter} {
			inWorld(t, func(t *testing.T, w *world) {
				w.rollout = time.Minute
				w.script[call] = f
				res, _ := w.run(emergency)
				want := map[string]int{"idle": 2, "forward": 3}[w.phase()]
				if call == "1 Journal.Save 2" {
					want = 3 // it cannot know whether the write has arrived
				}
				if res.ExitCode() != want && res.Status != rotation.StatusRotated {
					t.Errorf("%v at %q: status %q with exit code %d, the journal is %s", f, call, res.Status, res.ExitCode(), w.phase())
				}
				if took := time.Since(w.stopped); took > 5*time.Second {
					t.Errorf("%v at %q: it took %v", f, call, took)
				}
				w.run(resume)
				w.settled(t, w.served.keys["password"])
			})
		}
	}
}

func TestRollbackUndoesTheLastRotation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		first := w.accepts
		res, _ := w.run(rotate, request("7"))
		undone := res.RotationID
		res, _ = w.run(undo, request("7"))
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, birth)
		if w.accepts != first || res.Undone != undone {
			t.Errorf("the verifier is the former one: %v; undone: %q", w.accepts == first, res.Undone)
		}
		writes := w.writes
		res, _ = w.run(undo, request("7"))
		expect(t, res, rotation.StatusUnchanged, 0)
		if w.writes != writes {
			t.Error("the same request rolled back twice")
		}
		res, _ = w.run(undo, request("8"))
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword1")
	})
}

func TestRollbackTurnsAnOpenRotationBack(t *testing.T) {
	for _, stop := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			w.crashAt(t, "1 Served.Set 2")
			w.policy.GoBack = !stop
			res, _ := w.run(undo)
			expect(t, res, rotation.StatusRolledBack, 0)
			w.settled(t, birth)
			if !res.Requested || res.Err != nil || res.FailedStep != "" {
				t.Errorf("requested %v, error %v in step %q", res.Requested, res.Err, res.FailedStep)
			}
		})
	}
}

// Who asks for a rollback twice does not want the password back that was to go.
func TestRollbackFinishesARollback(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.script["2 Served.Set 2"] = crashAfter
		w.run(undo, request("7"))
		res, _ := w.run(undo, request("7"))
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, birth)
	})
}

func TestRollbackThatFindsARollbackGoingBackEndsThat(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
		w.script["2 Journal.Save 3"] = crashAfter
		w.run(undo)
		res, _ := w.run(undo)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, "NewPassword1")
	})
}

func TestRollbackIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*world)
		words  []string
	}{
		"nothing was rotated": {func(*world) {}, []string{"there is none that the journal knows of"}},
		"after an emergency":  {func(w *world) { w.run(emergency) }, []string{"was an emergency", "compromised"}},
		"during an emergency": {func(w *world) { w.script["1 Served.Set 2"] = crashAfter; w.run(emergency) }, []string{"it is an emergency", "resume"}},
		"kept no more":        {func(w *world) { w.run(rotate); <-time.After(25 * time.Hour) }, []string{"kept until", "keep-previous"}},
		"never kept":          {func(w *world) { w.policy.KeepPrevious = 0; w.run(rotate) }, []string{"was not kept"}},
		"turned back already": {func(w *world) {
			w.run(rotate)
			w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
			w.run(rotate)
		}, []string{"was turned back"}},
		"changed by hand since": {func(w *world) { w.run(rotate); w.served.stamp.RotationID = "another" }, []string{"somebody else changed it since"}},
		"the journal is gone":   {func(w *world) { w.run(rotate); w.journal = secret.Document{}; w.highest[0] = 0 }, []string{"there is none"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				c.before(w)
				writes := w.writes
				res, _ := w.run(undo)
				expect(t, res, rotation.StatusRefused, 2)
				says(t, res.Err, c.words...)
				if w.writes != writes {
					t.Errorf("%d writes", w.writes-writes)
				}
			})
		})
	}
}

func TestRollbackDoesNotUndoWhatWasMadeWhileItWaited(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.hooks["2 Lock.Acquire 1"] = func(*process) { w.run(rotate) }
		res, _ := w.run(undo)
		expect(t, res, rotation.StatusRefused, 2)
		says(t, res.Err, "was made while this run waited")
		w.settled(t, "NewPassword2")
	})
}

func TestRollbackUndoesTheRotationThatItWaitedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.rollout = 30 * time.Second
		var late rotation.Result
		ended := make(chan struct{})
		w.hooks["1 Served.Set 2"] = func(*process) {
			go func() {
				late, _ = w.run(undo)
				close(ended)
			}()
		}
		res, _ := w.run(rotate)
		<-ended
		expect(t, res, rotation.StatusRotated, 0)
		expect(t, late, rotation.StatusRotated, 0)
		w.settled(t, birth)
	})
}

func TestResumeOfOneRotationLeavesOthersAlone(t *testing.T) {
	only := func(id string) func(*rotation.Rotation) {
		return func(r *rotation.Rotation) { r.Request.Only = id }
	}
	inWorld(t, func(t *testing.T, w *world) {
		var announced []string
		w.script["1 Served.Set 2"] = crashAfter
		w.run(rotate, func(r *rotation.Rotation) {
			r.Announce = func(id string) {
				announced = append(announced, id)
				if w.phase() != "idle" {
					t.Error("announced after the first write")
				}
			}
		})
		if len(announced) != 1 {
			t.Fatalf("announced %q", announced)
		}
		writes := w.writes
		res, _ := w.run(resume, only("another"))
		expect(t, res, rotation.StatusUnchanged, 0)
		if w.writes != writes {
			t.Errorf("%d writes", w.writes-writes)
		}
		res, _ = w.run(resume, only(announced[0]))
		expect(t, res, rotation.StatusRotated, 0)
		res, _ = w.run(resume, only(announced[0]))
		expect(t, res, rotation.StatusUnchanged, 0)
	})
}
