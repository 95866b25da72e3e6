package rotation

import (
	"context"
	"errors"
	"slices"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// copyAll makes every copy hold the credential, one after the other, and proves
// it; one that has taken nothing to be taken back is left alone. The lock is
// checked before each: a store without preconditions takes any write, also that
// of a run which has been stopped for a while and was replaced.
func (r *run) copyAll(copies []Copy, w way) action {
	return func(ctx context.Context) (string, error) {
		touched := r.touched(copies, w)
		var errs []error
		for _, target := range touched {
			err := r.put(ctx, target, w)
			r.report(Target{Kind: "copy", Name: target.String(), Err: err})
			if errs = append(errs, err); ClassOf(err) == Lost { // nobody writes without the lock
				return "", errors.Join(errs...)
			}
		}
		errs = append(errs, each(r.written(touched), func(target Copy) error { return r.arrived(ctx, target, w.credential) })...)
		return writes(len(touched), len(copies)-len(touched)), errors.Join(errs...)
	}
}

func writes(written, left int) string {
	text := plural(written, "copy", "copies") + " written"
	if left > 0 {
		text += ", " + plural(left, "left as it was", "left as they were")
	}
	return text
}

// put writes a copy. Only a refusal is certain to have changed nothing.
func (r *run) put(ctx context.Context, target Copy, w way) error {
	err := target.Set(ctx, w.credential, r.lockHeld)
	if !w.back && (err == nil || ClassOf(err) != Refused) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.intact = slices.DeleteFunc(r.intact, func(name string) bool { return name == target.String() })
	}
	return err
}

// touched leaves out, on the way back, the copies that have nothing to be taken
// back: a store that has refused to be written refuses it again.
func (r *run) touched(copies []Copy, w way) []Copy {
	if !w.back {
		return copies
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(copies), func(c Copy) bool { return slices.Contains(r.intact, c.String()) })
}

// arrived proves that a copy has taken the credential.
func (r *run) arrived(ctx context.Context, target Copy, c secret.Credential) error {
	at, err := target.Verify(ctx, c)
	r.report(Target{Kind: "copy", Name: target.String(), UpdatedAt: at, Err: err})
	return err
}
