package kube

import (
	"encoding/json"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// owns tells whether an entry of managedFields has this key of a Secret.
// https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
func owns(entry metav1.ManagedFieldsEntry, key string) bool {
	if entry.FieldsV1 == nil {
		return false
	}
	var fields struct {
		Data       map[string]json.RawMessage `json:"f:data"`
		StringData map[string]json.RawMessage `json:"f:stringData"`
	}
	if json.Unmarshal(entry.FieldsV1.Raw, &fields) != nil {
		return false // not a Secret's
	}
	_, data := fields.Data["f:"+key]
	_, text := fields.StringData["f:"+key]
	return data || text
}

func ownsAny(entry metav1.ManagedFieldsEntry, keys []string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { return owns(entry, key) })
}

// keys are the mapped keys of o.
func (h *holder) keys(o *corev1.Secret) []string {
	m := h.mapping.resolve(func(key string) bool { _, ok := o.Data[key]; return ok })
	return slices.Sorted(maps.Keys(m))
}
