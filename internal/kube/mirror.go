package kube

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// mirror keeps what is needed of every object of one resource as the API server
// shows it, by one list and one watch. client-go's Reflector feeds it and goes
// on after a lost connection or an expired version.
type mirror[T any] struct {
	convert func(runtime.Object) (item T, owner string) // owner empty: not needed
	changed func(owner string)                          // owner empty: all may have
	trim    func(runtime.Object)                        // leaves of an object what convert needs; nil: all

	mu      sync.Mutex
	owned   map[string]map[types.UID]T
	synced  bool
	trouble error // of the last list or watch that was refused; nil once one was not
}

// see returns what belongs to owner. synced tells whether everything there is
// has been listed.
func (m *mirror[T]) see(owner string) (items []T, synced bool, trouble error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, item := range m.owned[owner] {
		items = append(items, item)
	}
	return items, m.synced, m.trouble
}

// Add stores an object.
func (m *mirror[T]) Add(o any) error { return m.Update(o) }

// Update stores an object in place of its former state.
func (m *mirror[T]) Update(o any) error {
	item, owner := m.convert(o.(runtime.Object))
	if owner == "" {
		return nil
	}
	m.mu.Lock()
	m.put(owner, o.(metav1.Object).GetUID(), item)
	m.mu.Unlock()
	m.changed(owner)
	return nil
}

// Delete forgets an object.
func (m *mirror[T]) Delete(o any) error {
	_, owner := m.convert(o.(runtime.Object))
	m.mu.Lock()
	delete(m.owned[owner], o.(metav1.Object).GetUID())
	m.mu.Unlock()
	m.changed(owner)
	return nil
}

// Replace stores a whole list in place of everything.
func (m *mirror[T]) Replace(objects []any, _ string) error {
	m.mu.Lock()
	m.owned, m.synced = map[string]map[types.UID]T{}, true
	for _, o := range objects {
		if item, owner := m.convert(o.(runtime.Object)); owner != "" {
			m.put(owner, o.(metav1.Object).GetUID(), item)
		}
	}
	m.mu.Unlock()
	m.changed("")
	return nil
}

// Resync does nothing: nobody asks for it.
func (m *mirror[T]) Resync() error { return nil }

func (m *mirror[T]) put(owner string, uid types.UID, item T) {
	if m.owned[owner] == nil {
		m.owned[owner] = map[types.UID]T{}
	}
	m.owned[owner][uid] = item
}

// heard notes whether the API server answered.
func (m *mirror[T]) heard(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	m.trouble = err
	m.mu.Unlock()
	if err != nil {
		m.changed("")
	}
}

// feed fills m from r until ctx ends.
func feed[T any, O object, L runtime.Object](ctx context.Context, m *mirror[T], r resource[O, L]) {
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			if opts.ResourceVersion == "0" { // out of the server's cache, which gives all at once whatever the limit is
				opts.ResourceVersion = ""
			}
			l, err := r.list(ctx, opts)
			m.heard(ctx, err)
			if err != nil || m.trim == nil {
				return l, err
			}
			return l, meta.EachListItem(l, func(o runtime.Object) error { m.trim(o); return nil }) // the pages are kept until the last has come
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			w, err := r.watch(ctx, opts)
			m.heard(ctx, err)
			return w, err
		},
	}
	cache.NewReflectorWithOptions(source, r.one(), m, cache.ReflectorOptions{Name: r.plural}).RunWithContext(ctx)
}
