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

const (
	patience  = time.Minute // for the first look at the namespace
	lingering = time.Minute // that old pods may take after end is called
)

// Watch follows the Deployments and StatefulSets of a namespace until end is called,
// which waits for those that have begun and returns the longest time that the first
// rollout of one took: from its change until it is complete and the last of its pods
// from before has ended. Zero: none has begun, or one does not come to its end.
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
	h := newHistory(there)
	for _, kind := range kinds {
		if _, err := kind.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: h.seen, UpdateFunc: func(_, now any) { h.seen(now) }, DeleteFunc: h.gone}); err != nil {
			stop()
			return nil, err
		}
	}
	return func() time.Duration {
		for began := time.Now(); h.open() && time.Since(began) < lingering; {
			time.Sleep(50 * time.Millisecond)
		}
		stop()
		all.Shutdown()
		return h.longest()
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
	began, last time.Time // when it was changed, and what was waited for happened
	complete    bool
}

// history holds the rollouts. Safe for concurrent use.
type history struct {
	mu   sync.Mutex
	all  map[types.UID]*rollout // by workload
	pods map[types.UID]*rollout // by pod from before
}

// newHistory begins with what is there.
func newHistory(there []any) *history {
	h := &history{all: map[types.UID]*rollout{}, pods: map[types.UID]*rollout{}}
	var pods []*corev1.Pod
	for _, o := range there {
		switch o := o.(type) {
		case *appsv1.Deployment:
			h.expect(o.ObjectMeta, o.Spec.Selector)
		case *appsv1.StatefulSet:
			h.expect(o.ObjectMeta, o.Spec.Selector)
		case *corev1.Pod:
			pods = append(pods, o)
		}
	}
	for _, pod := range pods {
		h.belongs(pod)
	}
	return h
}

func (h *history) expect(of metav1.ObjectMeta, selects *metav1.LabelSelector) {
	selector, err := metav1.LabelSelectorAsSelector(selects)
	if err != nil {
		selector = labels.Nothing()
	}
	h.all[of.UID] = &rollout{generation: of.Generation, selector: selector}
}

func (h *history) belongs(pod *corev1.Pod) {
	for _, r := range h.all {
		if r.selector.Matches(labels.Set(pod.Labels)) {
			h.pods[pod.UID] = r
			r.old++
			return
		}
	}
}

func (h *history) seen(o any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch o := o.(type) {
	case *appsv1.Deployment:
		h.step(o.ObjectMeta, deployed(o))
	case *appsv1.StatefulSet:
		h.step(o.ObjectMeta, updated(o))
	case *corev1.Pod:
		if o.Status.Phase == corev1.PodSucceeded || o.Status.Phase == corev1.PodFailed { // its object is about to go
			h.ended(o)
		}
	}
}

func (h *history) step(of metav1.ObjectMeta, complete bool) {
	r := h.all[of.UID]
	if r == nil || of.Generation == r.generation {
		return
	}
	if r.began.IsZero() {
		r.began = time.Now()
	}
	if complete && !r.complete {
		r.complete, r.last = true, time.Now()
	}
}

func (h *history) gone(o any) {
	if missed, is := o.(cache.DeletedFinalStateUnknown); is {
		o = missed.Obj
	}
	if pod, is := o.(*corev1.Pod); is {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ended(pod)
	}
}

func (h *history) ended(pod *corev1.Pod) {
	if r := h.pods[pod.UID]; r != nil {
		r.old--
		r.last = time.Now()
		delete(h.pods, pod.UID)
	}
}

// open tells whether a rollout has begun and not ended.
func (h *history) open() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.all {
		if r.open() {
			return true
		}
	}
	return false
}

func (r *rollout) open() bool { return !r.began.IsZero() && (!r.complete || r.old > 0) }

func (h *history) longest() (longest time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.all {
		switch {
		case r.open():
			return 0
		case !r.began.IsZero():
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

// updated tells a complete StatefulSet.
// https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/stateful-set-v1/#StatefulSetStatus
func updated(s *appsv1.StatefulSet) bool {
	now, wanted := s.Status, *s.Spec.Replicas
	return now.ObservedGeneration >= s.Generation && now.UpdateRevision == now.CurrentRevision && now.Replicas == wanted && now.AvailableReplicas == wanted
}
