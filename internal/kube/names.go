package kube

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// names looks, where another user is to be served, whether whoever reads the
// Secret gets the name together with the password: who does not would log in as
// the former user.
func (h *holder) names(o *corev1.Secret, served, next string) (warnings []string, err error) {
	if served == "" || next == served {
		return nil, nil
	}
	found, chances := h.namesakes(o, served)
	if len(chances) > 0 {
		warnings = append(warnings, fmt.Sprintf("%s: %s is the name of the served user, or looks alike by chance: it is not mapped, and stays as it is", h, places(chances)))
	}
	if len(found) > 0 {
		return warnings, fail(refused, h.remedy(o, found, ""), "serve another user in %s: %s holds the name of the served one and is not mapped", h, places(found))
	}
	return warnings, h.nameless(o)
}

// A database often has the name of the role that owns it: what a key is called
// tells them apart.
var (
	databaseKey = regexp.MustCompile(`(?i)(database|schema|db)([_-]?name)?$`)
	userKey     = regexp.MustCompile(`(?i)user|login`)
)

// namesakes lists the keys that are the user name and are not mapped; chances are
// those that may be something else.
func (h *holder) namesakes(o *corev1.Secret, user string) (found, chances []leak) {
	m := h.resolved(o)
	for _, key := range slices.Sorted(maps.Keys(o.Data)) {
		l := leak{place: fmt.Sprintf("key %q", key), key: key, property: Username}
		switch _, mapped := m[key]; {
		case mapped || string(o.Data[key]) != user:
		case databaseKey.MatchString(key):
		case userKey.MatchString(key):
			found = append(found, l)
		default:
			chances = append(chances, l)
		}
	}
	return found, chances
}

// nameless refuses a Secret that takes the password without the user name.
func (h *holder) nameless(o *corev1.Secret) error {
	m := h.resolved(o)
	alone := append(m.Keys(Password), m.Keys(Verifier)...)
	if len(alone) == 0 || len(m.Keys(Username)) > 0 {
		return nil
	}
	return fail(refused, "give the Secret a key with the user name, let the workloads read that too, and map it in `kubernetes-secret-keys`; or use `strategy: in-place`",
		"serve another user in %s: key %s takes the password without the user name", h, quoted(alone))
}
