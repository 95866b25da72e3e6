package kube

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/pgrotate/pgrotate/internal/secret"
)

var (
	errNoKey      = errors.New("the Secret has no such key")
	errNoVerifier = errors.New("no verifier is known")
)

// forms are the properties that are connection strings.
func forms(p Property) (form, bool) {
	switch p {
	case URL:
		return urlForm(), true
	case DSN:
		return keyValueForm(), true
	}
	return form{}, false
}

// read takes the credential out of the mapped keys of a Secret's data. It does
// not judge: a key that is missing or cannot be read says nothing. Everything
// but the user name is masked.
func (m Mapping) read(data map[string][]byte, keep func(string) secret.Value) secret.Credential {
	m = m.resolve(func(key string) bool { _, ok := data[key]; return ok })
	c := secret.Credential{Keys: map[string]secret.Value{}}
	for _, property := range properties {
		for _, key := range m.Keys(property) {
			if raw, ok := data[key]; ok {
				c.Keys[key] = take(&c, property, string(raw), keep)
			}
		}
	}
	return c
}

// take reads one key into c, where c does not have it already, and returns the
// key's bytes.
func take(c *secret.Credential, p Property, text string, keep func(string) secret.Value) secret.Value {
	user, password := "", ""
	switch f, ok := forms(p); {
	case p == Username:
		user = text
	case p == Password:
		password = text
	case p == Verifier:
		c.Verifier = keep(text)
	case ok:
		if u, pw, err := f.read(text); err == nil {
			user, password = u, pw
		}
	}
	if c.User == "" {
		c.User = user
	}
	if c.Password.IsZero() {
		c.Password = keep(password)
	}
	if p == Username { // no secret: masked, every report would be full of stars
		return secret.New(text)
	}
	return keep(text)
}

// render returns the bytes that the mapped keys must have to hold c. Connection
// strings are edited in place in keys. The error names every key that cannot be
// rendered, never what it holds.
func (m Mapping) render(keys map[string]secret.Value, c secret.Credential, keep func(string) secret.Value) (map[string]secret.Value, []error) {
	m = m.resolve(func(key string) bool { _, ok := keys[key]; return ok })
	rendered := map[string]secret.Value{}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(m)) {
		former, exists := keys[key]
		value, err := renderKey(m[key], former, exists, c, keep)
		if err != nil {
			errs = append(errs, fmt.Errorf("key %q, mapped to %q: %w", key, m[key], err))
			continue
		}
		rendered[key] = value
	}
	return rendered, errs
}

func renderKey(p Property, former secret.Value, exists bool, c secret.Credential, keep func(string) secret.Value) (secret.Value, error) {
	switch p {
	case Username:
		return secret.New(c.User), nil
	case Password:
		return c.Password, nil
	case Verifier:
		if c.Verifier.IsZero() {
			return secret.Value{}, errNoVerifier
		}
		return c.Verifier, nil
	}
	if !exists {
		return secret.Value{}, errNoKey
	}
	f, _ := forms(p)
	text, err := f.edit(former.Reveal(), c.User, c.Password.Reveal())
	return keep(text), err
}

// alike tells whether text is the same as twin but for user and password.
func (f form) alike(text, twin string) bool {
	user, password, err := f.read(text)
	if err != nil {
		return false
	}
	edited, err := f.edit(twin, user, password)
	return err == nil && edited == text
}

// spell gives the keys of a copy that were connection strings of the same bytes
// as the served Secret's key of that name the bytes that this key gets for the
// same credential: an unusual spelling comes back with them.
func (m Mapping) spell(next, copied, served map[string]secret.Value) {
	for key, twin := range served {
		f, isForm := forms(m[key])
		if !isForm || next[key].IsZero() || copied[key].IsZero() {
			continue
		}
		user, password, err := f.read(next[key].Reveal())
		u, p, errTwin := f.read(twin.Reveal())
		if err == nil && errTwin == nil && u == user && p == password && f.alike(copied[key].Reveal(), twin.Reveal()) {
			next[key] = twin
		}
	}
}
