package kube

import (
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// kind is one kind of workload with what can be done to it.
type kind struct {
	name    string
	plural  string
	aliases []string // other names that kubectl takes

	each    func(ctx context.Context, do func(rollout, *corev1.PodTemplateSpec)) error
	find    func(ctx context.Context, name string) (r rollout, exists bool, err error)
	patch   func(ctx context.Context, name string, body []byte, dryRun ...string) (rollout, error)
	convert func(runtime.Object) (rollout, string)
	feed    func(ctx context.Context, m *mirror[rollout])
}

// kinds are the workloads that a changed pod template restarts.
func (c *Cluster) kinds() []*kind {
	return []*kind{
		newKind("deployment", []string{"deploy"}, ofDeployment, resource[*appsv1.Deployment, *appsv1.DeploymentList]{
			c.apps, c.codec, c.namespace, "deployments",
			func() *appsv1.Deployment { return &appsv1.Deployment{} }, func() *appsv1.DeploymentList { return &appsv1.DeploymentList{} }}),
		newKind("statefulset", []string{"sts"}, ofStatefulSet, resource[*appsv1.StatefulSet, *appsv1.StatefulSetList]{
			c.apps, c.codec, c.namespace, "statefulsets",
			func() *appsv1.StatefulSet { return &appsv1.StatefulSet{} }, func() *appsv1.StatefulSetList { return &appsv1.StatefulSetList{} }}),
		newKind("daemonset", []string{"ds"}, ofDaemonSet, resource[*appsv1.DaemonSet, *appsv1.DaemonSetList]{
			c.apps, c.codec, c.namespace, "daemonsets",
			func() *appsv1.DaemonSet { return &appsv1.DaemonSet{} }, func() *appsv1.DaemonSetList { return &appsv1.DaemonSetList{} }}),
	}
}

func newKind[O object, L runtime.Object](name string, short []string, of func(O) (rollout, *corev1.PodTemplateSpec), r resource[O, L]) *kind {
	return &kind{
		name: name, plural: r.plural, aliases: append(short, name, r.plural, name+".apps", r.plural+".apps"),
		each: func(ctx context.Context, do func(rollout, *corev1.PodTemplateSpec)) error {
			return r.each(ctx, metav1.ListOptions{}, func(o O) { do(of(o)) })
		},
		find: func(ctx context.Context, name string) (seen rollout, exists bool, err error) {
			only := metav1.ListOptions{FieldSelector: "metadata.name=" + name} // who may list need not be allowed to get
			err = r.each(ctx, only, func(o O) { seen, _ = of(o); exists = true })
			return seen, exists, err
		},
		patch: func(ctx context.Context, name string, body []byte, dryRun ...string) (rollout, error) {
			o, err := r.patch(ctx, name, body, dryRun...)
			if err != nil {
				return rollout{}, err
			}
			state, _ := of(o)
			return state, nil
		},
		convert: func(o runtime.Object) (rollout, string) {
			state, _ := of(o.(O))
			return state, name + "/" + state.name
		},
		feed: func(ctx context.Context, m *mirror[rollout]) { feed(ctx, m, r) },
	}
}

// kindNamed finds the kind by any of its names.
func kindNamed(kinds []*kind, name string) *kind {
	i := slices.IndexFunc(kinds, func(k *kind) bool { return slices.Contains(k.aliases, name) })
	if i < 0 {
		return nil
	}
	return kinds[i]
}
