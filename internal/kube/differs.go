package kube

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Differs names the mapped keys that hold another user, password or verifier
// than c, whatever their spelling, and those that are missing or cannot be read.
// It is empty where there are none. Class missing: there is no such Secret.
func (h *holder) Differs(ctx context.Context, c secret.Credential) (string, error) {
	o, err := h.get(ctx)
	if err != nil {
		return "", err
	}
	var all []string
	mapping := h.mapping.resolve(func(key string) bool { _, ok := o.Data[key]; return ok })
	for _, key := range slices.Sorted(maps.Keys(mapping)) {
		if text := h.deviates(mapping[key], o.Data, key, c); text != "" {
			all = append(all, fmt.Sprintf("key %q %s", key, text))
		}
	}
	return strings.Join(all, ", "), nil
}

// deviates says what is wrong with one key.
func (h *holder) deviates(p Property, data map[string][]byte, key string, c secret.Credential) string {
	raw, exists := data[key]
	if !exists {
		return "is missing"
	}
	held := secret.Credential{}
	take(&held, p, string(raw), h.cluster.keeper.Keep)
	switch {
	case p == Verifier:
		return otherwise(!c.Verifier.IsZero() && !held.Verifier.Equal(c.Verifier), "holds another verifier")
	case p != Password && held.User != c.User:
		return "holds another user name, or none"
	}
	return otherwise(p != Username && !held.Password.Equal(c.Password), "holds another password, or none")
}

func otherwise(wrong bool, text string) string {
	if wrong {
		return text
	}
	return ""
}

// Marks returns the pods of the workload that live, terminating ones included,
// with the restart mark that each carries.
func (w *Workload) Marks(ctx context.Context) ([]secret.Marked, error) {
	var all []secret.Marked
	err := w.cluster.pods(w.cluster.namespace).each(ctx, metav1.ListOptions{}, func(o *corev1.Pod) {
		if p, owner := ofPod(o); owner == w.id() && !p.ended {
			all = append(all, secret.Marked{Pod: p.name, Mark: p.mark, Created: o.CreationTimestamp.Time})
		}
	})
	if err != nil {
		return nil, w.cluster.failed(fmt.Sprintf("list the pods of %s", w), err, rule{resource: "pods", verbs: []string{"list"}})
	}
	return all, nil
}
