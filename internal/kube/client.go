package kube

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/pager"
)

const (
	// manager owns in managedFields what pgrotate writes.
	// https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers
	manager = "pgrotate"
	// callTimeout ends a call on a connection that went silent.
	callTimeout = 15 * time.Second
	// atOnceAtMost is how many calls are under way. An API server lets a connection
	// have 100 streams (--http2-max-streams-per-connection), watches included; each
	// call that finds no room would open a connection of its own.
	atOnceAtMost = 80
	// commandsAtMost is how many pods are asked by a health command at once: each
	// has a connection of its own, and is refuted where the answer takes too long.
	commandsAtMost = 40
)

// turns are as many as there may be calls at once.
type turns chan struct{}

// take waits for a turn. done gives it back.
func (t turns) take(ctx context.Context) (done func(), err error) {
	select {
	case t <- struct{}{}:
		return func() { <-t }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// group is the client of an API group. All groups of a cluster share the turns.
type group struct {
	rest.Interface
	turns turns
}

// begin waits for a turn and returns the context of one call, whose time begins
// then. done must be called after the call.
func (g group) begin(ctx context.Context) (call context.Context, done func(), err error) {
	give, err := g.turns.take(ctx)
	if err != nil {
		return nil, nil, err
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	return call, func() { cancel(); give() }, nil
}

type object interface {
	runtime.Object
	metav1.Object
}

// resource is a typed client of one resource in one namespace. client-go's own
// (gentype) does the same and makes the program 8 MB larger.
type resource[O object, L runtime.Object] struct {
	rest      group
	codec     runtime.ParameterCodec
	namespace string // empty: the resource has none
	plural    string
	one       func() O
	many      func() L
}

func (r resource[O, L]) get(ctx context.Context, name string) (O, error) {
	return r.call(ctx, r.rest.Get().Name(name))
}

// create, update and patch store nothing where dryRun is metav1.DryRunAll.
func (r resource[O, L]) create(ctx context.Context, o O, dryRun ...string) (O, error) {
	opts := &metav1.CreateOptions{FieldManager: manager, DryRun: dryRun}
	return r.call(ctx, r.rest.Post().VersionedParams(opts, r.codec).Body(o))
}

func (r resource[O, L]) update(ctx context.Context, o O, dryRun ...string) (O, error) {
	opts := &metav1.UpdateOptions{FieldManager: manager, DryRun: dryRun}
	return r.call(ctx, r.rest.Put().Name(o.GetName()).VersionedParams(opts, r.codec).Body(o))
}

// patch sends an RFC 7386 merge patch.
func (r resource[O, L]) patch(ctx context.Context, name string, body []byte, dryRun ...string) (O, error) {
	opts := &metav1.PatchOptions{FieldManager: manager, DryRun: dryRun}
	return r.call(ctx, r.rest.Patch(types.MergePatchType).Name(name).VersionedParams(opts, r.codec).Body(body))
}

func (r resource[O, L]) call(ctx context.Context, request *rest.Request) (O, error) {
	o := r.one()
	ctx, done, err := r.rest.begin(ctx)
	if err != nil {
		return o, err
	}
	defer done()
	err = r.scoped(request).Do(ctx).Into(o)
	return o, err
}

func (r resource[O, L]) scoped(request *rest.Request) *rest.Request {
	return request.NamespaceIfScoped(r.namespace, r.namespace != "").Resource(r.plural)
}

// each calls do for every object that opts select, page by page.
func (r resource[O, L]) each(ctx context.Context, opts metav1.ListOptions, do func(O)) error {
	pages := pager.New(func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
		return r.list(ctx, opts)
	})
	pages.PageBufferSize = 0 // by default five pages are fetched ahead
	return pages.EachListItem(ctx, opts, func(o runtime.Object) error {
		do(o.(O))
		return nil
	})
}

func (r resource[O, L]) list(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
	l := r.many()
	ctx, done, err := r.rest.begin(ctx)
	if err != nil {
		return l, err
	}
	defer done()
	err = r.scoped(r.rest.Get()).VersionedParams(&opts, r.codec).Do(ctx).Into(l)
	return l, err
}

func (r resource[O, L]) watch(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	opts.Watch = true
	return r.scoped(r.rest.Get()).VersionedParams(&opts, r.codec).Watch(ctx)
}

// qualified is the name by which people call an object of a namespace.
func qualified(kind, namespace, name string) string {
	return kind + ` "` + namespace + "/" + name + `"`
}
