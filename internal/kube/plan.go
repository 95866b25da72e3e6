package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Plan tells which keys Set would change to hold c and finds out by a dry run of
// the server, admission included, whether it may. It changes nothing. The error
// holds everything that speaks against it: an immutable Secret, a mapped key
// that is missing, unreadable or at odds with another, a password in a key that
// is not mapped, a missing right.
func (s *Served) Plan(ctx context.Context, c secret.Credential) (change string, warnings []string, err error) {
	o, err := s.get(ctx)
	if err != nil {
		return "", nil, err
	}
	current := s.mapping.read(o.Data, s.cluster.keeper.Keep)
	warnings, leaked := s.leaks(o, current)
	errs := []error{s.mutable(o), s.mapped(o), leaked}
	if err := errors.Join(errs...); err != nil {
		return "", warnings, err
	}
	changed, err := s.dryRun(ctx, o, current, c)
	if err != nil {
		return "", warnings, err
	}
	return "writes " + quoted(changed), warnings, nil
}

func (s *Served) mutable(o *corev1.Secret) error {
	if o.Immutable == nil || !*o.Immutable {
		return nil
	}
	return fail(refused, "give the Secret a new name without `immutable: true`; nodes may go on serving the old content of one that is deleted and made anew",
		"write %s: it is immutable", s)
}

// mapped checks that the mapped keys are there and tell one and the same credential.
func (s *Served) mapped(o *corev1.Secret) error {
	if errs := s.mapping.check(o.Data); len(errs) > 0 {
		return fail(refused, "", "read %s: %v", s, errors.Join(errs...))
	}
	return nil
}

// dryRun has the server go through the whole write without storing it, and
// returns the keys that would change.
func (s *Served) dryRun(ctx context.Context, o *corev1.Secret, current, c secret.Credential) ([]string, error) {
	if c.Verifier.IsZero() { // made only when the rotation begins
		c.Verifier = secret.New("dry run")
	}
	next, err := s.Render(current.Keys, c)
	if err != nil {
		return nil, err
	}
	epoch, err := epochOf(o)
	if err != nil {
		return nil, fail(refused, "", "read %s: %v", s, err)
	}
	wanted := contentOf(next, secret.Stamp{RotationID: "dry-run", RotatedAt: o.CreationTimestamp.Time, Epoch: epoch + 1})
	return wanted.changes(o), s.write(ctx, o, wanted, metav1.DryRunAll)
}

// check finds the mapped keys that are missing, cannot be read, or hold another
// user or password than the first one.
func (m Mapping) check(data map[string][]byte) []error {
	m = m.resolve(func(key string) bool { _, ok := data[key]; return ok })
	var users, passwords witness
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(m)) {
		raw, ok := data[key]
		if !ok {
			errs = append(errs, fmt.Errorf("key %q, mapped to %q: %w", key, m[key], errNoKey))
			continue
		}
		switch f, isForm := forms(m[key]); {
		case m[key] == Username:
			errs = users.hear(errs, key, "user names", string(raw))
		case m[key] == Password:
			errs = passwords.hear(errs, key, "passwords", string(raw))
		case isForm:
			user, password, err := f.read(string(raw))
			if err != nil {
				errs = append(errs, fmt.Errorf("key %q, mapped to %q: %w", key, m[key], err))
				continue
			}
			errs = users.hear(errs, key, "user names", user)
			errs = passwords.hear(errs, key, "passwords", password)
		}
	}
	return errs
}

// witness is the key that told a value first.
type witness struct{ key, value string }

func (w *witness) hear(errs []error, key, what, value string) []error {
	switch {
	case value == "":
		return append(errs, fmt.Errorf("key %q is empty", key))
	case w.key == "":
		*w = witness{key, value}
	case w.value != value:
		return append(errs, fmt.Errorf("keys %q and %q hold different %s", w.key, key, what))
	}
	return errs
}
