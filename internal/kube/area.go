package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
)

// area is what a discovery looks at in one namespace.
type area struct {
	cluster  *Cluster // in that namespace
	foreign  bool     // it is not the one of the served Secret
	secrets  []string
	mapping  Mapping // of their keys
	kinds    []*kind
	list     bool // wanted is all that there is to find
	wanted   []listed
	pod      string                     // the database's; empty: it is not here
	locate   func() (netip.Addr, error) // asks the database for its address
	address  netip.Addr                 // what it has told the survey; zero: nobody is looked for by it
	unplaced bool                       // it has told nothing: any pod may be the database
}

// idle tells that there is nothing to find here.
func (a *area) idle() bool {
	if a.list {
		return len(a.wanted) == 0
	}
	return len(a.secrets) == 0
}

// workloads finds those of one namespace, also with an error as many as there are.
// Where it is not known which of them is the database, it finds none.
func (a *area) workloads(ctx context.Context, o Options) ([]*Workload, error) {
	if a.list {
		a.kinds = slices.DeleteFunc(a.kinds, func(k *kind) bool { return !slices.ContainsFunc(a.wanted, func(l listed) bool { return l.kind == k }) })
	}
	var all, schedules []*Workload
	var pods, named census
	err := atOnce(
		func() (err error) { all, err = a.every(ctx); return },
		func() (err error) { schedules, err = a.schedules(ctx); return },
		func() (err error) { pods, err = a.survey(ctx); return },
		func() (err error) { named, err = a.databasePod(ctx); return },
		func() error { return a.watchable(ctx, o) },
	)
	if named.servers == nil || pods.servers == nil && (a.unplaced || a.placed()) {
		return nil, err
	}
	found, missing := a.choose(all, pods.ways)
	found = append(append(found, schedules...), a.others(all, pods.ways)...)
	shared := &watcher{cluster: a.cluster}
	for _, w := range found {
		w.cluster, w.foreign, w.secrets, w.options, w.watcher = a.cluster, a.foreign, a.secrets, o, shared
		switch {
		case named.servers[w.id()] || pods.servers[w.id()]:
			w.aside, w.unnamed = theDatabase(), nil
		case pods.shared && w.serves:
			w.perhaps = a.address.String()
		}
	}
	return found, errors.Join(err, missing)
}

// every lists all workloads of the kinds that can be restarted.
func (a *area) every(ctx context.Context) ([]*Workload, error) {
	found := make([][]*Workload, len(a.kinds))
	var lists []func() error
	for i, k := range a.kinds {
		lists = append(lists, func() error {
			err := k.each(ctx, func(r rollout, template *corev1.PodTemplateSpec) {
				readers := readersOf(&template.Spec, a.secrets)
				found[i] = append(found[i], &Workload{kind: k, name: r.name, ways: readers.ways(), unnamed: readers.unnamed(a.mapping), serves: serving(&template.Spec)})
			})
			if err != nil {
				return a.cluster.failed("list "+k.plural, err, rule{group: "apps", resource: k.plural, verbs: []string{"list", "watch"}})
			}
			return nil
		})
	}
	err := atOnce(lists...)
	all := slices.Concat(found...)
	slices.SortFunc(all, func(x, y *Workload) int { return cmp.Compare(x.id(), y.id()) })
	return all, err
}

// choose takes the listed workloads, or without a list those that read a Secret
// by their template or by a pod of an older one.
func (a *area) choose(all []*Workload, living map[string][]string) ([]*Workload, error) {
	if !a.list {
		var found []*Workload
		for _, w := range all {
			if len(w.ways) == 0 {
				w.ways = living[w.id()]
			}
			if len(w.ways) > 0 {
				found = append(found, w)
			}
		}
		return found, nil
	}
	var found []*Workload
	var errs []error
	for _, l := range a.wanted {
		i := slices.IndexFunc(all, func(w *Workload) bool { return w.kind == l.kind && w.name == l.name })
		if i < 0 {
			errs = append(errs, fail(refused, "correct `workloads` or `namespace`", "find %s/%s in namespace %q: it is not there; there are %s", l.kind.name, l.name, a.cluster.namespace, existing(all, l.kind)))
			continue
		}
		found = append(found, all[i])
	}
	return found, errors.Join(errs...)
}

// mostNames is how many names an error lists.
const mostNames = 20

func existing(all []*Workload, k *kind) string {
	var names []string
	for _, w := range all {
		if w.kind == k {
			names = append(names, w.id())
		}
	}
	switch {
	case len(names) == 0:
		return "no " + k.plural
	case len(names) > mostNames:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNames], ", "), len(names)-mostNames)
	}
	return strings.Join(names, ", ")
}

// watchable asks for the rights that only the restart will need. What the
// discovery itself lists is not asked for again.
func (a *area) watchable(ctx context.Context, o Options) error {
	pods := rule{resource: "pods", verbs: []string{"list", "watch", "delete"}} // delete: see attempt
	var checks []func() error
	need := func(r rule, verbs ...string) {
		checks = append(checks, func() error { return a.cluster.granted(ctx, r, verbs) })
	}
	need(pods, "watch", "delete")
	if a.list {
		need(pods, "list")
	}
	for _, k := range a.kinds {
		need(rule{group: "apps", resource: k.plural, verbs: []string{"list", "watch"}}, "watch")
	}
	if o.LogLines > 0 {
		need(rule{resource: "pods/log", verbs: []string{"get"}}, "get")
	}
	if len(o.HealthCommand) > 0 {
		need(rule{resource: "pods/exec", verbs: []string{"create", "get"}}, "create", "get")
	}
	return atOnce(checks...)
}

// granted asks for verbs of a rule, all at once.
func (c *Cluster) granted(ctx context.Context, r rule, verbs []string) error {
	resource, sub, _ := strings.Cut(r.resource, "/")
	missing := make([]string, len(verbs))
	var checks []func() error
	for i, verb := range verbs {
		checks = append(checks, func() error {
			ok, err := c.allowed(ctx, authorizationv1.ResourceAttributes{Verb: verb, Group: r.group, Resource: resource, Subresource: sub, Name: r.name})
			if !ok {
				missing[i] = verb
			}
			return err
		})
	}
	if err := atOnce(checks...); err != nil {
		return err
	}
	if missing = slices.DeleteFunc(missing, func(verb string) bool { return verb == "" }); len(missing) == 0 {
		return nil
	}
	return fail(refused, r.hint(c.namespace), "restart workloads: the account may not %s %s in namespace %q", strings.Join(missing, " or "), r.resource, c.namespace)
}
