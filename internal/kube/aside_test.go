package kube

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
)

// waiting is a pod that no node takes: it is there, and nothing has to run.
func waiting(labels map[string]string) corev1.PodTemplateSpec {
	template := podTemplate("waiting")
	template.Labels, template.Spec.NodeSelector, template.Spec.RestartPolicy = labels, map[string]string{"no": "node"}, corev1.RestartPolicyNever
	return template
}

// putOthers makes one of everything that reads the Secret and is not restarted,
// and waits for the pods.
func putOthers(t *testing.T, c *Cluster) {
	t.Helper()
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name} }
	hash := map[string]string{"app": "web", "rollouts-pod-template-hash": "77c"}
	set := func(labels map[string]string) appsv1.ReplicaSetSpec {
		template := waiting(labels)
		template.Spec.RestartPolicy = corev1.RestartPolicyAlways
		return appsv1.ReplicaSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template}
	}
	run := batchv1.JobSpec{Template: waiting(nil)}
	for _, o := range []struct {
		client rest.Interface
		plural string
		object runtime.Object
	}{
		{c.core, "pods", &corev1.Pod{ObjectMeta: meta("alone"), Spec: waiting(nil).Spec}},
		{c.batch, "jobs", &batchv1.Job{ObjectMeta: meta("report"), Spec: run}},
		{c.batch, "cronjobs", &batchv1.CronJob{ObjectMeta: meta("nightly"), Spec: batchv1.CronJobSpec{Schedule: "0 0 1 1 *", JobTemplate: batchv1.JobTemplateSpec{Spec: run}}}},
		{c.apps, "replicasets", &appsv1.ReplicaSet{ObjectMeta: meta("orphan"), Spec: set(map[string]string{"app": "orphan"})}},
		{c.apps, "replicasets", &appsv1.ReplicaSet{ObjectMeta: meta("web-77c"), Spec: set(hash)}},
	} {
		if err := o.client.Post().Namespace(c.namespace).Resource(o.plural).Body(o.object).Do(t.Context()).Error(); err != nil {
			t.Fatalf("create %s: %v", o.plural, err)
		}
	}
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return len(podsOf(t, c)) == 4, nil })
	if err != nil {
		t.Fatalf("the pods are not made: %v", err)
	}
}

// TestWorkloadsNotRestarted names everything else that reads the Secret, with
// what happens to it. What would silently keep the old password is refused.
func TestWorkloadsNotRestarted(t *testing.T) {
	c := lab(t)
	putOthers(t, c)
	for _, unhealthy := range []Reaction{Refuse, Warn} {
		found, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}}, options(func(o *Options) { o.Unhealthy = unhealthy }))
		if err != nil {
			t.Fatal(err)
		}
		want := []struct{ name, says, hint string }{ // hint empty: only named
			{"cronjob/nightly", "is not restarted: its next run reads the new password", ""},
			{"job/report", "is running: its pods read the credential when they started", "wait until it has ended"},
			{"pod/alone", "is a pod of its own: nothing replaces it", "put it under a Deployment"},
			{"replicaset/orphan", "belongs to no Deployment", "scale it to 0"},
			{"rollout/web", "is an Argo Rollout", "kubectl argo rollouts restart"},
		}
		if len(found) != len(want) {
			t.Fatalf("found %q", stringsOf(found))
		}
		for i, w := range found {
			change, warnings, err := w.Plan(t.Context())
			text := strings.Join(warnings, "\n")
			if want[i].hint != "" && unhealthy == Refuse {
				f := wantFailure(t, err, refused, "restart "+want[i].name+": it ")
				if !strings.Contains(f.Hint(), want[i].hint) || !strings.Contains(f.Hint(), "list in `workloads`") {
					t.Errorf("%s: hint %q", w, f.Hint())
				}
				text = err.Error()
			} else if err != nil {
				t.Errorf("%s: %v", w, err)
			}
			if w.String() != want[i].name || change != "" || !strings.Contains(text, want[i].says) || !strings.Contains(text, `(container "app": env PGPASSWORD from key "password")`) {
				t.Errorf("%s: change %q, %q; want %+v", w, change, text, want[i])
			}
			if _, err := w.Restart(t.Context(), "r1", agreed, nil, func(string) {}); err != nil {
				t.Errorf("%s: restart: %v", w, err)
			}
		}
	}
	for _, p := range podsOf(t, c) {
		if p.Annotations[annotationRestart] != "" {
			t.Errorf("pod %q was touched", p.Name)
		}
	}
}

// TestWorkloadsListedAlone looks for nothing beside a list.
func TestWorkloadsListedAlone(t *testing.T) {
	c := lab(t)
	putOthers(t, c)
	putDeployment(t, c, "shop", 0, nil)
	found, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}, Listed: []string{"deploy/shop"}}, options(nil))
	if err != nil || !slices.Equal(stringsOf(found), []string{"deployment/shop"}) {
		t.Errorf("found %q, %v", stringsOf(found), err)
	}
}

// TestAreaClimbsFromPods counts what reads the Secret only by a pod of a former template.
func TestAreaClimbsFromPods(t *testing.T) {
	deployment := &kind{name: "deployment"}
	all := []*Workload{{kind: deployment, name: "changed"}, {kind: deployment, name: "reader", ways: []string{"by template"}}, {kind: deployment, name: "stranger"}}
	living := map[string][]string{"deployment/changed": {"by a pod"}, "deployment/reader": {"by a pod"}, "cluster.postgresql.cnpg.io/pg": {"by a pod"}}
	a := &area{}
	found, err := a.choose(all, living)
	if err != nil || !slices.Equal(stringsOf(found), []string{"deployment/changed", "deployment/reader"}) || found[0].ways[0] != "by a pod" || found[1].ways[0] != "by template" {
		t.Errorf("chosen %q, %v", stringsOf(found), err)
	}
	others := a.others(all, living)
	if !slices.Equal(stringsOf(others), []string{"cluster.postgresql.cnpg.io/pg"}) || !others[0].aside.stale || !strings.Contains(others[0].aside.reason, "pgrotate cannot restart") {
		t.Errorf("others %q", stringsOf(others))
	}
}

// TestAreaLooksAtLivingPodsOnly leaves out what has ended or is about to.
func TestAreaLooksAtLivingPodsOnly(t *testing.T) {
	c := lab(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "leaving", Finalizers: []string{"pgrotate.io/test"}}, Spec: waiting(nil).Spec}
	if _, err := c.pods(c.namespace).create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	a := &area{cluster: c, secrets: []string{servedName}, locate: func() (netip.Addr, error) { return netip.Addr{}, nil }}
	pods, err := a.survey(t.Context())
	if err != nil || len(pods.ways["pod/leaving"]) == 0 {
		t.Fatalf("%+v, %v", pods, err)
	}
	erase(t, c, "pods", c.namespace, "leaving")
	pods, err = a.survey(t.Context())
	if err != nil || len(pods.ways) > 0 {
		t.Errorf("%+v, %v", pods, err)
	}
	if _, err := c.pods(c.namespace).patch(t.Context(), "leaving", []byte(`{"metadata":{"finalizers":null}}`)); err != nil {
		t.Fatal(err)
	}
}
