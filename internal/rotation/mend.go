package rotation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// strays returns the copies that were written since the last rotation, by a run
// that had been stopped and went on late, or by hand. GitHub's secrets cannot be
// fenced: what the store says of its last write is compared with the record.
// There are none to tell where the served credential is not the one in use.
func (r *run) strays(ctx context.Context) []Copy {
	moved := slices.DeleteFunc(r.copies(), func(c Copy) bool { return !r.moved(ctx, c) })
	if len(moved) == 0 {
		return nil
	}
	if why := r.keptOut(ctx, r.served.Credential); why != "" {
		r.warn(fmt.Sprintf("%s was written since the last rotation and is left alone: %s", moved[0], why))
		return nil
	}
	return moved
}

// keptOut says why the served credential may not be taken for the one in use;
// empty: it opens the door.
func (r *run) keptOut(ctx context.Context, served secret.Credential) string {
	switch verdict, err := r.holds(ctx, served); verdict {
	case secret.Yes:
		return ""
	case secret.Closed:
		return fmt.Sprintf("role %q is NOLOGIN", served.User)
	case secret.No:
		return "the database refuses the served password"
	default:
		return fmt.Sprintf("whether the served password logs in is not known: %v", err)
	}
}

func (r *run) moved(ctx context.Context, c Copy) bool {
	recorded := r.recorded(c)
	if recorded == nil {
		return false
	}
	at, err := c.Updated(ctx)
	if err != nil {
		r.warn(fmt.Sprintf("whether somebody else has written %s is not known: %v", c, err))
		return false
	}
	return !at.IsZero() && !at.Equal(*recorded)
}

// recorded is when the last rotation saw the copy updated; nil: not known.
func (r *run) recorded(c Copy) *time.Time {
	i := slices.IndexFunc(r.state.Record.Targets, func(s Stored) bool { return s.Name == c.String() })
	if i < 0 {
		return nil
	}
	return r.state.Record.Targets[i].UpdatedAt
}

// mend writes the served credential into the copies that somebody else wrote.
func (r *run) mend(ctx context.Context) error {
	if len(r.stray) == 0 {
		return nil
	}
	for _, target := range r.stray {
		r.warn(fmt.Sprintf("%s was written by somebody else since the last rotation: it holds the served credential again", target))
	}
	return r.step("copies", r.copyAll(r.stray, way{credential: r.served.Credential}))(ctx)
}

// still makes sure that a copy is as this run has written it, and writes it once
// more where somebody else has overwritten it meanwhile.
func (r *run) still(ctx context.Context, target Copy, w way) error {
	at, err := target.Updated(ctx)
	own := r.updated(target)
	if err != nil || at.Equal(own) || !at.IsZero() && at.Before(own) { // a store may answer with what it knew before
		return err
	}
	r.warn(fmt.Sprintf("%s was overwritten by somebody else meanwhile, and written again", target))
	if err := r.put(ctx, target, w); err != nil {
		return err
	}
	return r.arrived(ctx, target, w.credential)
}
