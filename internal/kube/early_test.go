package kube

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// TestAReadyPodIsAskedWhileAFormerOneEnds: what it says then counts in the end.
func TestAReadyPodIsAskedWhileAFormerOneEnds(t *testing.T) {
	t.Parallel()
	admin := lab(t)
	putSecret(t, admin, servedSecret())
	well := service(t, labtest.Open(t).PostgresTrustURL)
	putDeployment(t, admin, "core", 1, func(d *appsv1.Deployment) {
		well(d)
		d.Spec.Template.Spec.TerminationGracePeriodSeconds = new(int64(10))
		d.Spec.Template.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 8}}}
	})
	var asked, former atomic.Int32
	c, _ := throughProxy(t, admin, func(r *http.Request) int {
		if !strings.HasSuffix(r.URL.Path, "/exec") {
			return 0
		}
		asked.Add(1)
		err := admin.pods(admin.namespace).each(r.Context(), metav1.ListOptions{}, func(p *corev1.Pod) {
			if p.Annotations[annotationRestart] == "" && p.Status.Phase == corev1.PodRunning { // not one whose object alone is left
				former.Add(1)
			}
		})
		if err != nil {
			t.Error(err)
		}
		return 0
	})
	w := settledWorkloads(t, c, Discovery{}, options(func(o *Options) { o.HealthCommand = []string{"/healthcheck"} }))[0]
	proofs, err := w.Restart(t.Context(), "r1", agreed, nil, (&diary{}).write)
	if err != nil || len(proofs) != 1 || proofs[0].Evidence != secret.ByHealthCommand || asked.Load() != 1 || former.Load() != 1 {
		t.Errorf("asked %d times, beside %d former pods: %+v, %v", asked.Load(), former.Load(), proofs, err)
	}
}

// TestAnEarlyYesIsOfOneLife: a container that has been restarted since is asked again,
// as is a pod that has not said yes.
func TestAnEarlyYesIsOfOneLife(t *testing.T) {
	p := podNamed("core-1", "u1")
	given := &answer{done: make(chan struct{})}
	a := &attempt{early: early{asked: map[life]*answer{p.life(): given}}}
	close(given.done)
	if a.agreed(p) {
		t.Error("it has not said yes")
	}
	given.yes = true
	restarted := p
	restarted.restarts++
	if !a.agreed(p) || a.agreed(restarted) || a.agreed(podNamed("core-1", "u2")) {
		t.Error("the yes of another container counts, or its own does not")
	}
}

// TestWhatComesWhilePodsAreAskedIsAsked: a pod may be evicted then, or crash.
func TestWhatComesWhilePodsAreAskedIsAsked(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*corev1.Pod) // makes the other pod of the one that is asked
		late   bool
		want   string
	}{
		{"a successor", func(p *corev1.Pod) { p.Name, p.UID = "shop-0-x-9", "other" }, false, "shop-0-x-9"},
		{"a successor that is not there yet", func(p *corev1.Pod) { p.Name, p.UID = "shop-0-x-9", "other" }, true, "shop-0-x-9"},
		{"a container that was started again", func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: 1}} }, false, "shop-0-x-2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			town := &town{}
			w := town.workloads(t, 1, options(func(o *Options) { o.LogLines = 10 }))[0]
			town.fault = func(_ context.Context, request string) error {
				if request != "GET pods/log" || town.requests()[request] > 1 {
					return nil
				}
				town.evict(0)
				seen(t, w, 0)
				if test.late {
					time.AfterFunc(50*time.Millisecond, func() { town.admit(0, test.change) })
					return nil
				}
				town.admit(0, test.change)
				seen(t, w, 1)
				return nil
			}
			proofs, err := w.Restart(t.Context(), "r1", agreed, nil, (&diary{}).write)
			if err != nil || len(proofs) != 1 || proofs[0].Pod != test.want || town.requests()["GET pods/log"] != 2 {
				t.Errorf("%+v, %v; asked %v", proofs, err, town.requests())
			}
		})
	}
}

// seen waits until the watch shows so many pods.
func seen(t *testing.T, w *Workload, pods int) {
	for range 10_000 {
		if len(w.watcher.see(w.kind, w.id()).pods) == pods {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Errorf("the watch does not show %d pods", pods)
}

// TestEarlyHealthCommandsTakeTurns: no more of a workload at once than at the end, and
// none keeps the others waiting for as long.
func TestEarlyHealthCommandsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		way := &hospital{}
		w := &Workload{cluster: way.cluster(t), options: Options{HealthCommand: []string{"/healthcheck"}}}
		a, began := &attempt{Workload: w}, time.Now()
		var pods []pod
		for i := range 3 * together {
			pods = append(pods, podNamed("core", fmt.Sprint(i)))
		}
		a.askEarly(t.Context(), pods)
		a.askEarly(t.Context(), pods)
		if a.agreed(pods[0]) || way.all.Load() < together {
			t.Error("nobody was asked, or says yes")
		}
		a.early.running.Wait()
		if all, took := way.all.Load(), time.Since(began); all != 3*together || took != 3*earlyTimeout {
			t.Errorf("%d commands, in %s", all, took)
		}
	})
}
