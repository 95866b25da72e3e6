package rotation

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// leftover is the role that opens a door beside the served one when the rotation
// has ended, and when it may be closed; empty: there is none. Who uses the
// former role has retire-after to change over; of a rotation that was turned back
// nobody has to.
func (r *run) leftover() (former string, at *time.Time) {
	rec := r.state.Record
	switch {
	case r.state.Phase == Forward && r.state.Mode == Emergency:
		return "", nil // it is revoked
	case r.state.Phase == Idle || !r.switches():
		return rec.Former, rec.RetireAt
	case r.state.Phase == Back:
		return r.state.Pending.User, optional(r.Now().UTC())
	}
	return r.roles.other(r.state.Pending.User), optional(r.Now().Add(r.Policy.RetireAfter).UTC())
}

// retirable tells whether the former role is to be closed now: its time is over,
// nobody has a session of it, and it is not the only way in.
func (r *run) retirable(ctx context.Context) bool {
	former, at := r.state.Record.Former, r.state.Record.RetireAt
	if former == "" || at == nil || r.Now().Before(*at) || former == r.served.Credential.User {
		return false
	}
	sessions, err := r.sessions(ctx, former)
	switch {
	case err != nil:
		r.warn(fmt.Sprintf("role %q is not retired, whether it is in use is not known: %v", former, err))
		return false
	case sessions > 0:
		r.warn(fmt.Sprintf("role %q is not retired yet: it has %s", former, plural(sessions, "session", "sessions")))
		return false
	}
	if why := r.keptOut(ctx, r.served.Credential); why != "" {
		r.warn(fmt.Sprintf("role %q is not retired: %s", former, why))
		return false
	}
	return true
}

func (r *run) sessions(ctx context.Context, role string) (int, error) {
	return insistOn(ctx, func(ctx context.Context) (int, error) { return r.Retirement.Sessions(ctx, role) })
}

// retire closes the former role where that is due. The rotation has ended before:
// no way back can need the role any more. A role that cannot be closed now is
// left to the next run.
func (r *run) retire(ctx context.Context) error {
	if ctx.Err() != nil || !r.retirable(ctx) {
		return nil
	}
	err := r.step("retire", r.retireFormer)(ctx)
	if err != nil {
		r.warn(fmt.Sprintf("role %q is left to the next run to retire: %v", r.state.Record.Former, err))
	}
	return nil
}

func (r *run) retireFormer(ctx context.Context) (string, error) {
	next := r.state
	role := next.Record.Former
	err := limited(ctx, func(ctx context.Context) error { return r.Retirement.Retire(ctx, role, r.unproven(role)) })
	if err != nil {
		return "", err
	}
	r.result.Retired = role
	if r.retiring {
		r.result.Reason = fmt.Sprintf("only role %q, which was served before, was retired", role)
	}
	next.Record.Former, next.Record.RetireAt = "", nil
	return fmt.Sprintf("role %q has no password any more", role), r.save(ctx, next)
}

// doors notes for the report which role opens a door beside the served one, and
// until when; of an open emergency the one that it is yet to close.
func (r *run) doors() {
	res, rec := &r.result, r.state.Record
	switch {
	case !r.unfinished():
		if res.FormerRole = rec.Former; rec.RetireAt != nil {
			res.RetireAt = *rec.RetireAt
		}
	case r.state.Mode == Emergency && !r.closed:
		res.FormerRole = r.left()
	}
}

// revoke closes the role that an emergency leaves: it switched away from it, or
// found it beside the compromised one. An emergency never goes back.
func (r *run) revoke(ctx context.Context) error {
	if !r.revokes() {
		return nil
	}
	return r.step("revoke", func(ctx context.Context) (string, error) { return r.revokeRole(ctx, r.left()) })(ctx)
}

func (r *run) revokes() bool {
	return r.state.Phase == Forward && r.state.Mode == Emergency && r.left() != ""
}

// left is the other role of the pair, where it may have a password.
func (r *run) left() string {
	if rec := r.state.Record; !r.switches() {
		return rec.Former
	}
	return r.roles.other(r.state.Pending.User)
}

func (r *run) revokeRole(ctx context.Context, role string) (string, error) {
	ended := 0
	err := sequence(ctx,
		within(stubborn, func(ctx context.Context) error { return r.Retirement.Revoke(ctx, role, r.unproven(role)) }),
		within(stubborn, func(ctx context.Context) (err error) { ended, err = r.Lockout.Expel(ctx, role); return err }),
		func(ctx context.Context) error { return r.shutOut(ctx, role) },
	)
	if r.closed = err == nil; r.closed {
		r.dismiss(role)
	}
	return fmt.Sprintf("role %q is closed, %s ended", role, plural(ended, "session was", "sessions were")), err
}

// dismiss notes that no session of the role goes on.
func (r *run) dismiss(role string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.result.Laggards {
		if r.result.Laggards[i].Role == role {
			r.result.Laggards[i].Left = 0
		}
	}
}

// unproven is the served role where nothing but the journal says that role takes turns
// with it, and the database has to; empty: this run has seen role served, or the inputs
// or the names say so.
func (r *run) unproven(role string) string {
	p, served := r.roles, r.served.Credential.User
	named := p.twin == p.base+alternateSuffix || p.twin == r.AlternateRole && (p.base == r.Role || p.base == served)
	if r.replaced.User == role || named && p.has(served) && p.other(served) == role {
		return ""
	}
	return served
}

// shutOut proves that the compromised password is refused, where this run knows it.
func (r *run) shutOut(ctx context.Context, role string) error {
	if r.replaced.User != role || r.replaced.Password.IsZero() {
		return nil
	}
	return r.expect(ctx, r.replaced, secret.No)
}
