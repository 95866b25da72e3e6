package kube

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// census is what the pods of a namespace tell.
type census struct {
	ways    map[string][]string // how those that live read a Secret, by their owners
	servers map[string]bool     // the owners of those that are the database; nil: not known
	shared  bool                // the database's address is a node's, or every pod's own: it does not tell which pod it is
}

// survey looks at the pods that are there. A loopback address is what a tunnel shows.
func (a *area) survey(ctx context.Context) (census, error) {
	var err error
	if a.address, err = a.locate(); err != nil {
		a.unplaced = true
		return census{}, err
	}
	found := census{ways: map[string][]string{}, servers: map[string]bool{}, shared: a.address.IsLoopback()}
	if a.list {
		return found, nil
	}
	err = a.cluster.pods(a.cluster.namespace).each(ctx, metav1.ListOptions{}, func(o *corev1.Pod) {
		p, owner := ofPod(o)
		if p.ended { // its address may be another pod's by now
			return
		}
		if ways := readersOf(&o.Spec, a.secrets).ways(); len(ways) > 0 && !p.terminating {
			found.ways[owner] = ways
		}
		switch {
		case !a.resides(o):
		case o.Spec.HostNetwork:
			found.shared = true
		default:
			found.servers[owner] = true
		}
	})
	if err != nil {
		return census{}, a.cluster.failed("list pods", err, rule{resource: "pods", verbs: []string{"list", "watch"}})
	}
	return found, nil
}

// placed tells whether a pod can be the database by its address.
func (a *area) placed() bool { return a.address.IsValid() && !a.address.IsLoopback() }

// resides tells whether a pod has the database's address, as any of its own.
func (a *area) resides(o *corev1.Pod) bool {
	return a.placed() && slices.ContainsFunc(o.Status.PodIPs, func(ip corev1.PodIP) bool { return ip.IP == a.address.String() })
}

// databasePod looks whose pod is named as the database.
func (a *area) databasePod(ctx context.Context) (census, error) {
	if a.pod == "" {
		return census{servers: map[string]bool{}}, nil
	}
	o, err := a.cluster.pods(a.cluster.namespace).get(ctx, a.pod)
	if err != nil {
		return census{}, a.cluster.failed(fmt.Sprintf("read the database's pod %q", a.pod), err, rule{resource: "pods", name: a.pod, verbs: []string{"get"}})
	}
	return census{servers: map[string]bool{ownerOf(o): true}}, nil
}

// serving tells whether a container says that it listens on PostgreSQL's port.
func serving(spec *corev1.PodSpec) bool {
	return slices.ContainsFunc(spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == defaultPort })
	})
}
