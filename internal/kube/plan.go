package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Plan tells which keys Set would change to hold c and finds out by a dry run of
// the server, admission included, whether it may. It changes nothing. The error
// holds everything that speaks against it: an immutable Secret, somebody else who
// writes it, a mapped key that is missing, unreadable or at odds with another, a
// password in a key that is not mapped, a missing right.
func (s *Served) Plan(ctx context.Context, c secret.Credential) (change string, warnings []string, err error) {
	o, err := s.get(ctx)
	if err != nil {
		return "", nil, err
	}
	epoch, err := epochOf(o)
	if err != nil {
		return "", nil, fail(refused, noStamp, "read %s: %v", s, err)
	}
	stamp := secret.Stamp{RotationID: "dry-run", RotatedAt: o.CreationTimestamp.Time, Epoch: epoch + 1}
	return s.plan(ctx, o, s.read(o).User, c, func(next secret.Credential) content { return contentOf(next, stamp) })
}

// plan asks everything about o that can speak against writing c into it, where
// user is served; more are objections that only the caller knows. write tells
// what would be written.
func (h *holder) plan(ctx context.Context, o *corev1.Secret, user string, c secret.Credential, write func(secret.Credential) content, more ...error) (change string, warnings []string, err error) {
	current := h.read(o)
	warnings, owned := h.owned(o)
	leaks, leaked := h.leaks(o, current)
	names, misnamed := h.names(o, user, c.User)
	warnings = append(append(warnings, leaks...), names...)
	errs := append(more, misnamed, owned, h.mutable(o), h.mapped(o), leaked, h.verifiers(o, user, current.Password))
	if err := errors.Join(errs...); err != nil {
		return "", warnings, err
	}
	changed, err := h.dryRun(ctx, o, current, c, write)
	if err != nil {
		return "", warnings, err
	}
	return "writes " + quoted(changed), warnings, nil
}

func immutable(o *corev1.Secret) bool { return o.Immutable != nil && *o.Immutable }

func (h *holder) mutable(o *corev1.Secret) error {
	if !immutable(o) {
		return nil
	}
	return fail(refused, "give the Secret a new name without `immutable: true`; nodes may go on serving the old content of one that is deleted and made anew",
		"write %s: it is immutable", h)
}

// mapped checks that the mapped keys are there and tell one and the same credential.
func (h *holder) mapped(o *corev1.Secret) error {
	if errs := h.mapping.check(o.Data); len(errs) > 0 {
		return fail(refused, "correct the keys of the Secret, or their lines in `kubernetes-secret-keys`", "read %s: %v", h, errors.Join(errs...))
	}
	return nil
}

// meddled is what to do about a Secret that is not stored as it was sent.
const meddled = "an admission webhook or policy of the cluster changes it on its way: ask who runs it to leave this Secret alone"

// dryRun has the server go through the whole write without storing it, and
// returns the keys that would change.
func (h *holder) dryRun(ctx context.Context, o *corev1.Secret, current, c secret.Credential, write func(secret.Credential) content) ([]string, error) {
	if c.Verifier.IsZero() { // made only when the rotation begins
		c.Verifier = secret.New("dry run")
	}
	next, err := h.Render(current.Keys, c)
	if err != nil {
		return nil, err
	}
	wanted := write(next)
	written, err := h.write(ctx, o, wanted, metav1.DryRunAll)
	if err != nil {
		return nil, err
	}
	if altered := wanted.misses(written); len(altered) > 0 {
		return nil, fail(refused, meddled,
			"write %s: the API server would store something else in %s", h, strings.Join(altered, ", "))
	}
	return wanted.changes(o), nil
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
			errs = users.hear(errs, key, "user names", secret.New(string(raw)))
		case m[key] == Password:
			errs = passwords.hear(errs, key, "passwords", secret.New(string(raw)))
		case isForm:
			user, password, err := f.read(string(raw))
			if err != nil {
				errs = append(errs, fmt.Errorf("key %q, mapped to %q: %w", key, m[key], err))
				continue
			}
			errs = users.hear(errs, key, "user names", secret.New(user))
			errs = passwords.hear(errs, key, "passwords", secret.New(password))
		}
	}
	return errs
}

// witness is the key that told a value first.
type witness struct {
	key   string
	value secret.Value
}

func (w *witness) hear(errs []error, key, what string, value secret.Value) []error {
	switch {
	case value.IsZero():
		return append(errs, fmt.Errorf("key %q is empty", key))
	case w.key == "":
		*w = witness{key, value}
	case !w.value.Equal(value):
		return append(errs, fmt.Errorf("keys %q and %q hold different %s", w.key, key, what))
	}
	return errs
}
