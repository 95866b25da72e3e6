package rotation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// nothing ends a run that has nothing to do.
type nothing struct{ reason string }

func (n *nothing) Error() string { return n.reason }

func isNothing(err error) bool {
	var n *nothing
	return errors.As(err, &n)
}

// due tells whether a closed journal calls for a rotation.
func (r *run) due() error {
	switch {
	case r.command == resume:
		return &nothing{"no rotation is open: nothing to resume"}
	case !r.emergency() && (r.served.Credential.Password.IsZero() || len(r.served.Credential.Keys) == 0):
		return &failure{class: Missing, text: fmt.Sprintf("read %s: it holds no password", r.Served),
			hint: "put the password of the role into it: a rotation must be able to go back to it"}
	case r.fits() != nil:
		return r.fits()
	case r.done():
		return &nothing{fmt.Sprintf("this request has made rotation %s already", r.state.ID)}
	case r.command == rollback:
		return r.undoable()
	case r.emergency():
		return nil
	case r.served.RotationID == r.state.ID && r.state.ID != "" && (r.noted.id != r.state.ID || r.noted.open):
		return &nothing{fmt.Sprintf("rotation %s was made while this run waited for the lock", r.served.RotationID)}
	}
	if age, since := r.age(); age < r.Policy.MinimumAge {
		return &nothing{fmt.Sprintf("the password is %s old (%s), younger than `minimum-age`", age.Round(time.Second), since)}
	}
	return nil
}

// done tells whether this very request has its rotation already, in an earlier
// attempt. An emergency and a rollback must have begun it; a planned one is
// content with having ended somebody else's.
func (r *run) done() bool {
	begun := r.Request.ID != "" && r.state.Record.Request == r.Request.ID
	switch {
	case r.command == rollback:
		return begun && r.state.Record.Undoes != ""
	case r.emergency():
		return begun && r.state.Mode == Emergency
	}
	return begun || r.Request.ID != "" && r.state.Request == r.Request.ID
}

// age of the served password, and what it is counted from.
func (r *run) age() (time.Duration, string) {
	if at := r.served.RotatedAt; !at.IsZero() {
		return r.Now().Sub(at), "last rotated " + at.UTC().Format(time.RFC3339)
	}
	at := r.served.Created
	return r.Now().Sub(at), "never rotated by pgrotate, the Secret was created " + at.UTC().Format(time.RFC3339)
}

// admit refuses to resume a rotation of other things than this run was given.
func (r *run) admit() error {
	rec, base := r.state.Record, r.roles.base
	recreated := r.served.UID != rec.SecretUID && r.served.Epoch == 0
	switch {
	case r.command == rollback && r.state.Record.Repairs:
		return &mismatch{failure{class: Refused, text: fmt.Sprintf("roll rotation %s back: the database refused what was served before it", r.state.ID),
			hint: "finish it with `resume`"}}
	case r.command == rollback && r.state.Mode == Emergency:
		return &mismatch{failure{class: Refused, text: fmt.Sprintf("roll rotation %s back: it is an emergency, and the password that it replaces is compromised", r.state.ID),
			hint: "finish it with `resume`"}}
	case base != rec.Base:
		return otherwise("role", rec.Base, base, "`postgres-role`, `kubernetes-secret`")
	case r.supersedes() && r.fits() != nil:
		return r.fits()
	case rec.Twin != "" && rec.Twin != r.roles.twin:
		return otherwise("alternate role", rec.Twin, r.roles.twin, "`postgres-alternate-role`")
	case r.served.UID != rec.SecretUID && !recreated:
		return otherwise("Secret uid", rec.SecretUID, r.served.UID, "`kubernetes-secret`, `namespace` (if the Secret was recreated: remove its annotation pgrotate.io/epoch)")
	case r.older():
		return &mismatch{failure{class: Refused, text: fmt.Sprintf("resume rotation %s: %s has been rotated since (rotation %q, epoch %d): the journal is an old copy", r.state.ID, r.Served, r.served.RotationID, r.served.Epoch),
			hint: fmt.Sprintf("a backup was restored? if the served password logs in, remove %s; it may bring a password back that was given up", r.Journal)}}
	case rec.System != "" && r.system != "" && rec.System != r.system:
		return otherwise("database system identifier", rec.System, r.system, "`postgres-url`, `postgres-pod`")
	case r.lockdb != "" && rec.LockedIn != r.lockdb: // a plan has no lock, and does not know
		return otherwise("lock database", rec.LockedIn, r.lockdb, "the database in `postgres-url`")
	}
	return r.lacking()
}

// older tells an open journal that was restored from a backup. The served Secret
// is never ahead of its journal, but for a way back that is being decided.
func (r *run) older() bool {
	known := r.served.RotationID == r.state.ID || r.served.RotationID == r.state.Former.RotationID
	deciding := r.state.Mode == Planned && known && r.served.Epoch == r.state.Epoch+1
	return r.served.Epoch > r.state.Epoch && !deciding
}

// lacking refuses inputs that leave out a recorded target.
func (r *run) lacking() error {
	var missing []string
	for _, target := range r.state.Record.Targets {
		if !slices.ContainsFunc(r.copies(), func(c Copy) bool { return c.String() == target.Name }) {
			missing = append(missing, target.Name)
		}
	}
	for _, name := range r.state.Record.Workloads {
		if !r.Discovered && !slices.ContainsFunc(r.Workloads, func(w Workload) bool { return w.String() == name }) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &failure{class: Refused, text: fmt.Sprintf("resume rotation %s: not among this run's inputs: %s", r.state.ID, strings.Join(missing, ", ")),
		hint: "run with the inputs that the rotation was started with; more targets are allowed, fewer are not"}
}

// mismatch says that the open rotation is not about what this run was given.
type mismatch struct{ failure }

func otherwise(what, recorded, now, inputs string) error {
	return &mismatch{failure{class: Refused, text: fmt.Sprintf("resume the open rotation: its %s is %q, this run has %q", what, recorded, now),
		hint: "check " + inputs + ": the rotation was started with others"}}
}

// decide writes down what is about to happen, before anything does.
func (r *run) decide(ctx context.Context) (string, error) {
	switch {
	case len(r.stray) > 0:
		return "no rotation is begun: copies are mended", nil
	case r.retiring:
		return "no rotation is begun: a role is retired", nil
	case r.state.Phase != Idle && !r.supersedes() && !r.repairing:
		return fmt.Sprintf("resuming rotation %s, going %s", r.state.ID, r.state.Phase), nil
	}
	next, err := r.draft(ctx)
	if err != nil {
		return "", err
	}
	if err := next.check(); err != nil { // no run could finish it
		return "", err
	}
	r.announce(next.ID)
	if err := r.save(ctx, next); err != nil {
		return "", err
	}
	r.started, r.replaced, r.fresh = true, r.served.Credential, secret.Value{}
	r.forget()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.intact, r.result.Copies, r.result.Workloads = names(r.copies()), nil, nil
	r.result.Laggards, r.result.Refusals, r.result.RefusedWindow = nil, nil, 0
	return fmt.Sprintf("rotation %s is written down", next.ID), nil
}

// forget drops what this run has done for another rotation.
func (r *run) forget() {
	r.sent, r.shut, r.changed, r.intact = time.Time{}, time.Time{}, time.Time{}, nil
	r.wrote, r.restarting, r.closed = false, false, false
}

// draft is the rotation that was asked for. What an open one may have brought
// into the database stays known until the new password is in its place.
func (r *run) draft(ctx context.Context) (next state, err error) {
	next = r.state
	next.Phase, next.Mode, next.ID, next.Reason, next.Record = Forward, Planned, r.NewID(), r.Scrub(r.Request.Reason), r.record()
	if next.Pending, err = r.pending(ctx); err != nil {
		return next, err
	}
	if r.emergency() {
		next.Mode = Emergency
	}
	if next.Record.Former == next.Pending.User { // a Secret was restored that serves the former role again
		next.Record.Former, next.Record.Twin = r.roles.other(next.Pending.User), r.roles.twin
	}
	next.Record.Repairs = r.repairing
	if next.oneWay() {
		next.Previous, next.Former, next.Superseded = secret.Credential{}, secret.Stamp{}, r.givenUp()
		return next, nil
	}
	next.Previous = r.served.Credential
	next.Former = secret.Stamp{RotationID: r.served.RotationID, RotatedAt: r.served.RotatedAt}
	next.Previous.Verifier, err = r.Database.Stored(ctx, next.Previous)
	return next, err
}

// givenUp are the credentials of the open rotation that this run's own replaces.
func (r *run) givenUp() (all []secret.Credential) {
	for _, c := range []secret.Credential{r.state.Pending, r.state.Previous} {
		if r.state.Phase != Idle && c.User != "" {
			all = append(all, c)
		}
	}
	return all
}

// pending is the credential to bring in: a new one, or the kept one.
func (r *run) pending(ctx context.Context) (c secret.Credential, err error) {
	if r.command == rollback {
		c = r.state.Previous
		c.Keys = nil
		return c, nil
	}
	if r.fresh.IsZero() {
		r.fresh = r.Generate()
	}
	c = secret.Credential{User: r.target(), Password: r.fresh}
	c.Verifier, err = r.Database.Verifier(ctx, r.fresh)
	return c, err
}

func (r *run) announce(id string) {
	if r.Announce != nil {
		r.Announce(id)
	}
}

func (r *run) record() Record {
	last := r.state.Record
	rec := Record{Version: recordVersion, Strategy: InPlace, Base: r.roles.base, SecretUID: r.served.UID,
		System: r.system, LockedIn: r.lockdb, Targets: r.targets(), Claim: last.Claim, Request: r.Request.ID, Former: last.Former, RetireAt: last.RetireAt, Ready: r.ready}
	if r.alternates() {
		rec.Strategy = Alternate
	}
	if r.alternates() || last.Twin == r.roles.twin || r.served.Credential.User == r.roles.twin {
		rec.Twin = r.roles.twin
	}
	if rec.Ready == nil && r.state.Phase != Idle { // while a rotation is open nobody looks anew
		rec.Ready = last.Ready
	}
	if r.state.Phase != Idle && r.switches() {
		rec.Former = r.roles.other(r.target()) // the open rotation may have given it a password
	}
	for _, w := range r.Workloads {
		rec.Workloads = append(rec.Workloads, w.String())
	}
	if r.command == rollback {
		rec.Undoes = r.state.ID
	}
	return rec
}

// forwardOrBack walks the journal's way, and turns back where that is due.
func (r *run) forwardOrBack(ctx context.Context) error {
	if r.state.Phase == Idle {
		return r.mend(ctx)
	}
	if r.state.Phase == Forward && !r.turnsBack() {
		err := r.forward(ctx)
		if err == nil || !r.goesBack(err) {
			return err
		}
		r.because = err
	}
	if r.state.Phase == Forward {
		if err := r.turnBack(ctx); err != nil {
			return errors.Join(err, r.closeGap(err))
		}
	}
	return r.apply(ctx, r.wayBack())
}

// forward stops early enough to leave time for a whole way back, where there is one.
func (r *run) forward(ctx context.Context) error {
	w, err := r.wayForward()
	if err != nil {
		return err
	}
	if !r.state.oneWay() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, r.forwardTime(), errForwardOver)
		defer cancel()
	}
	return r.apply(ctx, w)
}

// forwardTime is what is left when a whole way back is kept in reserve.
func (r *run) forwardTime() time.Duration {
	return r.began.Add(r.Policy.Timeout - r.Policy.RolloutTimeout - time.Minute).Sub(r.Now())
}

// goesBack is the failure table: a definite no or a bad verdict turns a planned
// rotation back, where there is something to go back to; an unknown outcome is left to the next run, which knows.
func (r *run) goesBack(err error) bool {
	class := ClassOf(err)
	return r.Policy.GoBack && !r.state.oneWay() && r.state.Phase == Forward && (class == Refused || class == Unhealthy)
}

// turnBack decides the way back. The served Secret's epoch is raised first, so
// that a write of the way forward that is still under way is refused; then what
// the pods can have read is certain.
func (r *run) turnBack(ctx context.Context) error {
	next := r.state
	next.Epoch++
	return r.step("turn back", func(ctx context.Context) (string, error) {
		if err := r.raise(ctx, next.Epoch); err != nil {
			return "", err
		}
		next.Phase = Back
		if r.untouched() {
			next.Record.Restart = restartNone
		}
		if err := r.save(ctx, next); err != nil {
			return "", err
		}
		r.claimed = next.Epoch
		return "the previous password comes back, by the same steps", nil
	})(ctx)
}

// wayForward carries the pending credential.
func (r *run) wayForward() (way, error) {
	keys := map[string]secret.Value{}
	maps.Copy(keys, r.state.Previous.Keys) // of a Secret that was recreated without them
	maps.Copy(keys, r.served.Credential.Keys)
	pending, err := r.Served.Render(keys, r.state.Pending)
	if err != nil {
		return way{}, err
	}
	stamp := secret.Stamp{RotationID: r.state.ID, Epoch: r.state.Epoch}
	if r.served.RotationID == r.state.ID {
		stamp.RotatedAt = r.served.RotatedAt
	}
	w := way{credential: pending, former: r.state.Previous, stamp: stamp, mark: r.state.ID, alternate: r.switches()}
	if r.state.oneWay() {
		w.former, w.lenient, w.lockout = r.replaced, !r.started, r.state.Mode == Emergency
	}
	if w.alternate {
		w.former = secret.Credential{} // of another role, which opens its door until it is retired or revoked
	}
	return w, nil
}

// wayBack carries the previous credential, the exact former bytes of its keys
// and the former annotations.
func (r *run) wayBack() way {
	stamp := r.state.Former
	stamp.Epoch = r.state.Epoch
	w := way{credential: r.state.Previous, stamp: stamp, mark: r.state.ID + backSuffix, back: true, lenient: true, alternate: r.switches()}
	if r.state.Record.Restart == restartNone {
		w.mark = ""
	}
	return w
}
