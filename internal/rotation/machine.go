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
	command command
	began   time.Time

	late context.Context // ends a little after the run was told to stop
	last context.Context // ends a little after late

	roles   pair   // which the rotation is about
	noted   *note  // how things stood before the lock was awaited
	system  string // PostgreSQL system identifier
	lockdb  string // database that the lock lives in
	claimed int64  // the epoch of this run; 0: it has claimed nothing
	clock   time.Time
	state   state
	served  secret.Snapshot
	fresh   secret.Value // the password that an own rotation would bring

	replaced secret.Credential           // what an emergency of this run replaces; it is stored nowhere
	ready    map[string]secret.Readiness // Health before the rotation, where this run has asked
	stray    []Copy                      // written by somebody else since the last rotation
	retiring bool                        // the former role is due, and nothing else is to do
	// repairing says that the rotation to be begun goes forward only: the database
	// refuses what it would go back to.
	repairing bool

	found      Phase     // of the journal when this turn began
	started    bool      // the open rotation was begun by this run
	sent       time.Time // when this run sent ALTER ROLE, by its own clock; it may not have arrived
	shut       time.Time // when it sent the one that shut the former password out
	changed    time.Time // when the database had done it, by the database's clock
	unsure     bool      // a rotation may have been written into the journal, or not
	wrote      bool      // this run has written the pending credential into the served Secret
	restarting bool      // and who reads it is being restarted
	closed     bool      // and has closed the role that an emergency leaves
	given      string    // somebody else's emergency that cannot be finished, by its id
	because    error     // what turned the rotation back

	glances chan glance // the last one, while nobody looks

	mu     sync.Mutex // guards intact and result
	intact []string   // copies that have taken nothing of the rotation that was begun under this lock, for certain
	result Result
}

const relocks = 3 // how often a lost lock session is taken for a crash and resumed

var errOwnTurn = errors.New("the rotation of somebody else has ended, now the one that was asked for")

// machine does what every run does, first or later. A lost lock session is a
// crash inside the process: the same from the start, if nobody has claimed the
// journal meanwhile.
func (r *run) machine(ctx context.Context) error {
	for lost := 0; ; r.Lock.Release() {
		err := r.turns(ctx)
		switch {
		case errors.Is(err, errOwnTurn):
			// A rotation that others commit from here on counts as the one that was asked for.
			r.noted, r.claimed, r.started = &note{id: r.state.ID}, 0, false
			r.forget()
			r.pardon()
		case err != nil && ClassOf(err) == Lost && lost < relocks && ctx.Err() == nil:
			lost++
			r.intact = nil
			r.warn(fmt.Sprintf("the database session that held the lock was lost: %v", err))
			r.pardon()
		default:
			return err
		}
	}
}

// turns is a turn, and another one where a run that has lost the lock claims the
// journal all the same before this one does: an emergency does not end because of it.
// Each from which it has taken the lock can do so once. Where its own lock is gone
// somebody has taken over, and it changes nothing more.
func (r *run) turns(ctx context.Context) error {
	for n := 0; ; n++ {
		err := r.turn(ctx)
		if ClassOf(err) != Conflict || r.result.FailedStep != "claim" || r.claimed > 0 || !r.emergency() || n == takeovers || r.lockHeld(ctx) != nil {
			return err
		}
		r.pardon()
	}
}

// pardon forgets which step has failed, where another turn begins; not the one that
// has turned a rotation back.
func (r *run) pardon() {
	if r.because == nil {
		r.result.FailedStep = ""
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
		r.exchange, // forward or back, and what an emergency leaves is closed
		r.step("commit", r.commit),
		r.retire,
		r.next,
	)
}

// readJournal reads the journal.
func (r *run) readJournal(ctx context.Context) (state, error) {
	d, err := insistOn(ctx, r.Journal.Load)
	if err != nil {
		return state{}, err
	}
	return decode(d, r.Keep)
}

// look reads where things stand and ends the run where there is nothing to do.
func (r *run) look(ctx context.Context) (string, error) {
	stored, err := r.readJournal(ctx)
	if err != nil {
		return "", err
	}
	r.state = stored
	if r.served, err = r.readServed(ctx); err != nil {
		return "", err
	}
	if err := r.same(ctx); err != nil {
		return "", err
	}
	r.found, r.stray, r.retiring, r.repairing = r.state.Phase, nil, false, false
	if r.claimed > 0 && r.state.Epoch != r.claimed {
		return "", &failure{class: Conflict, text: fmt.Sprintf("resume after the lock was lost: %s has taken over", r.state.Owner)}
	}
	switch only := r.Request.Only; {
	case only != "" && (r.state.Phase == Idle || r.state.ID != only):
		return "", &nothing{fmt.Sprintf("rotation %s is not open: nothing to resume", only)}
	case r.state.Phase != Idle:
		return fmt.Sprintf("rotation %s is open, going %s", r.state.ID, r.state.Phase), r.admit()
	}
	return "no rotation is open", r.idle(ctx)
}

// idle tells whether a closed journal leaves something to do.
func (r *run) idle(ctx context.Context) error {
	err := r.due()
	if !isNothing(err) || r.command == rollback || r.emergency() {
		return err
	}
	if r.stray = r.strays(ctx); len(r.stray) > 0 {
		return nil
	}
	if r.retiring = r.retirable(ctx); r.retiring {
		return nil
	}
	return err
}

// claim makes this run the owner of the journal.
func (r *run) claim(ctx context.Context) (string, error) {
	next := r.state
	next.Epoch = max(r.state.Epoch, r.served.Epoch) + 1
	next.Owner, next.Record.Claim = r.Request.Owner, r.NewID()
	if next.Phase != Idle {
		next.Record.SecretUID = r.served.UID // a recreated Secret stays the one once it has an epoch
	}
	if next.Phase == Forward && r.served.Epoch < r.state.Epoch { // a run that died before its fence leaves it so, too
		next.Record.Restart = restartAll
	}
	if until := next.Record.PreviousUntil; next.Phase == Idle && until != nil && r.Now().After(*until) {
		next.Previous, next.Former, next.Record.PreviousUntil = secret.Credential{}, secret.Stamp{}, nil
	}
	if next.Epoch >= highestEpoch {
		return "", damaged(fmt.Errorf("the epoch %d is no number of a claim", next.Epoch-1))
	}
	if next.Phase != Idle {
		r.announce(next.ID)
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
	err := limited(ctx, func(ctx context.Context) (err error) {
		r.clock, err = r.Lock.Check(ctx)
		return err
	})
	if err != nil {
		return "", err
	}
	if err := r.raise(ctx, r.claimed); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s has epoch %d", r.Served, r.claimed), nil
}

// raise writes the epoch into the served Secret and reads it again.
func (r *run) raise(ctx context.Context, epoch int64) error {
	none, stamp := secret.Credential{}, secret.Stamp{Epoch: epoch}
	if err := insist(ctx, func(ctx context.Context) error { return r.Served.Set(ctx, none, stamp) }); err != nil {
		return err
	}
	served, err := r.readServed(ctx)
	if err == nil {
		r.served = served
	}
	return err
}

// save writes the journal. Where the answer got lost it reads back what is there.
func (r *run) save(ctx context.Context, next state) error {
	wanted, err := next.encode()
	switch {
	case err != nil:
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("write the journal: %w", context.Cause(ctx))
	}
	err = insist(ctx, func(ctx context.Context) error {
		stored, err := r.Journal.Save(ctx, wanted)
		if err != nil {
			stored, err = r.arrivedAnyway(ctx, wanted, err)
		}
		if err != nil {
			return err
		}
		next.version = stored.Version
		r.state = next
		return nil
	})
	r.unsure = err != nil && ClassOf(err) == Unavailable && next.Phase != Idle
	return err
}

// arrivedAnyway tells a write whose answer got lost from one that was refused.
// Nobody else writes the same document: every claim has an id of its own.
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
	closed, turned := r.committed(), r.state.Phase
	if err := r.save(ctx, closed); err != nil {
		return "", err
	}
	r.conclude(turned)
	if until := closed.Record.PreviousUntil; until != nil {
		return "the former password is kept until " + until.Format(time.RFC3339), nil
	}
	return "nothing of the rotation is kept", nil
}

// committed is the journal after the rotation. What an emergency replaced is never kept.
func (r *run) committed() state {
	next := r.state
	next.Phase, next.Pending, next.Superseded, next.Record.Targets = Idle, secret.Credential{}, nil, r.targets()
	next.Record.Former, next.Record.RetireAt = r.leftover()
	switch r.state.Phase {
	case Idle: // copies were mended
		return next
	case Forward:
		if !r.emergency() || r.mine() { // what it has still to make is not made
			next.Request = r.Request.ID
		}
	case Back:
		next.Record.Request = ""
	}
	if r.state.Phase == Forward && !r.state.oneWay() && r.Policy.KeepPrevious > 0 {
		until := r.Now().Add(r.Policy.KeepPrevious).UTC()
		next.Record.PreviousUntil = &until
	} else {
		next.Previous, next.Former = secret.Credential{}, secret.Stamp{}
	}
	return next
}

// next starts the rotation that was asked for after one of somebody else: a
// planned one after one that was found going back, an emergency after any
// other. One that this run itself has turned back is not tried again.
func (r *run) next(context.Context) error {
	switch {
	case r.emergency() && !r.mine():
		return errOwnTurn
	case r.command != rotate, r.found != Back, r.because != nil, r.started:
		return nil
	case r.forwardTime() < r.Policy.RolloutTimeout:
		r.warn("no time was left for the rotation that was asked for: start it again")
		return nil
	}
	return errOwnTurn
}
