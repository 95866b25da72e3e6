package rotation

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	takeover       = 10 * time.Second // what an emergency waits before it takes the lock from a live run
	again          = 2 * time.Second  // and from each that was before it in the queue
	takeovers      = 30               // how often it does
	looksForHolder = 10               // how often the journal is asked who holds the lock
	returning      = 15 * time.Second // that a database is given to come back, in which this run has held the lock
)

// note is what the journal said before the lock was awaited: what has ended
// since was somebody else's rotation, and need not be made again. The served
// Secret is no part of it: read at another moment, it would say something else.
type note struct {
	id   string // of the last rotation
	open bool   // it was under way
}

func (r *run) note() *note { return &note{id: r.state.ID, open: r.state.Phase != Idle} }

// lock serialises the runs of one role. A journal that cannot be read again leaves
// what is known of an open rotation.
func (r *run) lock(ctx context.Context) (string, error) {
	stored, err := r.readJournal(ctx)
	if err != nil {
		return "", r.unread(ctx, err)
	}
	if r.state = stored; r.noted == nil {
		r.noted = r.note()
	}
	served, err := r.readServed(ctx)
	if err != nil {
		return "", r.unread(ctx, err)
	}
	if r.roles, err = r.find(ctx, served); err != nil {
		return "", err
	}
	base := r.roles.base
	if base == "" {
		return "", r.nobody()
	}
	switch err = r.regain(ctx, base); {
	case err == nil:
		return fmt.Sprintf("role %q", base), nil
	case ClassOf(err) == Busy:
		return "", r.busy(ctx, base, err)
	}
	return "", r.unlocked(ctx, err, served)
}

// nobody refuses a Secret that does not say whom it serves.
func (r *run) nobody() error {
	return &failure{class: Missing, text: fmt.Sprintf("read %s: it holds no user name", r.Served),
		hint: "put the user name of the role into it, or set `postgres-role`"}
}

// regain takes the lock, and waits for a database that has gone with it: one that is
// started again, or fails over, comes back, and an open rotation goes on.
func (r *run) regain(ctx context.Context, base string) error {
	for deadline := r.Now().Add(returning); ; {
		err := r.acquire(ctx, base)
		if err == nil || r.claimed == 0 || ClassOf(err) != Unavailable || !r.Now().Before(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(betweenLooks):
		}
	}
}

// acquire takes the lock. An emergency ends the session of a run that holds it, and
// of those that waited for it before: the epoch and the compare-and-swaps stop them
// wherever they are.
func (r *run) acquire(ctx context.Context, base string) (err error) {
	if !r.emergency() {
		r.system, r.lockdb, err = r.Lock.Acquire(ctx, base, r.Policy.LockTimeout)
		return err
	}
	wait := min(takeover, r.Policy.LockTimeout)
	for n := 0; ; n++ {
		r.system, r.lockdb, err = r.Lock.Acquire(ctx, base, wait)
		if err == nil || ClassOf(err) != Busy || n == takeovers {
			return err
		}
		if broken := r.Lockout.Break(ctx, base, r.roles.base, r.roles.twin); broken != nil {
			return errors.Join(err, broken)
		}
		r.warn("somebody else held the lock, another run by its name: that session was ended, and can change nothing more")
		wait = min(again, wait)
	}
}

// busy names the run that holds the lock, as far as the journal knows it: whoever
// claimed a rotation that has ended since is not the one.
func (r *run) busy(ctx context.Context, base string, cause error) error {
	f := &failure{class: Busy, text: fmt.Sprintf("rotate role %q: another run is at it: %v", base, cause),
		hint: "wait for it to end and start this run again"}
	if stored := r.holder(ctx); stored.Owner != "" {
		f.text = fmt.Sprintf("rotate role %q: another run is at it, the last one to claim it is %s: %v", base, stored.Owner, cause)
	}
	return f
}

// holder is the journal as whoever holds the lock has claimed it, and empty where
// that does not happen soon: it is looking whether anything speaks against it.
func (r *run) holder(ctx context.Context) state {
	var last string // claim
	for n := 0; ; n++ {
		stored, err := r.readJournal(ctx)
		if n == 0 {
			last = stored.Record.Claim
		}
		switch {
		case err != nil, n == looksForHolder:
			return state{}
		case stored.Phase != Idle || stored.Record.Claim != last:
			return stored
		}
		select {
		case <-ctx.Done():
			return state{}
		case <-time.After(betweenLooks):
		}
	}
}
