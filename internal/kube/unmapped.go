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
func (s *Served) leaks(o *corev1.Secret, current secret.Credential) (warnings []string, err error) {
	password := current.Password.Reveal()
	if password == "" {
		return nil, nil
	}
	keeper := secret.NewKeeper(nil)
	keeper.Keep(password)
	holds := func(text string) bool { return keeper.Scrub(text) != text }

	if holds(o.Annotations[lastApplied]) {
		warnings = append(warnings, fmt.Sprintf("%s was written by `kubectl apply` and keeps the current password in the annotation %q: "+
			"the next `kubectl apply` of that manifest puts it back", s, lastApplied))
	}
	lines, places := s.unmapped(o, current, holds)
	places = append(places, annotations(o, holds)...)
	switch {
	case len(places) == 0:
		return warnings, nil
	case len(password) < guessable || password == current.User:
		return append(warnings, fmt.Sprintf("%s: %s may hold the current password, or look alike by chance", s, strings.Join(places, ", "))), nil
	}
	return warnings, fail(refused, s.remedy(o, lines), "rotate %s: %s holds the current password and is not mapped", s, strings.Join(places, ", "))
}

// unmapped lists the keys that hold the password, and the mapping lines that
// would make them part of the rotation.
func (s *Served) unmapped(o *corev1.Secret, current secret.Credential, holds func(string) bool) (lines, places []string) {
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
func (s *Served) remedy(o *corev1.Secret, lines []string) string {
	if len(lines) == 0 {
		return "keep the password in keys of its own, or as a URL or key=value text, and remove it from there"
	}
	var all []string
	m := s.mapping.resolve(func(key string) bool { _, ok := o.Data[key]; return ok })
	for _, key := range slices.Sorted(maps.Keys(m)) {
		all = append(all, key+"="+string(m[key]))
	}
	return "map it: the whole mapping is then `" + strings.Join(append(all, lines...), "`, `") + "`"
}
