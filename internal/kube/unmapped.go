package kube

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

const (
	lastApplied = corev1.LastAppliedConfigAnnotation
	// guessable passwords stand in other words by chance.
	guessable = 8
)

// leaks finds the current password, in any usual encoding, in keys that are not
// mapped and in annotations. A rotation would leave the old password there, and
// whoever reads it from there would be locked out. A word that is guessable may
// stand anywhere by chance, but not as the password of a connection.
func (h *holder) leaks(o *corev1.Secret, current secret.Credential) (warnings []string, err error) {
	password := current.Password.Reveal()
	if password == "" {
		return nil, nil
	}
	holds := finder(password)
	if holds(o.Annotations[lastApplied]) {
		warnings = append(warnings, fmt.Sprintf("%s was written by `kubectl apply`, whose annotation %q holds the current password: the annotation goes, "+
			"but the next `kubectl apply` of that manifest puts the password back: take it out of the manifest", h, lastApplied))
	}
	found, chances := h.unmapped(o, current, holds), []leak(nil)
	if len(password) < guessable || password == current.User {
		chances = slices.DeleteFunc(slices.Clone(found), leak.proven)
		found = slices.DeleteFunc(found, func(l leak) bool { return !l.proven() })
	}
	if len(chances) > 0 {
		warnings = append(warnings, fmt.Sprintf("%s: %s may hold the current password, or look alike by chance", h, places(chances)))
	}
	if len(found) == 0 {
		return warnings, nil
	}
	return warnings, fail(refused, h.remedy(o, found, "keep the password in keys of its own, or as a URL or key=value text, and remove it from there"), "rotate %s: %s holds the current password and is not mapped", h, places(found))
}

// leak is a place that holds the password and would keep it.
type leak struct {
	place    string
	key      string   // empty: it is an annotation
	property Property // empty: it is not known what the whole text is
}

// proven tells that the text has the role's password where nothing else can stand.
func (l leak) proven() bool { return l.property == URL || l.property == DSN }

func places(leaks []leak) string {
	var names []string
	for _, l := range leaks {
		names = append(names, l.place)
	}
	return strings.Join(names, ", ")
}

// finder tells whether a text holds the password in any usual encoding.
func finder(password string) func(text string) bool {
	keeper := secret.NewKeeper(nil)
	keeper.Keep(password)
	return func(text string) bool { return keeper.Scrub(text) != text }
}

// appliedLeaks tells whether the manifest that `kubectl apply` left in o holds
// o's password. Kept, it would give away what was served, and hold it for ever.
func (h *holder) appliedLeaks(o *corev1.Secret) bool {
	password := h.read(o).Password
	return !password.IsZero() && finder(password.Reveal())(o.Annotations[lastApplied])
}

// unmapped lists the keys that hold the password and are not mapped, then the
// annotations.
func (h *holder) unmapped(o *corev1.Secret, current secret.Credential, holds func(string) bool) []leak {
	return h.search(o, func(text string) (Property, bool) {
		property := guess(text, current)
		return property, property != "" || holds(text)
	})
}

// search lists the keys that hold something and are not mapped, then the annotations.
func (h *holder) search(o *corev1.Secret, holds func(text string) (Property, bool)) (found []leak) {
	look := func(place, key, text string) {
		if property, there := holds(text); there {
			found = append(found, leak{place, key, property})
		}
	}
	m := h.resolved(o)
	for _, key := range slices.Sorted(maps.Keys(o.Data)) {
		if _, mapped := m[key]; !mapped {
			look(fmt.Sprintf("key %q", key), key, string(o.Data[key]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Annotations)) {
		if name != lastApplied {
			look(fmt.Sprintf("annotation %q", name), "", o.Annotations[name])
		}
	}
	return found
}

// verifiers refuses keys and annotations with a verifier of the current password,
// such as PgBouncer's list of users: it would go on taking that password, and
// refuse the new one.
func (h *holder) verifiers(o *corev1.Secret, user string, password secret.Value) error {
	if password.IsZero() {
		return nil
	}
	found := h.search(o, func(text string) (Property, bool) { return verifies(text, user, password.Reveal()) })
	if len(found) == 0 {
		return nil
	}
	return fail(refused, h.remedy(o, found, "map a key to `verifier` and let the container make its list of that, or take the verifier out of the Secret: see docs/pgbouncer.md"),
		"rotate %s: %s holds a verifier of the current password and is not mapped", h, places(found))
}

// guess tells which property of the credential text would be, or "". A
// connection of another user is none: that user's password may be the same.
func guess(text string, current secret.Credential) Property {
	password := current.Password.Reveal()
	if text == password {
		return Password
	}
	for _, property := range []Property{URL, DSN} {
		f, _ := forms(property)
		if user, found, err := f.read(text); err == nil && found == password && (user == current.User || current.User == "") {
			return property
		}
	}
	return ""
}

// remedy shows the whole mapping that is needed: naming one key ends the default.
// Where no mapping helps, it is the other one.
func (h *holder) remedy(o *corev1.Secret, found []leak, other string) string {
	var lines []string
	for _, l := range found {
		if l.key != "" && l.property != "" {
			lines = append(lines, l.key+"="+string(l.property))
		}
	}
	if len(lines) == 0 {
		return other
	}
	var all []string
	m := h.resolved(o)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, key+"="+string(m[key]))
	}
	return "map it: the whole mapping is then `" + strings.Join(append(all, lines...), "`, `") + "`"
}

// resolved is the mapping of the keys that o has.
func (h *holder) resolved(o *corev1.Secret) Mapping {
	return h.mapping.resolve(func(key string) bool { _, ok := o.Data[key]; return ok })
}
