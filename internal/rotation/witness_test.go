package rotation_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// healthy lets every pod have an address and a health command that agrees.
func (w *world) healthy() {
	w.proofs = func(workload string, pod int) secret.Proof {
		return secret.Proof{Evidence: secret.ByHealthCommand, Addresses: []string{address(w, workload, pod)}}
	}
}

func address(w *world, workload string, pod int) string {
	return fmt.Sprintf("10.%d.%d.%d", map[string]int{inPod: 1, inPod2: 2}[workload], pod, w.renewed[fmt.Sprintf("%s-%d", workload, pod)])
}

// seen lets the n-th look at the sessions meet these, and those before it nobody.
func (w *world) seen(n int, met ...session) {
	w.hooks[fmt.Sprintf("1 Sessions.Opened %d", n)] = w.changes(func() { w.clients = met })
}

// A pod that logs in and out again is met by looking more than once.
func TestPodsAreLookedForWhereTwoRolesTakeTurns(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.healthy()
		var met []session
		for _, workload := range []string{inPod, inPod2} {
			for pod := range 2 {
				met = append(met, session{twin, "app", address(w, workload, pod), time.Now().Add(time.Second)})
			}
		}
		w.seen(7, met...)
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		for _, p := range append(podsOf(res, inPod), podsOf(res, inPod2)...) {
			if p.Evidence != secret.BySession {
				t.Errorf("%s: %v because of %q", p.Pod, p.Evidence, p.Reason)
			}
		}
	})
}

func TestStalePodThatLogsInAndOutIsReplaced(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.healthy()
		w.seen(7, session{role, "app", address(w, inPod, 1), time.Now().Add(time.Second)})
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		if len(w.renewed) != 1 || w.renewed[inPod+"-1"] != 1 {
			t.Errorf("replaced: %v", w.renewed)
		}
	})
}

// Either role lets a pod in: that it is healthy says nothing of the one it has.
func TestHealthProvesNothingWhereTwoRolesTakeTurns(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.healthy()
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRotated, 0)
		for _, p := range podsOf(res, inPod) {
			if want := "its health command succeeds under either role; no session of it was seen"; p.Evidence != secret.NotProven || p.Reason != want {
				t.Errorf("%v because of %q", p.Evidence, p.Reason)
			}
		}
		if n := strings.Count(strings.Join(w.calls, "\n"), "Sessions.Opened"); n < 11 || n > 22 {
			t.Errorf("%d looks at the sessions for two workloads, and one in the end", n)
		}
	})
}

// A look is shared by all workloads that wait for one.
func TestWorkloadsShareLooks(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.healthy()
		res, _ := w.run(rotate, func(r *rotation.Rotation) {
			for range 100 {
				r.Workloads = append(r.Workloads, r.Workloads[0])
			}
		})
		expect(t, res, rotation.StatusRotated, 0)
		if n := strings.Count(strings.Join(w.calls, "\n"), "Sessions.Opened"); n > 40 {
			t.Errorf("%d looks at the sessions for 102 workloads", n)
		}
	})
}

// On the way back nobody looks, and what is healthy is no more proven.
func TestHealthProvesNothingOnTheWayBackEither(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.healthy()
		w.sick = func(_, mark string) bool { return mark != "" && !strings.HasSuffix(mark, "-back") }
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		for _, p := range podsOf(res, inPod) {
			if p.Evidence != secret.NotProven {
				t.Errorf("%v because of %q", p.Evidence, p.Reason)
			}
		}
	})
}

// answering stands in for what the sessions show, or how the question ends.
type answering struct {
	rotation.Sessions
	opened func(context.Context) []secret.Sessions
}

func (a answering) Opened(ctx context.Context, _ []string, _ time.Time) ([]secret.Sessions, error) {
	return a.opened(ctx), nil
}

// Who may not see when sessions began does not see more by looking again.
func TestHiddenSessionsAreLookedAtOnce(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.healthy()
		looks := 0
		res, _ := w.run(rotate, func(r *rotation.Rotation) {
			r.Sessions = answering{r.Sessions, func(context.Context) []secret.Sessions {
				looks++
				return []secret.Sessions{{Role: twin, Hidden: 1}}
			}}
		})
		expect(t, res, rotation.StatusRotated, 0)
		if looks > 3 {
			t.Errorf("%d looks, for two workloads and in the end", looks)
		}
	})
}

// A question that is cut off costs the session, and with it the lock.
func TestALookIsNotCutOff(t *testing.T) {
	alternating(t, func(t *testing.T, w *world) {
		w.healthy()
		w.script["1 "+remote+".Set 1"] = refuse
		w.hooks["1 "+remote+".Set 1"] = func(*process) { time.Sleep(time.Second) }
		looked, cut := false, false
		res, _ := w.run(rotate, func(r *rotation.Rotation) {
			r.Sessions = answering{r.Sessions, func(ctx context.Context) []secret.Sessions {
				time.Sleep(2 * time.Second)
				looked, cut = true, cut || ctx.Err() != nil
				return nil
			}}
		})
		expect(t, res, rotation.StatusRolledBack, 1)
		if !looked || cut {
			t.Errorf("looked %v, cut off %v", looked, cut)
		}
	})
}
