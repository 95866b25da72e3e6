package kube

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Discovery says which workloads a rotation restarts.
type Discovery struct {
	// Secrets hold the credential, "[namespace/]name". Workloads are looked for in
	// their namespaces; the cluster's is where none is named.
	Secrets []string
	// Mapping tells which of their keys hold what of it.
	Mapping Mapping
	// Listed are the workloads, as "[namespace/]kind/name". Empty: all whose pods
	// read one of Secrets.
	Listed []string
	// DatabasePod, "[namespace/]name[:port]", and DatabaseAddress, an IP address,
	// tell which workload is the server itself; either may be empty, or nil. What is
	// listed is restarted, whatever its pods' addresses are.
	DatabasePod     string
	DatabaseAddress func(context.Context) (string, error)
}

// Workloads finds the workloads and asks whether they may be watched, restarted
// and asked for their health. Without a list those that read a Secret and are
// not restarted are in it too: see Workload.Plan. Class refused: a right is
// missing in one of the namespaces, or a listed workload is not there or not of
// a kind that can be restarted; what was found all the same is returned with it.
func (c *Cluster) Workloads(ctx context.Context, d Discovery, o Options) ([]*Workload, error) {
	areas, err := c.areas(d)
	if err != nil {
		return nil, err
	}
	locate := sync.OnceValues(func() (netip.Addr, error) { return d.located(ctx) })
	found := make([][]*Workload, len(areas))
	var calls []func() error
	for i, a := range areas {
		a.locate = locate
		calls = append(calls, func() (err error) { found[i], err = a.workloads(ctx, o); return err })
	}
	err = atOnce(calls...)
	return slices.Concat(found...), err
}

// located is the address of the database; zero: it is not to be looked for by one.
func (d Discovery) located(ctx context.Context) (netip.Addr, error) {
	if d.DatabaseAddress == nil || len(d.Listed) > 0 {
		return netip.Addr{}, nil
	}
	text, err := d.DatabaseAddress(ctx)
	address, _ := netip.ParseAddr(text) // a local socket has none
	return address.Unmap(), err
}

// CheckList refuses a list of workloads that cannot be read. It asks the cluster nothing.
func (c *Cluster) CheckList(lines []string) error {
	_, err := c.areas(Discovery{Listed: lines})
	return err
}

// areas sorts a discovery by namespaces, in the order in which they are named.
func (c *Cluster) areas(d Discovery) ([]*area, error) {
	var all []*area
	list := len(d.Listed) > 0
	at := func(namespace string) *area {
		if i := slices.IndexFunc(all, func(a *area) bool { return a.cluster.namespace == namespace }); i >= 0 {
			return all[i]
		}
		in := c.in(namespace)
		all = append(all, &area{cluster: in, foreign: namespace != c.namespace, mapping: d.Mapping, kinds: in.kinds(), list: list})
		return all[len(all)-1]
	}
	for _, text := range d.Secrets {
		namespace, name := c.qualify(text)
		a := at(namespace)
		a.secrets = append(a.secrets, name)
	}
	if err := c.parseListed(d.Listed, at); err != nil {
		return nil, err
	}
	if d.DatabasePod != "" {
		where, err := parsePod(d.DatabasePod, c.namespace)
		if err != nil {
			return nil, err
		}
		at(where.namespace).pod = where.name
	}
	return slices.DeleteFunc(all, (*area).idle), nil
}

type listed struct {
	kind *kind
	name string
}

// parseListed files every line under its namespace.
func (c *Cluster) parseListed(lines []string, at func(namespace string) *area) error {
	var errs []error
	for _, line := range lines {
		namespace, rest := c.namespace, line
		if strings.Count(line, "/") == 2 {
			namespace, rest, _ = strings.Cut(line, "/")
		}
		word, name, ok := strings.Cut(rest, "/")
		a := at(namespace)
		k := kindNamed(a.kinds, strings.ToLower(word))
		switch {
		case !ok || namespace == "" || name == "" || strings.Contains(name, "/"):
			errs = append(errs, fmt.Errorf("%q: want [namespace/]kind/name", line))
		case k == nil:
			errs = append(errs, fmt.Errorf("%q: a workload is a deployment, a statefulset or a daemonset", line))
		case slices.Contains(a.wanted, listed{k, name}):
			errs = append(errs, fmt.Errorf("%q: it is listed twice", line))
		default:
			a.wanted = append(a.wanted, listed{k, name})
		}
	}
	if len(errs) > 0 {
		return fail(refused, "correct `workloads`: `auto`, `none`, or one [namespace/]kind/name per line", "read the list of workloads: %v", errors.Join(errs...))
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
