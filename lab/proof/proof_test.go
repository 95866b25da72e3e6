package proof

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/fakenode"
	"github.com/pgrotate/pgrotate/lab/program"
)

const replicas = 2

// start makes a platform with one workload of two pods, up and logged in.
func start(t *testing.T) *Pods {
	t.Helper()
	lab := labtest.Own(t)
	platform, err := fixture.New(t.Context(), lab)
	t.Cleanup(func() { check(t, platform.Close()) })
	check(t, err)
	check(t, platform.SQL(platform.Superuser, `GRANT pg_read_all_stats TO "`+platform.Rotator+`"`))
	p := &Pods{Platform: platform, roles: map[string]string{}}
	nodes, err := fakenode.Start(context.WithoutCancel(t.Context()), lab.Kubeconfig, 1, p.Serve)
	t.Cleanup(func() {
		if nodes != nil {
			check(t, nodes.Close())
		}
	})
	check(t, err)
	_, err = p.Cluster.AppsV1().Deployments(p.Name).Create(t.Context(), deployment(), metav1.CreateOptions{})
	check(t, err)
	check(t, p.Ready("shop"))
	return p
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func deployment() *appsv1.Deployment {
	labels, count := map[string]string{"app": "shop"}, int32(replicas)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: appsv1.DeploymentSpec{
		Replicas: &count, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "service", Image: "example.test/service:1",
				EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: fixture.Secret}}}}}},
		}},
	}}
	fakenode.Place(&d.Spec.Template.Spec)
	return d
}

// told is what the program's report tells of the pods.
type told struct {
	Status    string
	Workloads []struct {
		Pods []struct{ Pod, Evidence, Reason string }
	}
}

// rotate runs the real program.
func rotate(t *testing.T, p *Pods, strategy string, code int) (r told, said string) {
	t.Helper()
	folder := t.TempDir()
	path, err := program.Build(t.Context(), "../..", folder)
	check(t, err)
	inputs, err := p.Inputs()
	check(t, err)
	inputs["INPUT_STRATEGY"] = strategy
	inputs["INPUT_GITHUB_SECRETS"] = fixture.GitHubName + "\n" + fixture.GitHubUser + "=username"
	run, err := program.Start(path, folder, inputs)
	check(t, err)
	got, err := run.Wait(10 * time.Minute)
	if err != nil || got != code {
		t.Fatalf("exit code %d, want %d: %v\n%s", got, code, err, run.Said())
	}
	text, err := os.ReadFile(filepath.Join(folder, program.Report))
	check(t, err)
	check(t, json.Unmarshal(text, &r))
	return r, run.Said()
}

// proven demands that the sessions prove each pod of a rotation that succeeded.
func (r told) proven(t *testing.T) {
	t.Helper()
	if r.Status != "rotated" || len(r.Workloads) != 1 || len(r.Workloads[0].Pods) != replicas {
		t.Fatalf("%+v", r)
	}
	for _, pod := range r.Workloads[0].Pods {
		if pod.Evidence != "proven by session" {
			t.Errorf("pod %q: %s, %s", pod.Pod, pod.Evidence, pod.Reason)
		}
	}
}

// loggedIn demands that all living pods work as that role.
func (p *Pods) loggedIn(t *testing.T, role string, started int) {
	t.Helper()
	roles, n := p.Roles()
	if !slices.Equal(roles, slices.Repeat([]string{role}, replicas)) || n != started {
		t.Errorf("the pods logged in as %q, %d have started; want %d as %q, %d started", roles, n, replicas, role, started)
	}
}

func TestSessionsProveThePods(t *testing.T) {
	p := start(t)
	r, _ := rotate(t, p, "in-place", 0)
	r.proven(t)
	p.loggedIn(t, p.Name, 2*replicas)
	r, _ = rotate(t, p, "alternate", 0)
	r.proven(t)
	p.loggedIn(t, p.Twin(), 3*replicas)
}

// What a node's cache gives a pod after the Secret was written is a credential that
// still opens the door where two roles take turns.
func TestPodThatStartsWithTheFormerRoleIsReplaced(t *testing.T) {
	p := start(t)
	p.Stale(1)
	r, said := rotate(t, p, "alternate", 0)
	r.proven(t)
	p.loggedIn(t, p.Twin(), 2*replicas+1)
	if strings.Count(said, "is refuted and replaced once") != 1 {
		t.Errorf("nobody is told:\n%s", said)
	}
}

func TestPodsThatKeepTheFormerRoleTakeTheRotationBack(t *testing.T) {
	p := start(t)
	p.Stale(1000)
	r, said := rotate(t, p, "alternate", 1)
	if want := fmt.Sprintf("it has logged in as role %q since the change", p.Name); r.Status != "rolled-back" || !strings.Contains(said, want) {
		t.Errorf("status %q, want %q in\n%s", r.Status, want, said)
	}
	check(t, p.Consistent())
	roles, _ := p.Roles()
	if !slices.Equal(roles, slices.Repeat([]string{p.Name}, replicas)) {
		t.Errorf("the pods logged in as %q", roles)
	}
}
