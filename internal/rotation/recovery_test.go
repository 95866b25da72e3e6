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
	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestKilledAfterAlterIsFinishedByTheNextRun(t *testing.T) {
	for _, next := range []func(*rotation.Rotation, context.Context) rotation.Result{resume, rotate} {
		inWorld(t, func(t *testing.T, w *world) {
			w.crashAt(t, "1 Database.Set 1")
			res, _ := w.run(next)
			expect(t, res, rotation.StatusRotated, 0)
			w.settled(t, "NewPassword1") // a rotate that finds one to finish does not make another
		})
	}
}

func TestRotateMakesItsOwnAfterAWayBackItFound(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sick = func(_, mark string) bool { return mark == "id2" }
		w.crashAt(t, "1 Journal.Save 3") // the way back is decided
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword2")
		if res.Err != nil || res.RotationID != w.served.stamp.RotationID {
			t.Errorf("rotation %q, error %v", res.RotationID, res.Err)
		}
	})
}

func TestRotateThatMayNotMakeItsOwnAfterAWayBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sick = func(_, mark string) bool { return mark == "id2" }
		w.crashAt(t, "1 Journal.Save 3")
		w.script["2 Plan "+remote+" 1"] = refuse
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		says(t, res.Err, remote)
		w.settled(t, birth)
	})
}

func TestLostLockOnTheWayBackDoesNotStartItAnew(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
		w.script["1 Database.Set 2"] = cutBefore
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		if res.FailedStep != "restart" || res.RotationID == "" {
			t.Errorf("failed step %q of %q", res.FailedStep, res.RotationID)
		}
		if slices.Contains(w.calls, "1 Database.Stored 2") {
			t.Error("the run that turned a rotation back began another")
		}
		w.settled(t, birth)
	})
}

func TestLostLockIsResumedThreeTimes(t *testing.T) {
	for losses, want := range []rotation.Status{1: rotation.StatusRotated, 2: rotation.StatusRotated, 3: rotation.StatusRotated, 4: rotation.StatusUnfinished} {
		if want == "" {
			continue
		}
		inWorld(t, func(t *testing.T, w *world) {
			for n := range losses {
				w.script[fmt.Sprintf("1 Database.Set %d", n+1)] = cutBefore
			}
			res, _ := w.run(rotate)
			expect(t, res, want, map[rotation.Status]int{rotation.StatusRotated: 0, rotation.StatusUnfinished: 3}[want])
		})
	}
}

// A database that is started again ends the session that holds the lock, and answers
// nobody for a while.
func TestDatabaseThatIsStartedAgainIsWaitedFor(t *testing.T) {
	for silent, want := range map[int]rotation.Status{10: rotation.StatusRotated, 20: rotation.StatusUnfinished} {
		inWorld(t, func(t *testing.T, w *world) {
			w.script["1 Database.Set 1"] = cutBefore
			for n := range silent {
				w.script[fmt.Sprintf("1 Lock.Acquire %d", n+2)] = failBefore
			}
			res, _ := w.run(rotate)
			expect(t, res, want, map[rotation.Status]int{rotation.StatusRotated: 0, rotation.StatusUnfinished: 3}[want])
		})
	}
}

// Who has not begun does not wait.
func TestDatabaseThatIsAwayAtTheStartIsNotWaitedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Lock.Acquire 1"] = failBefore
		began := time.Now()
		w.run(rotate)
		if took := time.Since(began); took >= time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestLostAnswerOfAlterStillMeasuresTheWindow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.rollout = time.Minute
		w.script["1 Database.Set 1"] = cutAfter
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		if res.RefusedWindow != time.Minute || len(res.Warnings) != 1 {
			t.Errorf("window %v, warnings %q", res.RefusedWindow, res.Warnings)
		}
	})
}

// Who cannot read the journal again does not say that nothing is open.
func TestJournalThatCannotBeReadAgainIsStillOpen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Database.Set 1"] = cutAfter
		w.hooks["1 Database.Set 1"] = w.changes(func() { w.down = func(what string) bool { return what == "Journal.Load" } })
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnfinished, 3)
		w.down = func(string) bool { return false }
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusRotated, 0)
	})
}

func TestEmergencyThatCannotReadWhatAnotherHasLeftIsUnfinished(t *testing.T) {
	for name, happens := range map[string]func(*world){
		"the journal may not be read": func(w *world) { w.script["2 Journal.Load 3"] = refuse },
		"the Secret is gone":          func(w *world) { w.hooks["2 Journal.Load 3"] = w.changes(func() { w.served = nil }) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.down = func(what string) bool { return what == remote+".Set" }
				w.run(emergency, request("7"))
				happens(w)
				res, _ := w.run(emergency, request("8"))
				expect(t, res, rotation.StatusUnfinished, 3)
			})
		})
	}
}

func TestLostLockThatAnotherRunTookIsLeftToIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sick = func(name, mark string) bool { return mark == "id2" }
		w.script["1 Database.Set 1"] = overtake
		res, _ := w.run(rotate)
		if rotation.ClassOf(res.Err) != rotation.Conflict {
			t.Errorf("class %q of %v", rotation.ClassOf(res.Err), res.Err)
		}
		w.settled(t, birth)
	})
}

func TestEveryInstantToldToStop(t *testing.T) {
	var calls []string
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		calls = slices.Clone(w.calls)
	})
	for _, call := range calls {
		for _, f := range []fault{stopBefore, stopAfter} {
			t.Run(call+", "+f.String(), func(t *testing.T) { toldToStop(t, call, f) })
		}
	}
}

func toldToStop(t *testing.T, call string, f fault) {
	inWorld(t, func(t *testing.T, w *world) {
		w.rollout = time.Minute
		w.script[call] = f
		res, _ := w.run(rotate)
		if len(w.script) != 0 {
			t.Fatalf("the call was never made")
		}
		if !w.opens(w.served.keys["password"]) {
			t.Errorf("the run left the served password refused")
		}
		alter := slices.Index(w.calls, "1 Database.Set 1")
		if alter > slices.Index(w.calls, call) {
			t.Error("ALTER ROLE was sent after the run was told to stop")
		}
		if alter >= 0 && w.served.keys["password"] != "NewPassword1" {
			t.Error("ALTER ROLE was sent, and its answer not awaited")
		}
		want := map[string]int{"idle": 2, "forward": 3}[w.phase()]
		if call == "1 Journal.Save 2" {
			want = 3 // it cannot know whether the write has arrived
		}
		if res.ExitCode() != want && res.Status != rotation.StatusRotated {
			t.Errorf("status %q with exit code %d, the journal is %s", res.Status, res.ExitCode(), w.phase())
		}
		if took := time.Since(w.stopped); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		w.run(resume)
		w.settled(t, w.served.keys["password"])
	})
}

// openWith gives the next run other inputs than the rotation was started with.
func TestOpenRotationRefusesOtherInputs(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
		input  func(*rotation.Rotation)
		words  []string
		status rotation.Status
		exit   int
		locked bool // only who takes the lock learns of it: a plan does not
	}{
		{"another role", nil, func(r *rotation.Rotation) { r.Role = "other" }, []string{role, "other", "postgres-role"}, rotation.StatusRefused, 2, false},
		{"another server", func(w *world) { w.system = "1" }, nil, []string{"system identifier", "postgres-url"}, rotation.StatusRefused, 2, true},
		{"another lock database", func(w *world) { w.lockdb = "app" }, nil, []string{"lock database", "app"}, rotation.StatusRefused, 2, true},
		{"another Secret", func(w *world) { w.served.uid = "9" }, nil, []string{"uid", "kubernetes-secret"}, rotation.StatusRefused, 2, false},
		{"a copy left out", nil, func(r *rotation.Rotation) { r.RemoteCopies = nil }, []string{remote, "more targets are allowed"}, rotation.StatusUnfinished, 3, false},
		{"a workload left out", nil, func(r *rotation.Rotation) { r.Workloads = r.Workloads[:1] }, []string{inPod2}, rotation.StatusUnfinished, 3, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.crashAt(t, "1 Served.Set 2")
				if c.change != nil {
					c.change(w)
				}
				if c.input == nil {
					c.input = func(*rotation.Rotation) {}
				}
				writes := w.writes
				for _, next := range []func(*rotation.Rotation, context.Context) rotation.Result{resume, rotate} {
					res, _ := w.run(next, c.input)
					expect(t, res, c.status, c.exit)
					says(t, res.Err, c.words...)
				}
				if res, _ := w.run(plan, c.input); c.locked {
					expect(t, res, rotation.StatusPlanned, 0)
				} else {
					says(t, res.Err, c.words...)
				}
				if w.writes != writes {
					t.Errorf("%d writes", w.writes-writes)
				}
			})
		})
	}
}

func TestOpenRotationTakesMoreTargetsAndGoneWorkloads(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.crashAt(t, "1 Served.Set 2")
		w.copies["another"] = copied{}
		res, _ := w.run(resume, func(r *rotation.Rotation) {
			r.RemoteCopies = append(r.RemoteCopies, copyPort{r.Lock.(lockPort).p, "another"})
			r.Workloads, r.Discovered = r.Workloads[1:], true
		})
		expect(t, res, rotation.StatusRotated, 0)
		delete(w.sets, inPod)
		w.settled(t, "NewPassword1")
	})
}

func TestRoleThatTheSecretDoesNotServe(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(rotate, func(r *rotation.Rotation) { r.Role = "other" })
		expect(t, res, rotation.StatusRefused, 2)
		says(t, res.Err, "other", role, "postgres-role")
	})
}

func TestSecretRecreatedByHandIsFilled(t *testing.T) {
	for _, at := range []string{"1 Database.Set 1", "1 Served.Set 2"} {
		inWorld(t, func(t *testing.T, w *world) {
			w.crashAt(t, at)
			w.served = nil
			res, _ := w.run(resume)
			expect(t, res, rotation.StatusRefused, 2)
			w.served = &servedSecret{uid: w.version(), version: w.version(), created: time.Now(), keys: map[string]string{"other": "stays"}}
			w.highest[1] = 0
			w.crashed(t, resume, "3 Served.Set 1") // it has the epoch now, and nothing else
			res, _ = w.run(resume)
			expect(t, res, rotation.StatusRotated, 0)
			w.settled(t, "NewPassword1")
		})
	}
}

// Pods may have read the new password from a Secret that was recreated since.
func TestWayBackAfterTheSecretWasRecreatedRestartsThePods(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.crashAt(t, "1 Restart "+inPod+" 1")
		w.served = &servedSecret{uid: w.version(), version: w.version(), created: time.Now(), keys: map[string]string{"other": "stays"}}
		w.highest[1] = 0
		res, _ := w.run(undo)
		expect(t, res, rotation.StatusRolledBack, 0)
		w.settled(t, birth)
	})
}

// The first run commits between the second one's looks at journal and Secret.
func TestRunThatLooksWhileAnotherCommitsMakesNoSecondRotation(t *testing.T) {
	for _, at := range []string{"2 Served.Look 1", "2 Lock.Acquire 1"} {
		for _, before := range []string{"1 Journal.Save 3", "1 Served.Set 2"} {
			inWorld(t, func(t *testing.T, w *world) {
				goOn, ended := make(chan struct{}), make(chan struct{})
				var second rotation.Result
				w.hooks[at] = func(*process) { <-goOn }
				w.hooks[before] = func(*process) {
					go func() {
						second, _ = w.run(rotate)
						close(ended)
					}()
					synctest.Wait()
				}
				res, _ := w.run(rotate)
				close(goOn)
				<-ended
				expect(t, res, rotation.StatusRotated, 0)
				expect(t, second, rotation.StatusUnchanged, 0)
				w.settled(t, "NewPassword1")
			})
		}
	}
}

// Of two runs that wait for a way back, the second is content with what the
// first one makes after it.
func TestRunsThatWaitForAWayBackMakeOneRotation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.sick = func(_, mark string) bool { return mark == "id2" }
		w.crashAt(t, "1 Journal.Save 3")
		var second rotation.Result
		w.hooks["2 Journal.Load 3"] = func(*process) { second, _ = w.run(rotate) } // the lock is free between the two
		res, _ := w.run(rotate)
		expect(t, second, rotation.StatusRotated, 0)
		if res.Status == rotation.StatusRotated {
			t.Errorf("both made a rotation")
		}
		w.settled(t, "NewPassword2")
	})
}

func (w *world) crashed(t *testing.T, do func(*rotation.Rotation, context.Context) rotation.Result, call string) {
	t.Helper()
	w.script[call] = crashAfter
	if _, ended := w.run(do); ended {
		t.Fatalf("the call %q was never made", call)
	}
}

func TestSecretWithoutACredentialIsRefused(t *testing.T) {
	for key, word := range map[string]string{"username": "no user name", "password": "no password"} {
		for _, do := range []func(*rotation.Rotation, context.Context) rotation.Result{rotate, plan} {
			inWorld(t, func(t *testing.T, w *world) {
				delete(w.served.keys, key)
				res, _ := w.run(do)
				w.broken = nil
				expect(t, res, rotation.StatusRefused, 2)
				says(t, res.Err, word)
			})
		}
	}
}

// Whenever the journal of an open rotation is deleted while the served Secret holds
// what the database accepts, whatever comes next finds that password or replaces it.
func TestDeletedJournalCostsNothingTheSecretHolds(t *testing.T) {
	for _, call := range open(t) {
		for name, next := range map[string]command{"rotate": rotate, "emergency": emergency, "resume": resume, "rollback": undo} {
			t.Run(name+" after "+call, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.run(rotate)
					w.run(rotate)
					w.crashAt(t, call)
					served := w.served.keys["password"]
					if !w.opens(served) {
						return // it was in the journal alone
					}
					epoch := w.served.stamp.Epoch
					w.journal, w.highest[0] = secret.Document{}, 0
					w.broken = nil
					res, _ := w.run(next)
					switch name {
					case "resume", "rollback":
						want := map[string]rotation.Status{"resume": rotation.StatusUnchanged, "rollback": rotation.StatusRefused}[name]
						expect(t, res, want, map[rotation.Status]int{rotation.StatusRefused: 2}[want])
						if w.served.keys["password"] != served || !w.opens(served) {
							t.Errorf("%q is served, %q was and opens the door: %t", w.served.keys["password"], served, w.opens(served))
						}
					default:
						expect(t, res, rotation.StatusRotated, 0)
						w.settled(t, "NewPassword4")
						if w.served.stamp.Epoch <= epoch {
							t.Errorf("the epoch began anew: %d after %d", w.served.stamp.Epoch, epoch)
						}
					}
				})
			})
		}
	}
}

// The way back of a rotation, too, and where two roles take turns.
func TestDeletedJournalLeavesAServedPasswordThatLogsIn(t *testing.T) {
	for name, crash := range map[string]func(*world){
		"on the way back": func(w *world) { w.script["1 "+remote+".Set 1"], w.script["1 Served.Set 3"] = refuse, crashAfter },
		"on the way":      func(w *world) { w.script["1 "+remote+".Set 1"] = crashBefore },
		"before ALTER":    func(w *world) { w.script["1 Journal.Save 2"] = crashAfter },
	} {
		for strategy, in := range map[string]func(*testing.T, func(*testing.T, *world)){rotation.InPlace: inWorld, rotation.Alternate: alternating} {
			for command, next := range map[string]command{"rotate": rotate, "emergency": emergency, "resume": resume, "rollback": undo} {
				t.Run(name+", "+strategy+", "+command, func(t *testing.T) {
					in(t, func(t *testing.T, w *world) {
						crash(w)
						w.run(rotate)
						if w.phase() == "idle" || len(w.script) > 0 {
							t.Fatalf("the journal is %s, and what was to happen has not: %v", w.phase(), w.script)
						}
						w.journal, w.highest[0] = secret.Document{}, 0
						w.broken = nil
						w.run(next)
						for _, bad := range w.broken {
							if !strings.Contains(bad, "I7") { // nobody knows of the other role
								t.Error(bad)
							}
						}
						if !w.letsIn(w.served.keys["username"], w.served.keys["password"]) {
							t.Errorf("%q of %q is served, and does not log in", w.served.keys["password"], w.served.keys["username"])
						}
						res, _ := w.run(emergency)
						expect(t, res, rotation.StatusRotated, 0)
						w.broken = nil
					})
				})
			}
		}
	}
}

func TestDamagedJournalIsRefused(t *testing.T) {
	note := func(name, value string) func(*secret.Document) {
		return func(d *secret.Document) { d.Annotations["pgrotate.io/"+name] = value }
	}
	data := func(key, value string) func(*secret.Document) {
		return func(d *secret.Document) { d.Data[key] = secret.New(value) }
	}
	for name, damage := range map[string]func(*secret.Document){
		"unknown phase":       note("phase", "sideways"),
		"no phase":            func(d *secret.Document) { delete(d.Annotations, "pgrotate.io/phase") },
		"idle with a pending": note("phase", "idle"),
		"unknown mode":        note("mode", "hurried"),
		"emergency with a way back": func(d *secret.Document) {
			d.Annotations["pgrotate.io/mode"], d.Annotations["pgrotate.io/phase"] = "emergency", "back"
		},
		"emergency that kept the old password": note("mode", "emergency"),
		"emergency with three superseded": func(d *secret.Document) {
			d.Annotations["pgrotate.io/mode"], d.Data["superseded"] = "emergency", secret.New(`[{"user":"a"},{"user":"b"},{"user":"c"}]`)
			delete(d.Data, "previous")
		},
		"planned with superseded":    data("superseded", `[{"user":"alfred_user","password":"x","verifier":"y"}]`),
		"superseded cut short":       data("superseded", `[{"user":"alfred_user","pass`),
		"no rotation id":             note("rotation-id", ""),
		"epoch of words":             note("epoch", "many"),
		"negative epoch":             note("epoch", "-1"),
		"epoch that overflows":       note("epoch", "9223372036854775807"),
		"highest epoch":              note("epoch", "9007199254740992"),
		"record cut short":           note("record", `{"version":1,`),
		"version of tomorrow":        note("record", `{"version":2}`),
		"other strategy":             note("record", `{"version":1,"strategy":"alternate","base":"alfred_user"}`),
		"unknown strategy":           note("record", `{"version":1,"strategy":"both","base":"alfred_user"}`),
		"strategy that does not fit": note("record", `{"version":1,"strategy":"alternate","base":"alfred_user","twin":"alfred_user_alt"}`),
		"role of another":            note("record", `{"version":1,"strategy":"in-place","base":"postgres"}`),
		"former role of another":     note("record", `{"version":1,"strategy":"in-place","base":"alfred_user","former":"payroll"}`),
		"pending gone":               func(d *secret.Document) { delete(d.Data, "pending") },
		"previous gone":              func(d *secret.Document) { delete(d.Data, "previous") },
		"pending cut short":          data("pending", `{"user":"alfred_user","pass`),
		"pending of another":         data("pending", `{"user":"postgres","password":"x","verifier":"y"}`),
		"pending unverified":         data("pending", `{"user":"alfred_user","password":"x"}`),
		"previous without key":       data("previous", `{"user":"alfred_user","password":"x","verifier":"y"}`),
		"key not base64":             data("previous", `{"user":"alfred_user","password":"x","verifier":"y","keys":{"password":"%"}}`),
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.crashAt(t, "1 Served.Set 2")
				damage(&w.journal)
				w.highest[0] = -1
				w.refusesTheJournal(t)
			})
		})
	}
}

// Nothing is open, and what is kept for the next run is damaged.
func TestDamagedJournalOfAnEndedRotationIsRefused(t *testing.T) {
	for name, record := range map[string]string{
		"version of tomorrow":          `{"version":2}`,
		"role of another to be closed": `{"version":1,"strategy":"in-place","base":"alfred_user","former":"payroll","retire_at":"2001-01-01T00:00:00Z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.run(rotate)
				w.journal.Annotations["pgrotate.io/record"] = record
				w.refusesTheJournal(t)
			})
		})
	}
}

// refusesTheJournal: whatever a run is asked for, it changes nothing.
func (w *world) refusesTheJournal(t *testing.T) {
	t.Helper()
	writes := w.writes
	for _, next := range []command{resume, rotate, plan, undo, emergency} {
		res, _ := w.run(next)
		expect(t, res, rotation.StatusRefused, res.ExitCode())
		says(t, res.Err, "read the journal", "nothing was changed")
	}
	if w.writes != writes {
		t.Errorf("%d writes", w.writes-writes)
	}
}

func TestBusyNamesTheOwner(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.rollout = 5 * time.Minute
		var busy rotation.Result
		w.hooks["1 Restart "+inPod+" 1"] = func(*process) { busy, _ = w.run(rotate) }
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		expect(t, busy, rotation.StatusBusy, 3)
		says(t, busy.Err, "https://ci/run/1", "wait for it to end")
	})
}

// Whoever rotated last is not the run that holds the lock and has claimed nothing yet.
func TestBusyDoesNotNameARunThatIsOver(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.hooks["2 Database.Plan 1"] = func(*process) {
			busy, _ := w.run(rotate, func(r *rotation.Rotation) { r.Policy.LockTimeout = time.Second })
			expect(t, busy, rotation.StatusBusy, 3)
			if strings.Contains(busy.Err.Error(), "https://ci/run/1") {
				t.Errorf("%v", busy.Err)
			}
		}
		w.run(rotate)
	})
}

// It has claimed nothing when the other one gives up, and is named all the same.
func TestBusyWaitsForTheOwnersName(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.rollout = 5 * time.Minute
		w.run(rotate)
		done := make(chan rotation.Result)
		w.hooks["2 Database.Plan 1"] = func(*process) {
			go func() {
				busy, _ := w.run(rotate, func(r *rotation.Rotation) { r.Policy.LockTimeout = time.Second })
				done <- busy
			}()
			<-time.After(2 * time.Second)
		}
		go w.run(rotate, func(r *rotation.Rotation) { r.Request.Owner = "https://ci/run/2" })
		busy := <-done
		expect(t, busy, rotation.StatusBusy, 3)
		says(t, busy.Err, "https://ci/run/2")
		<-time.After(time.Hour)
	})
}

// TestRunsStartedTogetherMakeOneRotation starts each run before the first has
// committed, from all at once to one at every moment of the rotation.
func TestRunsStartedTogetherMakeOneRotation(t *testing.T) {
	for _, apart := range []time.Duration{0, time.Second, 4 * time.Second} {
		inWorld(t, func(t *testing.T, w *world) {
			w.latency, w.rollout, w.policy.LockTimeout = time.Second, 20*time.Second, 5*time.Minute
			const runs = 8
			results := make([]rotation.Result, runs)
			for i := range runs {
				go func() {
					<-time.After(time.Duration(i) * apart)
					results[i], _ = w.run(rotate)
				}()
			}
			<-time.After(20 * time.Minute)
			synctest.Wait()
			count := map[rotation.Status]int{}
			for _, res := range results {
				count[res.Status]++
			}
			if want := map[rotation.Status]int{rotation.StatusRotated: 1, rotation.StatusUnchanged: runs - 1}; !maps.Equal(count, want) {
				t.Errorf("%v apart: %v, want %v", apart, count, want)
			}
			w.settled(t, "NewPassword1")
		})
	}
}

func TestTwoProcessesOfOneRunAreToldApart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		// The second claims, with the same owner and epoch, between the first one's look and claim.
		w.hooks["1 Journal.Save 1"] = func(p *process) {
			p.cut()
			w.script["2 Journal.Save 2"] = crashBefore
			w.run(rotate)
		}
		res, _ := w.run(rotate)
		if rotation.ClassOf(res.Err) != rotation.Conflict {
			t.Errorf("the claim of the other was taken for its own: %v", res.Err)
		}
	})
}

func TestOlderRunsAreShutOutBeforeThePasswordChanges(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.hooks["1 Database.Set 1"] = func(*process) {
			if epoch := w.journal.Annotations["pgrotate.io/epoch"]; epoch != fmt.Sprint(w.served.stamp.Epoch) {
				t.Errorf("the journal has epoch %s, the served Secret %d", epoch, w.served.stamp.Epoch)
			}
		}
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
	})
}

func TestWriteOfADeadRunThatArrivesBeforeTheFenceIsSeen(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.crashAt(t, "1 Database.Set 1")
		w.hooks["2 Served.Set 1"] = func(*process) {
			w.served.keys["password"] = "NewPassword1"
			w.restart(inPod, "by itself")
		}
		w.script["2 Served.Set 2"] = refuse
		res, _ := w.run(resume)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, birth)
	})
}

// Nobody writes without the lock, so no further copy is tried when it is gone.
func TestNoFurtherCopyIsTriedWithoutTheLock(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Lock.Check 2"] = cutBefore // of the first copy
		res, _ := w.run(rotate, func(r *rotation.Rotation) { r.ClusterCopies = append(r.ClusterCopies, r.ClusterCopies[0]) })
		expect(t, res, rotation.StatusRotated, 0)
		if again, next := slices.Index(w.calls, "1 Lock.Acquire 2"), slices.Index(w.calls, "1 Lock.Check 3"); again < 0 || next < again {
			t.Errorf("%q", w.calls)
		}
	})
}
