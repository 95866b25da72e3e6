package kube

import (
	"bytes"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// annotationRestart marks a pod template, and so every pod made from it, with
// the rotation that restarted it.
const annotationRestart = annotationPrefix + "restart"

// rollout is what one read of a workload says, whatever its kind: what its
// controller is to do and how far it has come.
type rollout struct {
	name       string
	mark       string // of the pod template
	version    string // resourceVersion
	generation int64  // of the specification
	observed   int64  // generation that the controller has seen

	desired   int32 // pods there should be
	current   int32 // pods there are, those that terminate not counted
	updated   int32 // pods made from the present template
	available int32 // pods that have been ready for long enough
	settled   bool  // the kind's own word that no former revision is in use

	overdue  string // the controller's own word that it gave up, or empty
	obstacle string // why a restart would not reach every pod, or empty
	remedy   string // what to do about the obstacle
	operator string // what owns the workload and may undo a change, or empty
	reloader reloader
	writer   string // field manager of the last change by another, where it is known
	blind    bool   // a container has neither a readiness probe nor a startup probe: its pods are ready as soon as they start
}

const (
	onDelete       = "its update strategy is OnDelete: no pod would be replaced"
	onDeleteRemedy = "set spec.updateStrategy.type to RollingUpdate"
)

func ofDeployment(d *appsv1.Deployment) (rollout, *corev1.PodTemplateSpec) {
	r := common(d, d.Spec.Template, d.Status.ObservedGeneration)
	r.desired = replicas(d.Spec.Replicas)
	r.current, r.updated, r.available = d.Status.Replicas, d.Status.UpdatedReplicas, d.Status.AvailableReplicas
	r.settled = true
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Reason == "ProgressDeadlineExceeded" {
			r.overdue = c.Reason + ": " + c.Message
		}
	}
	if d.Spec.Paused {
		r.obstacle, r.remedy = "it is paused: no pod would be replaced", "resume it (kubectl rollout resume)"
	}
	return r, &d.Spec.Template
}

func ofStatefulSet(s *appsv1.StatefulSet) (rollout, *corev1.PodTemplateSpec) {
	r := common(s, s.Spec.Template, s.Status.ObservedGeneration)
	r.desired = replicas(s.Spec.Replicas)
	r.current, r.updated, r.available = s.Status.Replicas, s.Status.UpdatedReplicas, s.Status.AvailableReplicas
	r.settled = s.Status.CurrentRevision == s.Status.UpdateRevision
	if s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		r.obstacle, r.remedy = onDelete, onDeleteRemedy
	}
	if u := s.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil && *u.Partition > 0 {
		r.obstacle = fmt.Sprintf("its partition is %d: pods with a lower ordinal would keep the old password", *u.Partition)
		r.remedy = "set spec.updateStrategy.rollingUpdate.partition to 0"
	}
	return r, &s.Spec.Template
}

func ofDaemonSet(d *appsv1.DaemonSet) (rollout, *corev1.PodTemplateSpec) {
	r := common(d, d.Spec.Template, d.Status.ObservedGeneration)
	r.desired, r.current = d.Status.DesiredNumberScheduled, d.Status.CurrentNumberScheduled
	r.updated, r.available = d.Status.UpdatedNumberScheduled, d.Status.NumberAvailable
	r.settled = true
	if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		r.obstacle, r.remedy = onDelete, onDeleteRemedy
	}
	return r, &d.Spec.Template
}

func common(o metav1.Object, template corev1.PodTemplateSpec, observed int64) rollout {
	r := rollout{name: o.GetName(), mark: template.Annotations[annotationRestart],
		version: o.GetResourceVersion(), generation: o.GetGeneration(), observed: observed, writer: lastWriter(o.GetManagedFields())}
	r.blind = slices.ContainsFunc(template.Spec.Containers, func(c corev1.Container) bool { return c.ReadinessProbe == nil && c.StartupProbe == nil })
	r.reloader = readReloader(o.GetAnnotations(), template.Annotations)
	if owner := metav1.GetControllerOf(o); owner != nil {
		r.operator = owner.Kind + "/" + owner.Name
	}
	return r
}

// replicas is the API's default where the field is not set.
func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// lastWriter names who, other than pgrotate, changed the pod template last. Who
// only removed something from it leaves no trace.
func lastWriter(fields []metav1.ManagedFieldsEntry) string {
	var last metav1.ManagedFieldsEntry
	for _, f := range fields {
		if f.Manager != manager && f.FieldsV1 != nil && bytes.Contains(f.FieldsV1.Raw, []byte(`"f:template"`)) && !f.Time.Before(last.Time) {
			last = f
		}
	}
	return last.Manager
}
