package kube

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Property is what a key of a Secret holds of a credential.
type Property string

// The properties. A url is a postgres:// or postgresql:// URL, a dsn is libpq's
// "key=value" form; of both only user and password are ever changed.
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
const (
	Username Property = "username"
	Password Property = "password"
	URL      Property = "url"
	DSN      Property = "dsn"
	Verifier Property = "verifier"
)

// properties are in the order in which a credential is read from them.
var properties = [...]Property{Username, Password, URL, DSN, Verifier}

// Mapping tells which key of a Secret holds which property. The zero Mapping
// maps the keys "username" and "password" to the properties of their names,
// where they exist.
type Mapping map[string]Property

// ParseMapping reads lines of the form KEY=property. The error names every line
// that is wrong by its number: somebody may have put a password there. No lines
// make the zero Mapping.
func ParseMapping(lines []string) (Mapping, error) {
	var errs []error
	var m Mapping
	for i, line := range lines {
		key, property, err := parseLine(line)
		if _, twice := m[key]; err == nil && twice {
			err = fmt.Errorf("key %q is mapped twice", key)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", i+1, err))
			continue
		}
		if m == nil {
			m = Mapping{}
		}
		m[key] = property
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return m, m.complete()
}

func parseLine(line string) (string, Property, error) {
	key, text, ok := strings.Cut(line, "=")
	key, property := strings.TrimSpace(key), Property(strings.TrimSpace(text))
	switch {
	case !ok:
		return "", "", errors.New("want KEY=property")
	case len(validation.IsConfigMapKey(key)) > 0:
		return "", "", errors.New("what stands before the = cannot be a key of a Secret")
	case !slices.Contains(properties[:], property):
		return "", "", fmt.Errorf("key %q has an unknown property, there are username, password, url, dsn, verifier", key)
	}
	return key, property, nil
}

// complete demands that user and password can be read back from the mapped keys.
func (m Mapping) complete() error {
	if m == nil || len(m.Keys(URL))+len(m.Keys(DSN)) > 0 {
		return nil
	}
	for _, property := range []Property{Username, Password} {
		if len(m.Keys(property)) == 0 {
			return fmt.Errorf("no key is mapped to %q, nor to \"url\" or \"dsn\" which would hold it too", property)
		}
	}
	return nil
}

// Keys returns the keys that are mapped to property, sorted.
func (m Mapping) Keys(property Property) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if m[key] == property {
			keys = append(keys, key)
		}
	}
	return keys
}

// resolve makes the zero Mapping the one that fits the keys that exist. A
// Secret without a password, one that was made anew, gets both keys.
func (m Mapping) resolve(exists func(key string) bool) Mapping {
	if len(m) > 0 {
		return m
	}
	both := Mapping{string(Username): Username, string(Password): Password}
	if exists(string(Password)) && !exists(string(Username)) {
		delete(both, string(Username))
	}
	return both
}
