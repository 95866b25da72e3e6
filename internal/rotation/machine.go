package rotation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// run is one run of the machine: the Rotation and what the run knows so far.
type run struct {
	*Rotation
	rotate bool // it may start a rotation of its own, not only finish one
	began  time.Time

	noted   *string // the served rotation id before the lock was awaited
	system  string  // PostgreSQL system identifier
	lockdb  string  // database that the lock lives in
	claimed int64   // the epoch of this run; 0: it has claimed nothing
	clock   time.Time
	state   state
	served  secret.Snapshot
	fresh   secret.Value // the password that an own rotation would bring

	found   Phase     // of the journal when this turn began
	altered time.Time // when this run sent ALTER ROLE, by its own clock
	changed time.Time // when the database had done it, by the database's clock
	because error     // what turned the rotation back

	mu     sync.Mutex // guards result
	result Result
}

const relocks = 3 // how often a lost lock session is taken for a crash and resumed

var errOwnTurn = errors.New("a way back has ended, now the rotation that was asked for")

// machine does what every run does, first or later. A lost lock session is a
// crash inside the process: the same from the start, if nobody has claimed the
// journal meanwhile.
func (r *run) machine(ctx context.Context) error {
	for lost := 0; ; {
		err := r.turn(ctx)
		switch {
		case errors.Is(err, errOwnTurn):
			r.noted = nil
		case err != nil && ClassOf(err) == Lost && r.claimed > 0 && lost < relocks:
			lost++
		default:
			return err
		}
	}
}

// turn is the state machine, top to bottom. Nothing is written before claim,
// no password changes before decide has made the journal durable.
func (r *run) turn(ctx context.Context) error {
	return sequence(ctx,
		r.step("lock", r.lock),
		r.step("look", r.look),
		r.step("preflight", r.preflight),
		r.step("claim", r.claim),
		r.step("fence", r.fence),
		r.step("journal", r.decide),
		r.forwardOrBack,
		r.step("commit", r.commit),
		r.next,
	)
}

// lock serialises the runs of one role. The served rotation id is noted before
// the wait: if it has changed after it, somebody else did the work.
func (r *run) lock(ctx context.Context) (string, error) {
	served, err := r.Served.Look(ctx)
	if err != nil {
		return "", err
	}
	if r.noted == nil {
		r.noted = &served.RotationID
	}
	base := r.base(served)
	r.system, r.lockdb, err = r.Lock.Acquire(ctx, base, r.Policy.LockTimeout)
	if err != nil && ClassOf(err) == Busy {
		return "", r.busy(ctx, base, err)
	}
	return fmt.Sprintf("role %q", base), err
}

func (r *run) base(served secret.Snapshot) string {
	if r.Role != "" {
		return r.Role
	}
	return served.Credential.User
}

// busy names the run that holds the lock, as far as the journal knows it.
func (r *run) busy(ctx context.Context, base string, cause error) error {
	f := &failure{class: Busy, text: fmt.Sprintf("rotate role %q: another run is at it: %v", base, cause),
		hint: "wait for it to end and start this run again"}
	if stored, err := r.read(ctx); err == nil && stored.Owner != "" {
		f.text = fmt.Sprintf("rotate role %q: another run is at it, the last one to claim it is %s", base, stored.Owner)
	}
	return f
}

func (r *run) read(ctx context.Context) (state, error) {
	d, err := r.Journal.Load(ctx)
	if err != nil {
		return state{}, err
	}
	return decode(d, r.Keep)
}

// look reads where things stand and ends the run where there is nothing to do.
func (r *run) look(ctx context.Context) (string, error) {
	var err error
	if r.state, err = r.read(ctx); err != nil {
		return "", err
	}
	if r.served, err = r.Served.Look(ctx); err != nil {
		return "", err
	}
	r.found = r.state.Phase
	if r.claimed > 0 && r.state.Epoch != r.claimed {
		return "", &failure{class: Conflict, text: fmt.Sprintf("resume after the lock was lost: %s has taken over", r.state.Owner)}
	}
	if r.state.Phase != Idle {
		return fmt.Sprintf("rotation %s is open, going %s", r.state.ID, r.state.Phase), r.admit()
	}
	return "no rotation is open", r.due()
}

// claim makes this run the owner of the journal.
func (r *run) claim(ctx context.Context) (string, error) {
	next := r.state
	next.Epoch = max(r.state.Epoch, r.served.Epoch) + 1
	next.Owner = r.Request.Owner
	if until := next.Record.PreviousUntil; next.Phase == Idle && until != nil && r.Now().After(*until) {
		next.Previous, next.Former, next.Record.PreviousUntil = secret.Credential{}, secret.Stamp{}, nil
	}
	if err := r.save(ctx, next); err != nil {
		return "", err
	}
	r.claimed = next.Epoch
	return fmt.Sprintf("epoch %d", next.Epoch), nil
}

// fence shuts older runs out of the served Secret. The lock is checked first: a
// run that lost it must not fence the one that took it.
func (r *run) fence(ctx context.Context) (string, error) {
	var err error
	if r.clock, err = r.Lock.Check(ctx); err != nil {
		return "", err
	}
	if err := r.raise(ctx, r.claimed); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s has epoch %d", r.Served, r.claimed), nil
}

// raise writes the epoch into the served Secret and reads it again.
func (r *run) raise(ctx context.Context, epoch int64) error {
	none := secret.Credential{}
	if err := insist(ctx, func() error { return r.Served.Set(ctx, none, secret.Stamp{Epoch: epoch}) }); err != nil {
		return err
	}
	var err error
	r.served, err = r.Served.Look(ctx)
	return err
}

// save writes the journal. Where the answer got lost it reads back what is there.
func (r *run) save(ctx context.Context, next state) error {
	return insist(ctx, func() error {
		wanted, err := next.encode()
		if err != nil {
			return err
		}
		stored, err := r.Journal.Save(ctx, wanted)
		if err != nil {
			if stored, err = r.arrivedAnyway(ctx, wanted, err); err != nil {
				return err
			}
		}
		next.version, r.state = stored.Version, next
		r.state.version = stored.Version
		return nil
	})
}

// arrivedAnyway tells a write whose answer got lost from one that was refused.
func (r *run) arrivedAnyway(ctx context.Context, wanted secret.Document, cause error) (secret.Document, error) {
	if class := ClassOf(cause); class != Unavailable && class != Conflict {
		return secret.Document{}, cause
	}
	stored, err := r.Journal.Load(ctx)
	if err != nil || !sameDocument(stored, wanted) {
		return secret.Document{}, cause
	}
	return stored, nil
}

// commit closes the journal and wipes what only an open rotation needs.
func (r *run) commit(ctx context.Context) (string, error) {
	next := r.state
	next.Phase, next.Pending = Idle, secret.Credential{}
	keep := r.state.Phase == Forward && r.Policy.KeepPrevious > 0
	if keep {
		until := r.Now().Add(r.Policy.KeepPrevious).UTC()
		next.Record.PreviousUntil = &until
	} else {
		next.Previous, next.Former = secret.Credential{}, secret.Stamp{}
	}
	if r.state.Phase == Forward {
		next.Request = r.Request.ID
	}
	next.Record.Targets = r.targets()
	turned := r.state.Phase
	if err := r.save(ctx, next); err != nil {
		return "", err
	}
	r.conclude(turned)
	if keep {
		return "the former password is kept until " + next.Record.PreviousUntil.Format(time.RFC3339), nil
	}
	return "nothing of the rotation is kept", nil
}

// next starts the rotation that was asked for after one that was found going back.
func (r *run) next(context.Context) error {
	if r.rotate && r.found == Back {
		return errOwnTurn
	}
	return nil
}
