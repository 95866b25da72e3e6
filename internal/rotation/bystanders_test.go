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

// stepOf returns how a step ended, and whether there was one.
func stepOf(res rotation.Result, name string) (rotation.StepResult, bool) {
	i := slices.IndexFunc(res.Steps, func(s rotation.StepResult) bool { return s.Name == name })
	if i < 0 {
		return rotation.StepResult{}, false
	}
	return res.Steps[i], true
}

func warned(t *testing.T, res rotation.Result, words string) {
	t.Helper()
	if !slices.ContainsFunc(res.Warnings, func(text string) bool { return strings.Contains(text, words) }) {
		t.Errorf("no warning has %q: %q", words, res.Warnings)
	}
}

// terminating asks for the end of former sessions.
func terminating(r *rotation.Rotation) { r.Policy.TerminateStale = true }

// occupied opens sessions before the rotation, and one at the end of the restart.
func occupied(w *world) {
	old := time.Now().Add(-time.Hour)
	w.clients = []session{
		{role, "nightly", "10.1.0.7", old}, {role, "nightly", "10.1.0.7", old.Add(-time.Hour)}, {role, "PgBouncer", "10.1.0.8", old},
		{role, "psql", "192.0.2.1", old}, {role, "shared", "10.0.0.1", old}, {role, "tunnel", "127.0.0.1", old}, {role, "socket", "", old},
	}
	w.origins = map[string]secret.Origin{
		"10.1.0.7": {Pods: []string{"prod/nightly-1"}, Owners: []string{"job/nightly"}},
		"10.1.0.8": {Pods: []string{"prod/pool-1"}, Owners: []string{"deployment/pool"}},
		"10.0.0.1": {Pods: []string{"prod/agent-a", "prod/agent-b"}, Owners: []string{"daemonset/agent", "daemonset/agent"}, Shared: true},
	}
	w.hooks["1 Lock.Check 2"] = w.changes(func() { w.clients = append(w.clients, session{role, "nightly", "10.1.0.7", time.Now().Add(time.Hour)}) })
}

func TestLaggardsAreNamedAndGoOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		occupied(w)
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword1")
		if len(res.Laggards) != 6 || len(w.clients) != 8 {
			t.Fatalf("%d laggards, %d sessions: %+v", len(res.Laggards), len(w.clients), res.Laggards)
		}
		first := res.Laggards[0]
		if first.Application != "nightly" || first.Sessions != 2 || first.Left != 2 || first.Where != "pod prod/nightly-1 of job/nightly" ||
			!slices.Equal(first.Owners, []string{"job/nightly"}) || time.Since(first.Since) < 2*time.Hour {
			t.Errorf("%+v", first)
		}
		for application, words := range map[string]string{
			"PgBouncer": "RECONNECT", "psql": "not a pod of this cluster", "shared": "it may be pod prod/agent-a of daemonset/agent, pod prod/agent-b",
			"tunnel": "the database itself, or a tunnel into it", "socket": "Unix socket",
		} {
			i := slices.IndexFunc(res.Laggards, func(l rotation.Laggard) bool { return l.Application == application })
			if l := res.Laggards[i]; !strings.Contains(l.Where, words) || l.Pooler != (application == "PgBouncer") || l.Left != 1 {
				t.Errorf("%+v", l)
			}
		}
		if step, _ := stepOf(res, "sessions"); step.Detail != "7 are older than the change" {
			t.Errorf("the step says %q", step.Detail)
		}
	})
}

func TestLaggardsAreEndedWhereThatIsWanted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		occupied(w)
		res, _ := w.run(rotate, terminating)
		expect(t, res, rotation.StatusRotated, 0)
		if len(w.clients) != 1 || !w.clients[0].opened.After(res.RotatedAt) {
			t.Errorf("left: %+v", w.clients)
		}
		for _, l := range res.Laggards {
			if l.Left != 0 || l.Sessions == 0 {
				t.Errorf("%+v", l)
			}
		}
		if step, _ := stepOf(res, "sessions"); step.Detail != "7 are older than the change, 7 ended" {
			t.Errorf("the step says %q", step.Detail)
		}
		restarted := slices.IndexFunc(w.calls, func(c string) bool { return strings.Contains(c, "Restart") })
		ended := slices.Index(w.calls, "1 Sessions.Terminate 1")
		if ended < restarted {
			t.Error("sessions were ended before the restart")
		}
	})
}

func TestTheRightToEndSessionsIsAskedForWhereItIsNeeded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Sessions.PlanTermination 1"] = refuse
		w.run(plan)
		w.script["2 Sessions.PlanTermination 1"] = refuse
		res, _ := w.run(rotate, terminating)
		expect(t, res, rotation.StatusRefused, 2)
		if len(w.script) != 1 {
			t.Error("the right was asked for though nobody is to be ended")
		}
	})
}

// A password that is proven is not taken back because somebody cannot be seen or ended.
func TestSessionsHoldNothingUp(t *testing.T) {
	for call, words := range map[string]string{
		"Sessions.Opened 1": "who still has sessions", "Sessions.Terminate 1": "not every session", "Sessions.Opened 2": "whether the sessions", "Addresses.Origins 1": "which pods",
	} {
		inWorld(t, func(t *testing.T, w *world) {
			occupied(w)
			w.script["1 "+call] = refuse
			res, _ := w.run(rotate, terminating)
			expect(t, res, rotation.StatusRotated, 0)
			warned(t, res, words)
		})
	}
}

func TestHiddenSessionsAreCounted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.clients = []session{{role: role, application: "secretive"}, {role: role, application: "too"}}
		res, _ := w.run(rotate, terminating)
		expect(t, res, rotation.StatusRotated, 0)
		warned(t, res, "2 sessions may be from before the change")
		if len(res.Laggards) != 0 || len(w.clients) != 2 {
			t.Errorf("laggards %+v, sessions %+v", res.Laggards, w.clients)
		}
	})
}

// A later run judges sessions by when the password was changed, not by its own start.
func TestResumedRotationKnowsWhenThePasswordWasChanged(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.crashAt(t, "1 Served.Set 2")
		<-time.After(time.Minute)
		w.clients = []session{{role, "app", "10.1.0.7", time.Now()}}
		<-time.After(time.Minute)
		res, _ := w.run(resume)
		expect(t, res, rotation.StatusRotated, 0)
		if len(res.Laggards) != 0 {
			t.Errorf("%+v", res.Laggards)
		}
	})
}

func TestTheWayBackLooksAtNoSessions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		occupied(w)
		w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
		res, _ := w.run(rotate, terminating)
		expect(t, res, rotation.StatusRolledBack, 1)
		if len(w.clients) < 7 || len(res.Laggards) > 0 {
			t.Errorf("sessions of the password that is back were ended: %+v", w.clients)
		}
	})
}

func podsOf(res rotation.Result, workload string) []secret.Proof {
	i := slices.IndexFunc(res.Workloads, func(t rotation.Target) bool { return t.Name == workload })
	return res.Workloads[i].Pods
}

func TestEveryPodHasAProof(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		own := map[string]string{inPod + "0": "10.1.0.1", inPod + "1": "10.1.0.2"}
		w.proofs = func(workload string, pod int) secret.Proof {
			p := secret.Proof{Reason: "no health command is given"}
			if address, ok := own[workload+string(rune('0'+pod))]; ok {
				p.Addresses = []string{address}
			}
			if workload == inPod2 && pod == 1 {
				return secret.Proof{Evidence: secret.ByHealthCommand}
			}
			return p
		}
		w.clients = []session{{role, "app", "10.1.0.2", time.Now().Add(-time.Hour)}}
		w.hooks["1 Sessions.Opened 1"] = w.changes(func() { w.clients = append(w.clients, session{role, "app", "10.1.0.1", time.Now()}) })
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		got := append(podsOf(res, inPod), podsOf(res, inPod2)...)
		for i, want := range []secret.Proof{
			{Evidence: secret.BySession},
			{Evidence: secret.NotProven, Reason: "no health command is given; no session of it was seen"},
			{Evidence: secret.NotProven, Reason: "no health command is given; it shares the address of its node"},
			{Evidence: secret.ByHealthCommand},
		} {
			if got[i].Evidence != want.Evidence || got[i].Reason != want.Reason {
				t.Errorf("pod %d: %v because of %q, want %v, %q", i, got[i].Evidence, got[i].Reason, want.Evidence, want.Reason)
			}
		}
	})
}

func TestARefutedPodTakesThePasswordBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.proofs = func(workload string, pod int) secret.Proof {
			if w.sets[workload].mark != "" && !strings.HasSuffix(w.sets[workload].mark, "-back") && pod == 1 {
				return secret.Proof{Evidence: secret.Refuted, Reason: "its log tells of a refused login"}
			}
			return secret.Proof{Evidence: secret.ByHealthCommand}
		}
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, birth)
		says(t, res.Err, `check pod "core-1" of deployment/core`, "its log tells of a refused login")
	})
}

func TestStandbysAreWaitedForBeforePodsRestart(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.replay = 20 * time.Second
		var told []string
		var restarted time.Time
		w.hooks["1 Restart "+inPod+" 1"] = func(*process) { restarted = time.Now() }
		res, _ := w.run(rotate, func(r *rotation.Rotation) {
			r.Observe = func(e rotation.Event) { told = append(told, e.Detail) }
		})
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword1")
		if behind := w.changed.Add(w.replay).Sub(restarted); behind > 0 {
			t.Errorf("the pods restarted %v before the standby had the password", behind)
		}
		if !slices.Contains(told, "standby two at 10.0.0.2") {
			t.Errorf("nobody is told who is waited for: %q", told)
		}
	})
}

func TestAStandbyThatDoesNotCatchUpTakesThePasswordBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.replay = time.Hour
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, birth)
		says(t, res.Err, "standby two at 10.0.0.2", "not done after 1m0s", "postgres-replicas")
		if res.FailedStep != "standbys" || w.sets[inPod].mark == res.RotationID {
			t.Errorf("failed step %q, mark %q", res.FailedStep, w.sets[inPod].mark)
		}
		warned(t, res, "standby two at 10.0.0.2") // the way back waits for it, and goes on
		if step, ok := stepOf(res, "back: standbys"); !ok || strings.Contains(step.Detail, "none lags behind") {
			t.Errorf("the way back says %q", step.Detail)
		}
	})
}

func TestAnEmergencyDoesNotWaitForStandbys(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.replay = time.Hour
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusRotated, 0)
		warned(t, res, "the compromised password may still open the door at a standby: standby two")
		if _, tried := stepOf(res, "standbys"); tried || res.Elapsed > time.Minute {
			t.Errorf("it waited for %v", res.Elapsed)
		}
		w.script["2 Standbys.Lagging 1"] = refuse
		res, _ = w.run(emergency)
		expect(t, res, rotation.StatusRotated, 0)
		warned(t, res, "whether the standbys have the new password is not known")
	})
}

func TestToldToStopWhileAStandbyCatchesUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.replay = 50 * time.Second
		w.script["1 Standbys.Lagging 3"] = stopAfter
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusUnfinished, 3)
		res, _ = w.run(resume)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword1")
	})
}

// limping takes a ready pod away from a workload that is not restarted by the rotation.
type limping struct {
	rotation.Health
	ready func() int
}

func (l limping) Ready(ctx context.Context) (map[string]secret.Readiness, error) {
	all, err := l.Health.Ready(ctx)
	if err == nil {
		all["deployment/bystander"] = secret.Readiness{Ready: l.ready(), Pods: 2}
	}
	return all, err
}

func withBystander(ready func() int) func(*rotation.Rotation) {
	return func(r *rotation.Rotation) { r.Health = limping{r.Health, ready} }
}

func TestHealthThatSuffersTakesThePasswordBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(rotate, withBystander(func() int {
			if w.opens(birth) {
				return 2
			}
			return 1
		}))
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, birth)
		says(t, res.Err, `pods "tier=backend"`, "deployment/bystander has 1 of 2 pods ready, had 2")
		if res.FailedStep != "health" {
			t.Errorf("failed step %q", res.FailedStep)
		}
	})
}

func TestHealthIsWaitedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(rotate, withBystander(func() int {
			if w.opens(birth) || time.Since(w.changed) > 30*time.Second {
				return 2
			}
			return 0
		}))
		expect(t, res, rotation.StatusRotated, 0)
		if step, _ := stepOf(res, "health"); step.Elapsed < 29*time.Second {
			t.Errorf("it took %v", step.Elapsed)
		}
	})
}

// What was ready before the rotation is in the journal: a later run cannot see it any more.
func TestResumedRotationKnowsWhatWasReady(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Served.Set 2"] = crashAfter
		w.run(rotate, withBystander(func() int { return 2 }))
		res, _ := w.run(resume, withBystander(func() int { return 1 }))
		expect(t, res, rotation.StatusRolledBack, 1)
		warned(t, res, "deployment/bystander has 1 of 2 pods ready, had 2") // the way back goes on all the same
		w.settled(t, birth)
	})
}

func TestEmergencyOverAnOpenRotationKnowsWhatWasReady(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Served.Set 2"] = crashAfter
		w.run(rotate, withBystander(func() int { return 2 }))
		res, _ := w.run(emergency, withBystander(func() int { return 1 }))
		expect(t, res, rotation.StatusUnfinished, 3)
		says(t, res.Err, "deployment/bystander has 1 of 2 pods ready, had 2")
	})
}

func TestHealthThatWasBadBeforeIsNoFinding(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(rotate, withBystander(func() int { return 0 }))
		expect(t, res, rotation.StatusRotated, 0)
		warned(t, res, "deployment/bystander has no ready pod even before the start")
	})
}

type nobody struct{ rotation.Health }

func (nobody) Ready(context.Context) (map[string]secret.Readiness, error) { return nil, nil }

func TestSelectorThatChoosesNobodyIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res, _ := w.run(rotate, func(r *rotation.Rotation) { r.Health = nobody{r.Health} })
		expect(t, res, rotation.StatusRefused, 2)
		says(t, res.Err, `look at pods "tier=backend": there are none`, "health-selector")
	})
}

type broken struct{ rotation.Standbys }

func (broken) PlanStandbys(context.Context, string) (string, []string, error) {
	return "", nil, errors.New("a replica is not there")
}

func TestReplicaThatCannotBeAskedHoldsNoEmergencyUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		away := func(r *rotation.Rotation) { r.Standbys = broken{r.Standbys} }
		res, _ := w.run(rotate, away)
		expect(t, res, rotation.StatusRefused, 2)
		res, _ = w.run(emergency, away)
		expect(t, res, rotation.StatusRotated, 0)
		warned(t, res, "a replica is not there")
	})
}

// renamed adds a session under another user name.
type renamed struct{ rotation.Sessions }

func (r renamed) Opened(ctx context.Context, roles []string, change time.Time) ([]secret.Sessions, error) {
	found, err := r.Sessions.Opened(ctx, roles, change)
	return append(found, secret.Sessions{Role: role + "_alt", Address: "10.1.0.1", Recent: 1}), err
}

func TestAPodThatLogsInUnderAnotherNameIsRefuted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.proofs = func(workload string, pod int) secret.Proof {
			if workload == inPod && pod == 0 {
				return secret.Proof{Evidence: secret.ByHealthCommand, Addresses: []string{"10.1.0.1"}}
			}
			return secret.Proof{Evidence: secret.ByHealthCommand, Addresses: []string{"10.1.0.2"}}
		}
		res, _ := w.run(rotate, func(r *rotation.Rotation) { r.Sessions = renamed{r.Sessions} })
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, birth)
		says(t, res.Err, `check pod "core-0" of deployment/core: it has logged in as role "alfred_user_alt" since the change`)
	})
}

// A pod that starts with the former credential is let in where two roles take
// turns, so that only its session tells of it.
func TestStalePodIsReplacedWhereTwoRolesTakeTurns(t *testing.T) {
	for name, test := range map[string]struct {
		stale  int // how many pods in a row have the former credential
		status rotation.Status
		exit   int
	}{"once": {1, rotation.StatusRotated, 0}, "the replacement, too": {2, rotation.StatusRolledBack, 1}} {
		t.Run(name, func(t *testing.T) {
			alternating(t, func(t *testing.T, w *world) {
				w.proofs = func(workload string, pod int) secret.Proof {
					if workload != inPod || pod != 0 {
						return secret.Proof{Evidence: secret.ByHealthCommand, Addresses: []string{"10.1.0.9"}}
					}
					return secret.Proof{Evidence: secret.ByHealthCommand, Addresses: []string{fmt.Sprintf("10.1.0.%d", w.renewed[inPod+"-0"])}}
				}
				w.hooks["1 Restart "+inPod+" 1"] = func(*process) {
					for n := range test.stale {
						w.clients = append(w.clients, session{role, "core", fmt.Sprintf("10.1.0.%d", n), time.Now().Add(time.Second)})
					}
				}
				res, _ := w.run(rotate)
				expect(t, res, test.status, test.exit)
				if w.renewed[inPod+"-0"] != 1 || len(w.renewed) != 1 {
					t.Errorf("replaced: %v", w.renewed)
				}
				if test.exit != 0 {
					says(t, res.Err, `check pod "core-0" of deployment/core: it has logged in as role "alfred_user" since the change`)
				}
			})
		})
	}
}

// An emergency keeps no former credential, and looks for who logs in with it all
// the same.
func TestEmergencyNamesWhoKeepsTheFormerRole(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.hooks["1 Sessions.Opened 1"] = w.changes(func() { w.clients = append(w.clients, session{role, "nightly", "192.0.2.9", time.Now()}) })
		res, _ := w.run(emergency)
		expect(t, res, rotation.StatusRotated, 0)
		if len(res.Laggards) != 1 || res.Laggards[0].Role != role || res.Laggards[0].Application != "nightly" || res.Laggards[0].Left != 0 { // the role is closed
			t.Errorf("%+v", res.Laggards)
		}
	})
}

// A role that nobody uses yet is waited for before anybody is told to use it.
func TestStandbysAreWaitedForBeforeTheOtherRoleIsServed(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.replay = time.Hour
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		if res.FailedStep != "standbys" || w.sets[inPod].mark != "" {
			t.Errorf("failed step %q, the pods carry %q", res.FailedStep, w.sets[inPod].mark)
		}
		w.serves(t, role, birth)
	})
}

// Where two roles take turns a session of the one that is not served any more is
// a laggard, whenever it was opened: its client has not read the new user name.
func TestClientThatKeepsTheFormerRoleIsNamed(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.hooks["1 Sessions.Opened 1"] = w.changes(func() { w.clients = append(w.clients, session{role, "nightly", "192.0.2.9", time.Now()}) })
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		if len(res.Laggards) != 1 || res.Laggards[0].Role != role || res.Laggards[0].Sessions != 1 || !res.Laggards[0].Since.IsZero() {
			t.Errorf("%+v", res.Laggards)
		}
	})
}

func TestRefusedLoginsAreNamed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.refused = []secret.Refused{{Role: role, Address: "10.1.0.7", Logins: 9}, {Role: role, Address: "192.0.2.1", Logins: 4}, {Role: role, Address: "127.0.0.1", Logins: 2},
			{Role: role, Address: secret.Socket, Logins: 2}, {Role: role, Logins: 1}, {Role: "other", Address: "10.1.0.7", Logins: 5}}
		w.origins = map[string]secret.Origin{"10.1.0.7": {Pods: []string{"prod/nightly-1"}, Owners: []string{"job/nightly"}}}
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		if step, _ := stepOf(res, "refused logins"); step.Detail != "18 logins since the change, of 5 clients" {
			t.Errorf("the step says %q", step.Detail)
		}
		for i, words := range []string{"pod prod/nightly-1 of job/nightly", "no pod of this cluster has it now", "the database itself, or a tunnel into it", "Unix socket", "the log does not tell"} {
			if got := res.Refusals[i]; got.Role != role || got.Address != w.refused[i].Address || got.Logins != w.refused[i].Logins || !strings.Contains(got.Where, words) {
				t.Errorf("%+v", got)
			}
		}
		if first := res.Refusals[0]; !slices.Equal(first.Pods, []string{"prod/nightly-1"}) || !slices.Equal(first.Owners, []string{"job/nightly"}) {
			t.Errorf("%+v", first)
		}
	})
}

func TestRefusedLoginsHoldNothingUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.script["1 Refusals.Refused 1"] = refuse
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		if step, _ := stepOf(res, "refused logins"); !strings.HasPrefix(step.Detail, "not known: ") || step.Err != nil || len(res.Warnings) > 0 {
			t.Errorf("%+v, warnings %q", step, res.Warnings)
		}
		w.refused = []secret.Refused{{Role: role, Address: "10.1.0.7", Logins: 1}}
		w.script["2 Addresses.Origins 1"] = refuse
		res, _ = w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		warned(t, res, "which pods the refused logins are of")
		if len(res.Refusals) != 1 || res.Refusals[0].Where != "not known" {
			t.Errorf("%+v", res.Refusals)
		}
		res, _ = w.run(rotate, func(r *rotation.Rotation) { r.Refusals = nil })
		if step, there := stepOf(res, "refused logins"); there {
			t.Errorf("%+v", step)
		}
	})
}

func TestNotEveryRefusedClientIsNamed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for i := range tooMany {
			w.refused = append(w.refused, secret.Refused{Role: role, Address: fmt.Sprintf("10.1.1.%d", i), Logins: 1})
		}
		res, _ := w.run(rotate)
		if step, _ := stepOf(res, "refused logins"); step.Detail != "60 logins since the change, of 60 clients, in the first part of a log that is too long to read" || len(res.Refusals) != 50 {
			t.Errorf("%d are named: %q", len(res.Refusals), step.Detail)
		}
	})
}

// What may be seen of one role's sessions says nothing about another's.
func TestSessionsOfBothRolesAreAskedFor(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		res, _ := w.run(plan)
		var asked []string
		for _, line := range res.Plan {
			if line.Step == "sessions" {
				asked = append(asked, line.Target)
			}
		}
		if !slices.Equal(asked, []string{`sessions of role "alfred_user"`, `sessions of role "alfred_user_alt"`}) {
			t.Errorf("asked for %q", asked)
		}
	})
}
