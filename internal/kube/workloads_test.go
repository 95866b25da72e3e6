package kube

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	pauseImage   = "pgrotate.lab/pause:1"
	serviceImage = "pgrotate.lab/service:1"
)

// podTemplate is one container on the node's network that reads the Secret.
func podTemplate(name string) corev1.PodTemplateSpec {
	grace, no := int64(1), false
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{HostNetwork: true, AutomountServiceAccountToken: &no, TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{
			Name: "app", Image: pauseImage, ImagePullPolicy: corev1.PullNever,
			Env: []corev1.EnvVar{{Name: "PGPASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: servedName}, Key: "password"}}}},
		}}},
	}
}

func selector(name string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}
}

func putDeployment(t *testing.T, c *Cluster, name string, n int32, change func(*appsv1.Deployment)) {
	t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{Replicas: &n, Selector: selector(name), Template: podTemplate(name)}}
	if change != nil {
		change(d)
	}
	put(t, c, "deployments", d)
}

func putStatefulSet(t *testing.T, c *Cluster, name string, n int32, change func(*appsv1.StatefulSet)) {
	t.Helper()
	s := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.StatefulSetSpec{Replicas: &n, Selector: selector(name), Template: podTemplate(name)}}
	if change != nil {
		change(s)
	}
	put(t, c, "statefulsets", s)
}

func putDaemonSet(t *testing.T, c *Cluster, name string, change func(*appsv1.DaemonSet)) {
	t.Helper()
	d := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DaemonSetSpec{Selector: selector(name), Template: podTemplate(name)}}
	if change != nil {
		change(d)
	}
	put(t, c, "daemonsets", d)
}

func put(t *testing.T, c *Cluster, plural string, o runtime.Object) {
	t.Helper()
	if err := c.apps.Post().Namespace(c.namespace).Resource(plural).Body(o).Do(t.Context()).Error(); err != nil {
		t.Fatalf("create %s: %v", plural, err)
	}
}

// options are the shortest that a test gets along with.
func options(change func(*Options)) Options {
	o := Options{RolloutTimeout: time.Minute}
	if change != nil {
		change(&o)
	}
	return o
}

// settledWorkloads waits until the controllers have done what was put, and
// returns the workloads that read the served Secret.
func settledWorkloads(t *testing.T, c *Cluster, d Discovery, o Options) []*Workload {
	t.Helper()
	d.Secrets = []string{servedName}
	found, err := c.Workloads(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range found {
		err := wait.PollUntilContextCancel(t.Context(), 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			r, err := w.mark(ctx, "dry-run", "", metav1.DryRunAll)
			return r.observed > 0 && reported(r) && (w.kind.name != "daemonset" || r.desired > 0), err
		})
		if err != nil {
			t.Fatalf("wait for %s: %v", w, err)
		}
	}
	return found
}

// agreed lets every restart go ahead.
func agreed(context.Context) error { return nil }

// diary is a progress function that remembers. Safe for concurrent use.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, "\n")
}

func jsonOf(o any) (string, error) {
	raw, err := json.Marshal(o)
	return string(raw), err
}

func awaitPod(t *testing.T, c *Cluster, name string) {
	t.Helper()
	err := wait.PollUntilContextCancel(t.Context(), 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		o, err := c.pods(c.namespace).get(ctx, name)
		return err == nil && isReady(o), err
	})
	if err != nil {
		t.Fatalf("wait for pod %q: %v", name, err)
	}
}
