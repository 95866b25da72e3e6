package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Discovery says which workloads of the namespace a rotation restarts.
type Discovery struct {
	Secrets []string // the names of the Secrets that hold the credential
	// Listed are the workloads, as "kind/name". Empty: all whose pods read one
	// of Secrets.
	Listed []string
	// DatabasePod, "[namespace/]name[:port]", and DatabaseAddress, an IP address,
	// tell which workload is the server itself; either may be empty.
	DatabasePod     string
	DatabaseAddress string
}

// Workloads finds the workloads and asks whether they may be watched, restarted
// and asked for their health. Class refused: a right is missing, or a listed
// workload is not there or not of a kind that can be restarted. The list is
// complete or there is none.
func (c *Cluster) Workloads(ctx context.Context, d Discovery, o Options) ([]*Workload, error) {
	kinds := c.kinds()
	wanted, err := parseListed(kinds, d.Listed)
	if err != nil {
		return nil, err
	}
	if len(d.Listed) > 0 {
		kinds = slices.DeleteFunc(kinds, func(k *kind) bool { return !slices.ContainsFunc(wanted, func(r listed) bool { return r.kind == k }) })
	}
	var all []*Workload
	var databases map[string]bool
	err = atOnce(
		func() (err error) { all, err = c.every(ctx, kinds, d.Secrets); return },
		func() (err error) { databases, err = c.databases(ctx, d); return },
		func() error { return c.watchable(ctx, kinds, o) },
	)
	if err != nil {
		return nil, err
	}
	found, err := c.choose(all, wanted)
	if err != nil {
		return nil, err
	}
	shared := &watcher{cluster: c}
	for _, w := range found {
		w.options, w.watcher, w.database = o, shared, databases[w.String()]
	}
	return found, nil
}

type listed struct {
	kind *kind
	name string
}

func parseListed(kinds []*kind, lines []string) ([]listed, error) {
	var wanted []listed
	var errs []error
	for _, line := range lines {
		name, object, ok := strings.Cut(line, "/")
		k := kindNamed(kinds, strings.ToLower(name))
		switch {
		case !ok || object == "" || strings.Contains(object, "/"):
			errs = append(errs, fmt.Errorf("%q: want kind/name", line))
		case k == nil:
			errs = append(errs, fmt.Errorf("%q: a workload is a deployment, a statefulset or a daemonset", line))
		case slices.Contains(wanted, listed{k, object}):
			errs = append(errs, fmt.Errorf("%q: it is listed twice", line))
		default:
			wanted = append(wanted, listed{k, object})
		}
	}
	if len(errs) > 0 {
		return nil, fail(refused, "", "read the list of workloads: %v", errors.Join(errs...))
	}
	return wanted, nil
}

// every lists all workloads of these kinds.
func (c *Cluster) every(ctx context.Context, kinds []*kind, secrets []string) ([]*Workload, error) {
	found := make([][]*Workload, len(kinds))
	var lists []func() error
	for i, k := range kinds {
		lists = append(lists, func() error {
			err := k.each(ctx, func(r rollout, template *corev1.PodTemplateSpec) {
				found[i] = append(found[i], &Workload{cluster: c, kind: k, name: r.name, ways: readers(&template.Spec, secrets)})
			})
			if err != nil {
				return c.failed("list "+k.plural, err, rule{group: "apps", resource: k.plural, verbs: []string{"list", "watch"}})
			}
			return nil
		})
	}
	err := atOnce(lists...)
	all := slices.Concat(found...)
	slices.SortFunc(all, func(a, b *Workload) int { return cmp.Compare(a.String(), b.String()) })
	return all, err
}

// choose takes the listed workloads, or without a list those that read a Secret.
func (c *Cluster) choose(all []*Workload, wanted []listed) ([]*Workload, error) {
	if len(wanted) == 0 {
		return slices.DeleteFunc(all, func(w *Workload) bool { return len(w.ways) == 0 }), nil
	}
	var found []*Workload
	var errs []error
	for _, l := range wanted {
		i := slices.IndexFunc(all, func(w *Workload) bool { return w.kind == l.kind && w.name == l.name })
		if i < 0 {
			errs = append(errs, fail(refused, "", "find %s/%s in namespace %q: it is not there; there are %s", l.kind.name, l.name, c.namespace, existing(all, l.kind)))
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
			names = append(names, w.String())
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

// databases finds the workloads that run the server itself.
func (c *Cluster) databases(ctx context.Context, d Discovery) (map[string]bool, error) {
	found := map[string]bool{}
	if d.DatabasePod != "" {
		where, err := parsePod(d.DatabasePod, c.namespace)
		if err != nil {
			return nil, err
		}
		if where.namespace == c.namespace {
			o, err := c.pods(c.namespace).get(ctx, where.name)
			if err != nil {
				return nil, c.failed(fmt.Sprintf("read the database's pod %q", where.name), err, rule{resource: "pods", verbs: []string{"get", "list", "watch"}})
			}
			found[ownerOf(o)] = true
		}
	}
	// A loopback address is what a tunnel shows; it belongs to every pod.
	if ip, err := netip.ParseAddr(d.DatabaseAddress); err == nil && !ip.Unmap().IsLoopback() {
		return found, c.ownersOf(ctx, ip.Unmap().String(), found)
	}
	return found, nil
}

// ownersOf finds the workloads of the pods that have an address of their own.
func (c *Cluster) ownersOf(ctx context.Context, ip string, found map[string]bool) error {
	err := c.pods(c.namespace).each(ctx, metav1.ListOptions{FieldSelector: "status.podIP=" + ip}, func(o *corev1.Pod) {
		if !o.Spec.HostNetwork {
			found[ownerOf(o)] = true
		}
	})
	if err != nil {
		return c.failed("list pods", err, rule{resource: "pods", verbs: []string{"get", "list", "watch"}})
	}
	return nil
}

// watchable asks for the rights that only the restart will need.
func (c *Cluster) watchable(ctx context.Context, kinds []*kind, o Options) error {
	rules := []rule{{resource: "pods", verbs: []string{"list", "watch"}}}
	for _, k := range kinds {
		rules = append(rules, rule{group: "apps", resource: k.plural, verbs: []string{"list", "watch"}})
	}
	if o.LogLines > 0 {
		rules = append(rules, rule{resource: "pods/log", verbs: []string{"get"}})
	}
	if len(o.HealthCommand) > 0 {
		rules = append(rules, rule{resource: "pods/exec", verbs: []string{"create", "get"}})
	}
	var checks []func() error
	for _, r := range rules {
		checks = append(checks, func() error { return c.granted(ctx, r) })
	}
	return atOnce(checks...)
}

// granted asks for every verb of a rule.
func (c *Cluster) granted(ctx context.Context, r rule) error {
	resource, sub, _ := strings.Cut(r.resource, "/")
	for _, verb := range r.verbs {
		ok, err := c.allowed(ctx, authorizationv1.ResourceAttributes{Verb: verb, Group: r.group, Resource: resource, Subresource: sub, Name: r.name})
		if err != nil {
			return err
		}
		if !ok {
			return fail(refused, r.hint(c.namespace), "restart workloads: the account may not %s %s in namespace %q", verb, r.resource, c.namespace)
		}
	}
	return nil
}

// atOnce calls all at the same time and joins their errors.
func atOnce(calls ...func() error) error {
	errs := make([]error, len(calls))
	var running sync.WaitGroup
	for i, call := range calls {
		running.Go(func() { errs[i] = call() })
	}
	running.Wait()
	return errors.Join(errs...)
}
