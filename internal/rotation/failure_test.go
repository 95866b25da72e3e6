package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// TestFailureTable holds what each failure does, row by row.
func TestFailureTable(t *testing.T) {
	alter, serve := "1 Database.Set 1", "1 Served.Set 2"
	copyIt, github := "1 "+cluster+".Set 1", "1 "+remote+".Set 1"
	restart, arrived := "1 Restart "+inPod+" 1", "1 "+remote+".Verify 1"
	login, another := "1 Database.Holds 3", "1 Database.Holds 4" // with what is served and with the former password, in no order
	for _, row := range []struct {
		call  string
		fault fault
		stop  bool // on-failure: stop
		want  rotation.Status
		exit  int
		phase string
		opens string
	}{
		{alter, refuse, false, rotation.StatusRolledBack, 1, "idle", birth},
		{serve, refuse, false, rotation.StatusRolledBack, 1, "idle", birth},
		{copyIt, refuse, false, rotation.StatusRolledBack, 1, "idle", birth},
		{github, refuse, false, rotation.StatusRolledBack, 1, "idle", birth},
		{restart, refuse, false, rotation.StatusRolledBack, 1, "idle", birth},
		{login, refuse, false, rotation.StatusRolledBack, 1, "idle", birth},
		{another, refuse, false, rotation.StatusRolledBack, 1, "idle", birth},
		{arrived, refuse, false, rotation.StatusRolledBack, 1, "idle", birth},
		{alter, refuse, true, rotation.StatusUnfinished, 3, "forward", birth},
		{serve, refuse, true, rotation.StatusUnfinished, 3, "forward", "NewPassword1"},
		{restart, refuse, true, rotation.StatusUnfinished, 3, "forward", "NewPassword1"},
		{github, refuse, true, rotation.StatusUnfinished, 3, "forward", "NewPassword1"},
		{alter, failBefore, false, rotation.StatusUnfinished, 3, "forward", birth},
		{alter, failAfter, false, rotation.StatusUnfinished, 3, "forward", "NewPassword1"},
		{serve, failBefore, false, rotation.StatusRotated, 0, "idle", "NewPassword1"},
		{serve, failAfter, false, rotation.StatusRotated, 0, "idle", "NewPassword1"},
		{copyIt, failBefore, false, rotation.StatusUnfinished, 3, "forward", "NewPassword1"},
		{restart, failAfter, false, rotation.StatusUnfinished, 3, "forward", "NewPassword1"},
		{github, failBefore, false, rotation.StatusUnfinished, 3, "forward", "NewPassword1"},
		{login, failBefore, false, rotation.StatusRotated, 0, "idle", "NewPassword1"},
		{arrived, failBefore, false, rotation.StatusUnfinished, 3, "forward", "NewPassword1"},
		{alter, cutBefore, false, rotation.StatusRotated, 0, "idle", "NewPassword1"},
		{alter, cutAfter, false, rotation.StatusRotated, 0, "idle", "NewPassword1"},
		{"1 Journal.Save 1", refuse, false, rotation.StatusRefused, 2, "idle", birth},
		{"1 Journal.Save 2", refuse, false, rotation.StatusFailed, 2, "idle", birth},
		{"1 Journal.Save 2", failAfter, false, rotation.StatusRotated, 0, "idle", "NewPassword1"},
		{"1 Journal.Save 3", failAfter, false, rotation.StatusRotated, 0, "idle", "NewPassword1"},
		{"1 Lock.Check 1", cutBefore, false, rotation.StatusRotated, 0, "idle", "NewPassword1"},
	} {
		t.Run(fmt.Sprintf("%s, %v, stop %v", row.call, row.fault, row.stop), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.policy.GoBack = !row.stop
				w.script[row.call] = row.fault
				res, _ := w.run(rotate)
				expect(t, res, row.want, row.exit)
				if len(w.script) != 0 {
					t.Errorf("the call %q was never made: %q", row.call, w.calls)
				}
				if w.phase() != row.phase || !w.opens(row.opens) {
					t.Errorf("the journal is %s, want %s; %q opens the door: %v", w.phase(), row.phase, row.opens, w.opens(row.opens))
				}
				w.policy.GoBack = true
				w.run(resume)
				w.settled(t, w.served.keys["password"])
			})
		})
	}
}

func (w *world) kubernetesGone() {
	w.down = func(what string) bool {
		return strings.HasPrefix(what, "Served.") || strings.HasPrefix(what, "Journal.")
	}
}

func TestClusterGoneRightAfterAlterPutsTheFormerPasswordBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.hooks["1 Served.Set 2"] = w.changes(w.kubernetesGone)
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnfinished, 3)
		if !w.opens(birth) || w.phase() != "forward" || res.RefusedWindow == 0 {
			t.Errorf("the former password opens the door: %v; the journal is %s; window %v", w.opens(birth), w.phase(), res.RefusedWindow)
		}
		w.down = func(string) bool { return false }
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword1")
	})
}

// A run that dies between its claim and its fence leaves the Secret behind the
// journal, as a backup would: that decides who is restarted, and nothing else.
func TestClusterGoneRightAfterAlterOfALaterRunPutsTheFormerPasswordBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Journal.Save 2"], w.script["2 Journal.Save 1"] = crashAfter, crashAfter
		w.run(rotate)
		w.run(resume)
		w.hooks["3 Served.Set 2"] = w.changes(w.kubernetesGone)
		res, _ := w.run(resume)
		expect(t, res, rotation.StatusUnfinished, 3)
		if !w.opens(birth) {
			t.Error("the pods can read no password that opens the door")
		}
		w.down = func(string) bool { return false }
		res, _ = w.run(undo)
		expect(t, res, rotation.StatusRolledBack, 0)
		w.settled(t, birth)
	})
}

func TestClusterGoneAndNoWayBackLeavesTheDatabaseAlone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.policy.GoBack = false
		w.hooks["1 Served.Set 2"] = w.changes(w.kubernetesGone)
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnfinished, 3)
		if w.opens(birth) {
			t.Error("the password was put back although on-failure is stop")
		}
	})
}

func TestSecretThatNobodyMayWriteAnyMorePutsTheFormerPasswordBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Served.Set 2"], w.script["1 Served.Set 3"] = refuse, refuse
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnfinished, 3)
		if !w.opens(birth) {
			t.Error("the pods can read no password that opens the door")
		}
	})
}

func TestClusterGoneAfterThePodsReadTheNewPasswordKeepsIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
		w.hooks["1 Served.Set 3"] = w.changes(w.kubernetesGone) // the fence of the way back
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnfinished, 3)
		if w.opens(birth) {
			t.Error("the password that the pods were given was taken from them")
		}
	})
}

// A session may be lost late, too, by an oracle that asks through it.
func TestClusterGoneAfterALostSessionKeepsWhatThePodsRead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Database.Holds 4"] = cutAfter
		w.hooks["1 Served.Set 4"] = w.changes(w.kubernetesGone)
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnfinished, 3)
		if w.opens(birth) {
			t.Error("the password that the pods were given was taken from them")
		}
	})
}

func TestConflictStopsAndCompensatesNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.hooks["1 Served.Set 2"] = w.changes(func() { // another run has claimed the journal and fenced the Secret
			w.served.stamp.Epoch += 5
			w.journal = clone(w.journal)
			w.journal.Version, w.journal.Annotations["pgrotate.io/epoch"] = w.version(), fmt.Sprint(w.served.stamp.Epoch)
		})
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnfinished, 3)
		if w.opens(birth) || w.phase() != "forward" {
			t.Errorf("something was compensated: the journal is %s", w.phase())
		}
		if rotation.ClassOf(res.Err) != rotation.Conflict {
			t.Errorf("class %q", rotation.ClassOf(res.Err))
		}
		w.run(resume)
		w.settled(t, "NewPassword1")
	})
}

func TestSecretChangedByAnotherBeforeTheProof(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.hooks["1 Served.Look 4"] = w.changes(func() {
			w.served.keys["password"], w.copies[remote] = "by hand", copied{role, "by hand", w.tick()}
		})
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnfinished, 3)
		says(t, res.Err, "somebody else changed it meanwhile")
		if w.copies[remote].password != "by hand" {
			t.Error("the copy was written over though nobody knows which password holds")
		}
		w.run(resume)
		w.settled(t, "NewPassword1")
	})
}

func TestForeignPasswordIsOverwrittenForwardAndSaid(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.crashAt(t, "1 Journal.Save 2")
		w.accepts = w.verifier("by hand")
		res, _ := w.run(resume)
		w.broken = nil // the foreign password is stored nowhere, and pgrotate cannot know it
		expect(t, res, rotation.StatusRotated, 0)
		if len(res.Warnings) != 1 || !strings.Contains(res.Warnings[0], "somebody else changed it") {
			t.Errorf("warnings %q", res.Warnings)
		}
	})
}

func TestForeignPasswordStopsTheWayBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
		w.crashAt(t, "1 Journal.Save 3")
		foreign := w.verifier("by hand")
		w.accepts = foreign
		res, _ := w.run(resume)
		w.broken = nil
		expect(t, res, rotation.StatusUnfinished, 3)
		says(t, res.Err, "somebody else has changed it meanwhile", "the journal stays open")
		if w.accepts != foreign || w.phase() != "back" {
			t.Errorf("the foreign password was overwritten, or the journal is %s", w.phase())
		}
	})
}

func TestRoleThatMayNotLogIn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.nologin = true
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRefused, 2)
		says(t, res.Err, "NOLOGIN", "ALTER ROLE")
	})
}

// Pods that never read the new password are not restarted on the way back,
// even when the write of it arrives late.
func TestWayBackRestartsNobodyWhereNobodyReadTheNewPassword(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Database.Set 1"] = refuse
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		if len(res.Workloads) != 0 || w.sets[inPod].mark != "" {
			t.Errorf("restarted: %v", res.Workloads)
		}
	})
}

func TestLateWriteCannotSlipIntoTheWayBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		stale := w.served.version
		w.hooks["1 Served.Set 2"] = w.changes(func() { stale = w.served.version })
		w.script["1 Served.Set 2"] = refuse
		w.hooks["1 Database.Set 2"] = w.changes(func() { // a proxy delivers the refused write once more, and a pod restarts
			if w.served.version == stale {
				w.served.keys["password"] = "NewPassword1"
				w.restart(inPod, "")
				w.sets[inPod].pods[0] = pod{user: role, password: w.served.keys["password"]}
			}
		})
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, birth)
	})
}

func TestForwardTimeLeavesRoomForTheWayBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.policy.Timeout, w.policy.RolloutTimeout = 22*time.Minute, 10*time.Minute
		w.rollout = 12 * time.Minute
		w.hooks["1 Served.Set 3"] = w.changes(func() { w.rollout = 9 * time.Minute })
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		says(t, res.Err, "not proven before the time for it was over")
		w.settled(t, birth)
		if res.Elapsed != 20*time.Minute {
			t.Errorf("it took %v", res.Elapsed)
		}
	})
}

func TestTimeoutOfTheWayBackLeavesItOpen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.rollout = time.Hour
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnfinished, 3)
		if w.phase() != "back" {
			t.Errorf("the journal is %s", w.phase())
		}
		w.rollout = time.Minute
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, birth)
	})
}

// A server that is gone may look like one that thinks.
func TestSilentClusterIsGivenUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(rotate, func(r *rotation.Rotation) { r.Served = silentServed{r.Served} })
		expect(t, res, rotation.StatusUnfinished, 3)
		if !w.opens(birth) || res.Elapsed > time.Minute {
			t.Errorf("the former password opens the door: %v, after %v", w.opens(birth), res.Elapsed)
		}
	})
}

func TestFormerPasswordThatStillOpensTheDoorIsNoProof(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(rotate, func(r *rotation.Rotation) { r.Database = trustingDatabase{r.Database} })
		expect(t, res, rotation.StatusRolledBack, 1)
		says(t, res.Err, "it still opens the door")
		w.settled(t, birth)
	})
}

func TestToldToStopWhileTheClusterIsSilent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Database.Set 1"] = stopAfter
		res, _ := w.run(rotate, func(r *rotation.Rotation) { r.Served = silentServed{r.Served} })
		expect(t, res, rotation.StatusUnfinished, 3)
		if !w.opens(birth) || res.Elapsed > 5*time.Second {
			t.Errorf("the former password opens the door: %v, after %v", w.opens(birth), res.Elapsed)
		}
	})
}

func TestSilentDatabaseIsGivenUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(rotate, func(r *rotation.Rotation) { r.Database = silentDatabase{r.Database} })
		expect(t, res, rotation.StatusUnfinished, 3)
		if res.Elapsed > time.Minute {
			t.Errorf("it took %v", res.Elapsed)
		}
	})
}

func TestRefusedCopyOnTheWayBackStillRestartsThePods(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.rollout = time.Second
		w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
		w.script["1 "+remote+".Set 2"] = refuse
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnfinished, 3)
		for _, p := range w.sets[inPod].pods {
			if !w.opens(p.password) {
				t.Error("a pod was left with a password that the database refuses")
			}
		}
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, birth)
	})
}

func TestGitHubThatDoesNotAnswerLeavesTheRestartAlone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.rollout = time.Second
		w.script["1 "+remote+".Set 1"] = failBefore
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnfinished, 3)
		for _, p := range w.sets[inPod].pods {
			if !w.opens(p.password) {
				t.Error("a pod was left with a password that the database refuses")
			}
		}
	})
}

func TestGitHubThatRefusesEndsTheWaitForTheRestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.rollout = 5 * time.Minute
		w.script["1 "+remote+".Set 1"] = refuse
		w.hooks["1 Served.Set 3"] = w.changes(func() { w.rollout = 0 })
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		if res.Elapsed > time.Minute {
			t.Errorf("the way back began after %v", res.Elapsed)
		}
	})
}

func TestClassOfSeveral(t *testing.T) {
	plain, unhealthy, lost := errors.New("timeout"), &failed{"unhealthy", "pods"}, &failed{"lost", "session"}
	for _, c := range []struct {
		err  error
		want rotation.Class
	}{
		{plain, rotation.Unavailable},
		{errors.Join(plain, unhealthy), rotation.Unhealthy},
		{fmt.Errorf("step: %w", errors.Join(unhealthy, lost)), rotation.Lost},
		{errors.Join(nil, context.Canceled), rotation.Unavailable},
		{fmt.Errorf("hidden: %v", unhealthy), rotation.Unavailable},
		{&failed{"", "none"}, rotation.Unavailable},
	} {
		if got := rotation.ClassOf(c.err); got != c.want {
			t.Errorf("%v has class %q, want %q", c.err, got, c.want)
		}
	}
}

// GitHub refuses while the restart beside it asks for the lock.
func TestRefusalBesideAQuestionToTheLockTurnsBack(t *testing.T) {
	for range 20 { // whoever of them asks first gets the first answer
		inWorld(t, func(t *testing.T, w *world) {
			for i := range 3 {
				w.hooks[fmt.Sprintf("1 Lock.Check %d", 3+i)] = func(*process) { <-time.After(time.Duration(1+i) * time.Second) }
			}
			w.script["1 "+remote+".Set 1"] = refuse
			res, _ := w.run(rotate)
			expect(t, res, rotation.StatusRolledBack, 1)
			w.settled(t, birth)
		})
	}
}

func TestCopyThatCannotBeMendedIsTriedAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.copies[remote] = copied{role, "late", w.tick()}
		w.script["2 "+remote+".Set 1"] = refuse
		res, _ := w.run(resume)
		expect(t, res, rotation.StatusFailed, 3)
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusUnchanged, 0)
		w.settled(t, "NewPassword1")
	})
}

func (w *world) made(call string) bool { return slices.Contains(w.calls, call) }

// detailed returns what a step that has ended well came to.
func detailed(res rotation.Result, step string) string {
	for _, s := range res.Steps {
		if s.Name == step && s.Err == nil {
			return s.Detail
		}
	}
	return ""
}

// A store that refuses for good would refuse on the way back, too.
func TestWayBackLeavesAloneWhatHasRefusedToBeWritten(t *testing.T) {
	for _, row := range []struct {
		refuses, github, copies string
	}{
		{remote, "0 copies written, 1 left as it was", "1 copy written"},
		{cluster, "0 copies written, 1 left as it was", "0 copies written, 1 left as it was"}, // GitHub was not tried
	} {
		t.Run(row.refuses, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.script["1 "+row.refuses+".Set 1"], w.script["1 "+row.refuses+".Set 2"] = refuse, refuse
				res, _ := w.run(rotate)
				expect(t, res, rotation.StatusRolledBack, 1)
				if got := detailed(res, "back: GitHub"); got != row.github {
					t.Errorf("GitHub: %q", got)
				}
				if got := detailed(res, "back: cluster copies"); got != row.copies {
					t.Errorf("cluster copies: %q", got)
				}
				i := slices.IndexFunc(res.Copies, func(c rotation.Target) bool { return c.Name == row.refuses })
				if i < 0 || rotation.ClassOf(res.Copies[i].Err) != rotation.Refused || len(res.Warnings) > 0 {
					t.Errorf("copies %v, warnings %q", res.Copies, res.Warnings)
				}
				w.settled(t, birth)
			})
		})
	}
}

// Only what has surely taken nothing is left alone.
func TestWayBackWritesWhatMayHaveTakenThePendingCredential(t *testing.T) {
	for _, f := range []fault{0, failBefore, failAfter, delay} {
		t.Run(f.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.rollout = time.Second
				w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
				if f != 0 {
					w.script["1 "+remote+".Set 1"] = f
				}
				res, _ := w.run(rotate)
				expect(t, res, rotation.StatusRolledBack, 1)
				if !w.made("1 " + remote + ".Set 2") {
					t.Errorf("it was left alone: %q", w.calls)
				}
			})
		})
	}
}

// A run that did not begin the rotation knows nothing of what was written, nor
// does one that has lost the lock.
func TestWayBackOfAnotherWritesEveryCopy(t *testing.T) {
	for _, row := range []struct{ name, call, writes string }{
		{"another process", "1 Journal.Save 3", "2 " + remote + ".Set 1"},
		{"another session", "1 Served.Set 4", "1 " + remote + ".Set 2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.script["1 "+remote+".Set 1"], w.script[row.call] = refuse, crashAfter
				if row.name == "another session" {
					w.script[row.call] = cutAfter
				}
				w.run(rotate)
				w.run(resume)
				if !w.made(row.writes) {
					t.Errorf("it was left alone: %q", w.calls)
				}
				w.settled(t, birth)
			})
		})
	}
}

// overtaken is a copy at whose first write another run takes over, before this one
// has asked for the lock.
type overtaken struct {
	rotation.Copy
	other func()
}

func (c *overtaken) Set(ctx context.Context, next secret.Credential, held func(context.Context) error) error {
	if c.other != nil {
		c.other()
		c.other = nil
	}
	return c.Copy.Set(ctx, next, held)
}

// TestCopyIsLeftToWhoTookOver: a run that was stopped while it read a copy, or waited
// for GitHub's limits, writes nothing into it afterwards.
func TestCopyIsLeftToWhoTookOver(t *testing.T) {
	for _, copies := range []func(*rotation.Rotation) []rotation.Copy{
		func(r *rotation.Rotation) []rotation.Copy { return r.ClusterCopies },
		func(r *rotation.Rotation) []rotation.Copy { return r.RemoteCopies },
	} {
		inWorld(t, func(t *testing.T, w *world) {
			res, _ := w.run(rotate, func(r *rotation.Rotation) {
				all := copies(r)
				all[0] = &overtaken{all[0], func() { w.run(emergency) }}
			})
			expect(t, res, rotation.StatusBusy, 3)
			w.settled(t, "NewPassword2")
		})
	}
}

// What is known of a copy that was left alone stays known.
func TestCopyLeftAloneKeepsItsTime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.script["2 "+remote+".Set 1"] = refuse
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, "NewPassword1")
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusUnchanged, 0)
		if len(res.Copies) > 0 {
			t.Errorf("written: %v", res.Copies)
		}
		w.copies[remote] = copied{role, "late", w.tick()}
		w.run(resume)
		w.settled(t, "NewPassword1")
	})
}
