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
// whoever reads it from there would be locked out.
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
	lines, places := h.unmapped(o, current, holds)
	places = append(places, annotations(o, holds)...)
	switch {
	case len(places) == 0:
		return warnings, nil
	case len(password) < guessable || password == current.User:
		return append(warnings, fmt.Sprintf("%s: %s may hold the current password, or look alike by chance", h, strings.Join(places, ", "))), nil
	}
	return warnings, fail(refused, h.remedy(o, lines), "rotate %s: %s holds the current password and is not mapped", h, strings.Join(places, ", "))
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

// unmapped lists the keys that hold the password, and the mapping lines that
// would make them part of the rotation.
func (h *holder) unmapped(o *corev1.Secret, current secret.Credential, holds func(string) bool) (lines, places []string) {
	for _, key := range slices.Sorted(maps.Keys(o.Data)) {
		if _, mapped := current.Keys[key]; mapped || !holds(string(o.Data[key])) {
			continue
		}
		places = append(places, fmt.Sprintf("key %q", key))
		if property, ok := guess(string(o.Data[key]), current); ok {
			lines = append(lines, key+"="+string(property))
		}
	}
	return lines, places
}

func annotations(o *corev1.Secret, holds func(string) bool) []string {
	var places []string
	for _, name := range slices.Sorted(maps.Keys(o.Annotations)) {
		if name != lastApplied && holds(o.Annotations[name]) {
			places = append(places, fmt.Sprintf("annotation %q", name))
		}
	}
	return places
}

// guess tells which property text would be.
func guess(text string, current secret.Credential) (Property, bool) {
	password := current.Password.Reveal()
	if text == password {
		return Password, true
	}
	for _, property := range []Property{URL, DSN} {
		f, _ := forms(property)
		if _, found, err := f.read(text); err == nil && found == password {
			return property, true
		}
	}
	return "", false
}

// remedy shows the whole mapping that is needed: naming one key ends the default.
func (h *holder) remedy(o *corev1.Secret, lines []string) string {
	if len(lines) == 0 {
		return "keep the password in keys of its own, or as a URL or key=value text, and remove it from there"
	}
	var all []string
	m := h.mapping.resolve(func(key string) bool { _, ok := o.Data[key]; return ok })
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, key+"="+string(m[key]))
	}
	return "map it: the whole mapping is then `" + strings.Join(append(all, lines...), "`, `") + "`"
}
