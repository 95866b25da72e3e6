package kube

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Health is the pods of the cluster's namespace that a label selector chooses.
type Health struct {
	cluster  *Cluster
	selector string
}

// Health parses a selector such as "tier=backend,env in (prod)". It asks nobody.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
func (c *Cluster) Health(selector string) (*Health, error) {
	if _, err := labels.Parse(selector); err != nil {
		return nil, fail(refused, "", "read the selector: %v", err)
	}
	return &Health{cluster: c, selector: selector}, nil
}

// String names the pods.
func (h *Health) String() string { return `pods "` + h.selector + `"` }

// Ready counts the pods and those of them that are ready, by what restarts them,
// "kind/name"; pods that are about to go or have ended count for nothing, nor do those
// of a Job, which end by themselves.
func (h *Health) Ready(ctx context.Context) (map[string]secret.Readiness, error) {
	counted := map[string]secret.Readiness{}
	err := h.cluster.pods(h.cluster.namespace).each(ctx, metav1.ListOptions{LabelSelector: h.selector}, func(o *corev1.Pod) {
		p, owner := ofPod(o)
		if p.ended || p.terminating || strings.HasPrefix(owner, "job/") {
			return
		}
		n := counted[owner]
		if n.Pods++; p.ready {
			n.Ready++
		}
		counted[owner] = n
	})
	if err != nil {
		return nil, h.cluster.failed("list "+h.String(), err, rule{resource: "pods", verbs: []string{"list"}})
	}
	return counted, nil
}
