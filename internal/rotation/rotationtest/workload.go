package rotationtest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// Workload is a set of pods, seen from outside, too.
type Workload struct {
	Workload rotation.Workload
	// Pods returns the pods that are there, by name, with the mark each carries.
	Pods func() map[string]string
	// Break makes every pod that starts from now on come up wrong.
	Break func()
}

// TestWorkload holds a Workload to what rotation expects of it. Every subtest
// gets one of its own from the factory, up and healthy, never restarted.
func TestWorkload(t *testing.T, factory func(*testing.T) Workload) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Workload)
	}{
		{"PlanChangesNothing", workloadPlan},
		{"RestartMarksEveryPod", workloadRestart},
		{"RestartAgainChangesNothing", workloadAgain},
		{"AnotherMarkRestartsAgain", workloadBack},
		{"RestartOfAnotherIsSeen", workloadFenced},
		{"NobodySureChangesNothing", workloadUnsure},
		{"BadPodsAreUnhealthy", workloadBroken},
		{"StopsWhenTold", workloadStops},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := factory(t)
			wantName(t, w.Workload)
			c.run(t, w)
		})
	}
}

func silent(string) {}

var errOver = errors.New("it is over")

func agreed(context.Context) error { return nil }

func (w Workload) restart(t *testing.T, mark string) []string {
	t.Helper()
	proofs, err := w.Workload.Restart(t.Context(), mark, agreed, nil, silent)
	must(t, err, "restart")
	pods := w.Pods()
	wantProofs(t, proofs, len(pods))
	if len(pods) == 0 {
		t.Error("no pod is left")
	}
	var names []string
	for name, carries := range pods {
		if names = append(names, name); carries != mark {
			t.Errorf("pod %s carries the mark %q, want %q", name, carries, mark)
		}
	}
	slices.Sort(names)
	w.wantMarks(t, mark, len(pods))
	return names
}

// wantMarks demands that Marks shows the same as is seen from outside.
func (w Workload) wantMarks(t *testing.T, mark string, pods int) {
	t.Helper()
	marks, err := w.Workload.Marks(t.Context())
	must(t, err, "read the marks")
	if len(marks) != pods {
		t.Errorf("%d marks of %d pods", len(marks), pods)
	}
	for _, p := range marks {
		if p.Pod == "" || p.Mark != mark || p.Created.IsZero() {
			t.Errorf("pod %q, made %v, shows the mark %q, want %q", p.Pod, p.Created, p.Mark, mark)
		}
	}
}

// wantProofs demands one proof of each pod, none of them refuted, and a reason
// for each that is not proven.
func wantProofs(t *testing.T, proofs []secret.Proof, pods int) {
	t.Helper()
	if len(proofs) != pods {
		t.Errorf("%d proofs of %d pods", len(proofs), pods)
	}
	for _, p := range proofs {
		if p.Pod == "" || p.Evidence == secret.Refuted || p.Evidence == secret.NotProven && p.Reason == "" {
			t.Errorf("pod %q is %v because of %q", p.Pod, p.Evidence, p.Reason)
		}
	}
}

func workloadPlan(t *testing.T, w Workload) {
	before := w.names()
	change, _, err := w.Workload.Plan(t.Context())
	must(t, err, "plan")
	if change == "" {
		t.Error("the plan does not say what would happen")
	}
	if !slices.Equal(before, w.names()) {
		t.Error("the plan restarted the pods")
	}
}

func (w Workload) names() []string {
	var names []string
	for name := range w.Pods() {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func workloadRestart(t *testing.T, w Workload) {
	before, told := w.names(), 0
	_, err := w.Workload.Restart(t.Context(), "contract1", agreed, nil, func(string) { told++ })
	must(t, err, "restart")
	for _, name := range w.restart(t, "contract1") {
		if slices.Contains(before, name) {
			t.Errorf("pod %s was not replaced", name)
		}
	}
	if told == 0 {
		t.Error("the restart told nobody how it went on")
	}
}

func workloadAgain(t *testing.T, w Workload) {
	first := w.restart(t, "contract2")
	if again := w.restart(t, "contract2"); !slices.Equal(first, again) {
		t.Errorf("the same mark restarted the pods again: %q, then %q", first, again)
	}
}

func workloadBack(t *testing.T, w Workload) {
	there := w.restart(t, "contract3")
	back := w.restart(t, "contract3-back")
	for _, name := range back {
		if slices.Contains(there, name) {
			t.Errorf("pod %s was not replaced on the way back", name)
		}
	}
}

// Another run restarts the workload after it was read: what was known of it
// then is no ground to write. It is read, and sure is asked, again.
func workloadFenced(t *testing.T, w Workload) {
	asked := 0
	between := func(ctx context.Context) error {
		if asked++; asked > 1 {
			return errOver
		}
		_, err := w.Workload.Restart(ctx, "contract6-other", agreed, nil, silent)
		return err
	}
	if _, err := w.Workload.Restart(t.Context(), "contract6", between, nil, silent); !errors.Is(err, errOver) {
		t.Errorf("a restart on the strength of an old read ended with %v, want %v", err, errOver)
	}
	for name, carries := range w.Pods() {
		if carries != "contract6-other" {
			t.Errorf("pod %s carries the mark %q", name, carries)
		}
	}
}

func workloadUnsure(t *testing.T, w Workload) {
	before, asked := w.names(), 0
	unsure := func(context.Context) error { asked++; return errOver }
	if _, err := w.Workload.Restart(t.Context(), "contract7", unsure, nil, silent); !errors.Is(err, errOver) || asked != 1 {
		t.Errorf("a restart that nobody was sure of ended with %v, want %v, after %d questions", err, errOver, asked)
	}
	if !slices.Equal(before, w.names()) {
		t.Error("the pods were restarted")
	}
}

func workloadBroken(t *testing.T, w Workload) {
	w.Break()
	_, err := w.Workload.Restart(t.Context(), "contract4", agreed, nil, silent)
	wantClass(t, err, rotation.Unhealthy, "restart pods that come up wrong")
}

func workloadStops(t *testing.T, w Workload) {
	before := w.names()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := w.Workload.Restart(ctx, "contract5", agreed, nil, silent)
	wantClass(t, err, rotation.Unavailable, "restart after being told to stop")
	if !slices.Equal(before, w.names()) {
		t.Error("the pods were restarted after the run was told to stop")
	}
}
