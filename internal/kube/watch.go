package kube

import (
	"context"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// watcher shows rollouts as they happen, to all workloads of a run by one watch
// of each kind and one of the pods. It watches only while somebody follows.
type watcher struct {
	cluster *Cluster

	mu        sync.Mutex
	followers map[string][]chan struct{} // by workload
	*mirrors                             // nil while nobody follows
}

// mirrors live from the first follower to the last.
type mirrors struct {
	pods     *mirror[pod]
	rollouts map[*kind]*mirror[rollout]
	ctx      context.Context // of no single follower
	stop     context.CancelFunc
	running  sync.WaitGroup
}

// view is what the API server shows of a workload.
type view struct {
	rollout rollout
	pods    []pod
	synced  bool  // the view is complete
	exists  bool  // the workload is there
	trouble error // the last list or watch, where it failed
	needs   rule  // for the call that failed
}

// follow starts to watch a workload, which others may follow, too. The channel gets
// a value after changes; leave must be called once.
func (w *watcher) follow(k *kind, name string) (changed <-chan struct{}, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.mirrors == nil {
		w.start()
	}
	current := w.mirrors
	if current.rollouts[k] == nil {
		m := &mirror[rollout]{convert: k.convert, changed: w.wake}
		current.rollouts[k] = m
		current.running.Go(func() { k.feed(current.ctx, m) })
	}
	own := make(chan struct{}, 1)
	w.followers[name] = append(w.followers[name], own)
	return own, func() { w.leave(name, own) }
}

func (w *watcher) start() {
	started := &mirrors{rollouts: map[*kind]*mirror[rollout]{}}
	started.ctx, started.stop = context.WithCancel(context.Background())
	started.pods = &mirror[pod]{changed: w.wake, trim: func(o runtime.Object) { trimPod(o.(*corev1.Pod)) },
		convert: func(o runtime.Object) (pod, string) { return ofPod(o.(*corev1.Pod)) }}
	started.running.Go(func() { feed(started.ctx, started.pods, w.cluster.pods(w.cluster.namespace)) })
	w.followers, w.mirrors = map[string][]chan struct{}{}, started
}

// leave ends the watch with its last follower and waits until it is over.
func (w *watcher) leave(name string, own chan struct{}) {
	w.mu.Lock()
	w.forget(name, own)
	if len(w.followers) > 0 {
		w.mu.Unlock()
		return
	}
	ended := w.mirrors
	w.mirrors = nil
	w.mu.Unlock()
	ended.stop()
	ended.running.Wait()
}

// forget is for whoever holds the lock.
func (w *watcher) forget(name string, own chan struct{}) {
	left := slices.DeleteFunc(w.followers[name], func(c chan struct{}) bool { return c == own })
	if w.followers[name] = left; len(left) == 0 {
		delete(w.followers, name)
	}
}

// wake tells the followers of a workload, or all, to look again.
func (w *watcher) wake(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if name != "" {
		tell(w.followers[name])
		return
	}
	for _, followers := range w.followers {
		tell(followers)
	}
}

func tell(followers []chan struct{}) {
	for _, changed := range followers {
		select {
		case changed <- struct{}{}:
		default: // it has not looked since the last change
		}
	}
}

// see shows a workload that is followed.
func (w *watcher) see(k *kind, name string) view {
	v := w.alone(k, name)
	_, pods := w.shown(k)
	found, listed, trouble := pods.see(name)
	v.pods, v.synced = found, v.synced && listed
	if v.trouble == nil {
		v.trouble, v.needs = trouble, rule{resource: "pods", verbs: []string{"list", "watch"}}
	}
	return v
}

// alone shows a workload that is followed without its pods, for which it does not wait.
func (w *watcher) alone(k *kind, name string) view {
	rollouts, _ := w.shown(k)
	found, listed, trouble := rollouts.see(name)
	v := view{synced: listed, exists: len(found) > 0, trouble: trouble, needs: rule{group: "apps", resource: k.plural, verbs: []string{"list", "watch"}}}
	if v.exists {
		v.rollout = found[0]
	}
	return v
}

func (w *watcher) shown(k *kind) (*mirror[rollout], *mirror[pod]) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rollouts[k], w.pods
}
