package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Addresses finds pods by their IP addresses.
type Addresses struct {
	cluster    *Cluster
	namespaces []string // where pods may be listed at least
}

// Addresses looks in the whole cluster where that is allowed, else in the
// namespaces of the Secrets, "[namespace/]name".
func (c *Cluster) Addresses(secrets []string) *Addresses {
	a := &Addresses{cluster: c}
	for _, text := range secrets {
		if namespace, _ := c.qualify(text); !slices.Contains(a.namespaces, namespace) {
			a.namespaces = append(a.namespaces, namespace)
		}
	}
	return a
}

// Origins returns which pods have the addresses, those without a pod left out,
// and what was searched for them: "this cluster", or the namespaces. It asks for
// pods once. Pods on the network of a node share its address, and other pods of
// the node may come to the database under it.
func (a *Addresses) Origins(ctx context.Context, addresses []string) (found map[string]secret.Origin, searched string, err error) {
	found, err = a.find(ctx, "", addresses)
	if classOf(err) != refused {
		return found, "this cluster", err
	}
	found = map[string]secret.Origin{}
	for _, namespace := range a.namespaces {
		in, err := a.find(ctx, namespace, addresses)
		if err != nil {
			return nil, "", err
		}
		gather(found, in)
	}
	return found, fmt.Sprintf("the namespaces that may be looked at (%s)", strings.Join(a.namespaces, ", ")), nil
}

// find looks in one namespace, or in all where it is empty.
func (a *Addresses) find(ctx context.Context, namespace string, addresses []string) (map[string]secret.Origin, error) {
	found := map[string]secret.Origin{}
	err := a.cluster.pods(namespace).each(ctx, metav1.ListOptions{}, func(o *corev1.Pod) {
		for _, address := range addresses {
			if origin, is := originOf(o, address); is {
				gather(found, map[string]secret.Origin{address: origin})
			}
		}
	})
	if err != nil {
		return nil, a.cluster.failed("list pods", err, rule{namespace: namespace, resource: "pods", verbs: []string{"list"}})
	}
	return found, nil
}

// originOf tells whether a pod has the address, or is on the node that has it.
func originOf(o *corev1.Pod, address string) (secret.Origin, bool) {
	if o.Status.Phase == corev1.PodFailed || o.Status.Phase == corev1.PodSucceeded {
		return secret.Origin{}, false
	}
	own := slices.ContainsFunc(o.Status.PodIPs, func(ip corev1.PodIP) bool { return ip.IP == address })
	node := slices.ContainsFunc(o.Status.HostIPs, func(ip corev1.HostIP) bool { return ip.IP == address })
	switch {
	case own:
		return secret.Origin{Pods: []string{o.Namespace + "/" + o.Name}, Owners: []string{ownerOf(o)}, Shared: o.Spec.HostNetwork}, true
	case node:
		return secret.Origin{Shared: true}, true
	}
	return secret.Origin{}, false
}

// gather adds to what was found of each address.
func gather(found, more map[string]secret.Origin) {
	for address, origin := range more {
		was := found[address]
		found[address] = secret.Origin{Pods: append(was.Pods, origin.Pods...), Owners: append(was.Owners, origin.Owners...), Shared: was.Shared || origin.Shared}
	}
}
