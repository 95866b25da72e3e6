package kube

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRolloutOfEachKind(t *testing.T) {
	three, one := int32(3), int32(1)
	meta := metav1.ObjectMeta{Name: "x", Generation: 7, OwnerReferences: []metav1.OwnerReference{{Kind: "Cluster", Name: "pg", Controller: new(true)}}}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{annotationRestart: "r1"}}}
	base := rollout{name: "x", mark: "r1", generation: 7, observed: 6, operator: "Cluster/pg", desired: 3, current: 4, updated: 2, available: 1, settled: true}
	template.Spec.Containers = []corev1.Container{{Name: "app", ReadinessProbe: &corev1.Probe{}}}
	with := func(change func(*rollout)) rollout { r := base; change(&r); return r }

	deployment := func(change func(*appsv1.Deployment)) rollout {
		d := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Replicas: &three, Template: template},
			Status: appsv1.DeploymentStatus{ObservedGeneration: 6, Replicas: 4, UpdatedReplicas: 2, AvailableReplicas: 1}}
		change(d)
		r, _ := ofDeployment(d)
		return r
	}
	statefulSet := func(change func(*appsv1.StatefulSet)) rollout {
		s := &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Replicas: &three, Template: template},
			Status: appsv1.StatefulSetStatus{ObservedGeneration: 6, Replicas: 4, UpdatedReplicas: 2, AvailableReplicas: 1, CurrentRevision: "a", UpdateRevision: "a"}}
		change(s)
		r, _ := ofStatefulSet(s)
		return r
	}
	daemonSet := func(change func(*appsv1.DaemonSet)) rollout {
		d := &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Template: template},
			Status: appsv1.DaemonSetStatus{ObservedGeneration: 6, DesiredNumberScheduled: 3, CurrentNumberScheduled: 4, UpdatedNumberScheduled: 2, NumberAvailable: 1}}
		change(d)
		r, _ := ofDaemonSet(d)
		return r
	}
	for _, test := range []struct {
		name      string
		got, want rollout
	}{
		{"deployment", deployment(func(*appsv1.Deployment) {}), base},
		{"deployment without replicas", deployment(func(d *appsv1.Deployment) { d.Spec.Replicas = nil }), with(func(r *rollout) { r.desired = 1 })},
		{"paused", deployment(func(d *appsv1.Deployment) { d.Spec.Paused = true }),
			with(func(r *rollout) {
				r.obstacle, r.remedy = "it is paused: no pod would be replaced", "resume it (kubectl rollout resume)"
			})},
		{"gave up", deployment(func(d *appsv1.Deployment) {
			d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Reason: "ProgressDeadlineExceeded", Message: "timed out"}}
		}), with(func(r *rollout) { r.overdue = "ProgressDeadlineExceeded: timed out" })},
		{"statefulset", statefulSet(func(*appsv1.StatefulSet) {}), base},
		{"two revisions", statefulSet(func(s *appsv1.StatefulSet) { s.Status.UpdateRevision = "b" }), with(func(r *rollout) { r.settled = false })},
		{"on delete", statefulSet(func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType }),
			with(func(r *rollout) { r.obstacle, r.remedy = onDelete, onDeleteRemedy })},
		{"partition", statefulSet(func(s *appsv1.StatefulSet) {
			s.Spec.UpdateStrategy.RollingUpdate = &appsv1.RollingUpdateStatefulSetStrategy{Partition: &one}
		}), with(func(r *rollout) {
			r.obstacle = "its partition is 1: pods with a lower ordinal would keep the old password"
			r.remedy = "set spec.updateStrategy.rollingUpdate.partition to 0"
		})},
		{"no probe", daemonSet(func(d *appsv1.DaemonSet) { d.Spec.Template.Spec.Containers = []corev1.Container{{}} }), with(func(r *rollout) { r.blind = true })},
		{"only a startup probe", daemonSet(func(d *appsv1.DaemonSet) {
			d.Spec.Template.Spec.Containers = []corev1.Container{{StartupProbe: &corev1.Probe{}}}
		}), base},
		{"daemonset", daemonSet(func(*appsv1.DaemonSet) {}), base},
		{"daemonset on delete", daemonSet(func(d *appsv1.DaemonSet) { d.Spec.UpdateStrategy.Type = appsv1.OnDeleteDaemonSetStrategyType }),
			with(func(r *rollout) { r.obstacle, r.remedy = onDelete, onDeleteRemedy })},
	} {
		if test.got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, test.got, test.want)
		}
	}
}

func TestLastWriter(t *testing.T) {
	entry := func(name string, second int64, fields string) metav1.ManagedFieldsEntry {
		at := metav1.NewTime(time.Unix(second, 0))
		return metav1.ManagedFieldsEntry{Manager: name, Time: &at, FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)}}
	}
	const template, status = `{"f:spec":{"f:template":{}}}`, `{"f:status":{}}`
	fields := []metav1.ManagedFieldsEntry{
		entry("kubectl", 10, template), entry("argocd", 20, template), entry(manager, 30, template),
		entry("kube-controller-manager", 40, status), entry("helm", 15, template),
	}
	if got := lastWriter(fields); got != "argocd" {
		t.Errorf("last writer %q", got)
	}
	if got := lastWriter(fields[2:4]); got != "" {
		t.Errorf("last writer %q where there is none", got)
	}
}
