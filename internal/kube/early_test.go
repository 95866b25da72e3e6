package kube

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
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
			if p.DeletionTimestamp != nil || p.Annotations[annotationRestart] == "" {
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

// TestAPodThatComesWhileOthersAreAskedIsAsked: one may be evicted then.
func TestAPodThatComesWhileOthersAreAskedIsAsked(t *testing.T) {
	const successor = "shop-0-x-3"
	town := &town{}
	w := town.workloads(t, 1, options(func(o *Options) { o.LogLines = 10 }))[0]
	town.fault = func(_ context.Context, request string) error {
		if request != "GET pods/log" || town.requests()[request] > 1 {
			return nil
		}
		town.mu.Lock()
		town.deploy(0) // of the same template
		town.mu.Unlock()
		for pods := w.watcher.see(w.kind, w.id()).pods; len(pods) != 1 || pods[0].name != successor; pods = w.watcher.see(w.kind, w.id()).pods {
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	proofs, err := w.Restart(t.Context(), "r1", agreed, nil, (&diary{}).write)
	if err != nil || len(proofs) != 1 || proofs[0].Pod != successor {
		t.Errorf("%+v, %v", proofs, err)
	}
}
