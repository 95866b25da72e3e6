// Package rollouts times the rollouts of a namespace from outside.
package rollouts

import (
	"context"
	"errors"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// patience is how long the first look at the namespace may take.
const patience = time.Minute

// Watch follows the Deployments and StatefulSets of a namespace until end is called,
// which returns the longest time that the rollout of one took: from the change of its
// template until it is complete and the last of its pods from before has ended. Zero:
// none has come to that.
func Watch(ctx context.Context, client kubernetes.Interface, namespace string) (end func() time.Duration, err error) {
	ctx, stop := context.WithCancel(ctx)
	all := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	kinds := []cache.SharedIndexInformer{all.Apps().V1().Deployments().Informer(), all.Apps().V1().StatefulSets().Informer(), all.Core().V1().Pods().Informer()}
	all.Start(ctx.Done())
	if err := synced(ctx, kinds); err != nil {
		stop()
		return nil, err
	}
	var there []any
	for _, kind := range kinds {
		there = append(there, kind.GetStore().List()...)
	}
	l := newLog(there)
	for _, kind := range kinds {
		if _, err := kind.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: l.seen, UpdateFunc: func(_, now any) { l.seen(now) }, DeleteFunc: l.gone}); err != nil {
			stop()
			return nil, err
		}
	}
	return func() time.Duration {
		stop()
		all.Shutdown()
		return l.longest()
	}, nil
}

func synced(ctx context.Context, kinds []cache.SharedIndexInformer) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, kind := range kinds {
		if !cache.WaitForCacheSync(ctx.Done(), kind.HasSynced) {
			return errors.New("look at the workloads: the API server does not tell of them")
		}
	}
	return nil
}

// rollout is that of one workload.
type rollout struct {
	generation  int64 // before it
	selector    labels.Selector
	old         int       // pods from before it that are left
	began, last time.Time // when the template was changed, and what was waited for happened
	complete    bool
}

// log holds the rollouts. Safe for concurrent use.
type log struct {
	mu   sync.Mutex
	all  map[types.UID]*rollout // by workload
	pods map[types.UID]*rollout // by pod from before
}

// newLog begins with what is there.
func newLog(there []any) *log {
	l := &log{all: map[types.UID]*rollout{}, pods: map[types.UID]*rollout{}}
	var pods []*corev1.Pod
	for _, o := range there {
		switch o := o.(type) {
		case *appsv1.Deployment:
			l.expect(o.ObjectMeta, o.Spec.Selector)
		case *appsv1.StatefulSet:
			l.expect(o.ObjectMeta, o.Spec.Selector)
		case *corev1.Pod:
			pods = append(pods, o)
		}
	}
	for _, pod := range pods {
		l.belongs(pod)
	}
	return l
}

func (l *log) expect(of metav1.ObjectMeta, selects *metav1.LabelSelector) {
	selector, err := metav1.LabelSelectorAsSelector(selects)
	if err != nil {
		selector = labels.Nothing()
	}
	l.all[of.UID] = &rollout{generation: of.Generation, selector: selector}
}

func (l *log) belongs(pod *corev1.Pod) {
	for _, r := range l.all {
		if r.selector.Matches(labels.Set(pod.Labels)) {
			l.pods[pod.UID] = r
			r.old++
			return
		}
	}
}

func (l *log) seen(o any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch o := o.(type) {
	case *appsv1.Deployment:
		l.step(o.ObjectMeta, deployed(o))
	case *appsv1.StatefulSet:
		l.step(o.ObjectMeta, set(o))
	}
}

func (l *log) step(of metav1.ObjectMeta, complete bool) {
	r := l.all[of.UID]
	switch {
	case r == nil || of.Generation == r.generation:
	case r.began.IsZero():
		r.began = time.Now()
	case complete && !r.complete:
		r.complete, r.last = true, time.Now()
	}
}

func (l *log) gone(o any) {
	if missed, is := o.(cache.DeletedFinalStateUnknown); is {
		o = missed.Obj
	}
	pod, is := o.(*corev1.Pod)
	if !is {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.pods[pod.UID]; r != nil {
		r.old--
		r.last = time.Now()
	}
}

func (l *log) longest() (longest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.all {
		if !r.began.IsZero() && r.complete && r.old == 0 {
			longest = max(longest, r.last.Sub(r.began))
		}
	}
	return longest
}

// deployed tells a complete Deployment.
// https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#complete-deployment
func deployed(d *appsv1.Deployment) bool {
	s, wanted := d.Status, *d.Spec.Replicas
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == wanted && s.Replicas == wanted && s.AvailableReplicas == wanted
}

// set tells a complete StatefulSet.
// https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/stateful-set-v1/#StatefulSetStatus
func set(s *appsv1.StatefulSet) bool {
	now, wanted := s.Status, *s.Spec.Replicas
	return now.ObservedGeneration >= s.Generation && now.UpdateRevision == now.CurrentRevision && now.Replicas == wanted && now.AvailableReplicas == wanted
}
