package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// stubborn is for a role's sessions and logins to end, which whoever opened them may draw out.
const stubborn = 2 * time.Minute

// emergency tells whether this run was asked to replace a compromised password.
func (r *run) emergency() bool { return r.command == rotate && r.Mode == Emergency }

// supersedes tells whether the open rotation is given up for this run's own.
func (r *run) supersedes() bool {
	return r.emergency() && r.state.Phase != Idle && (r.state.Mode == Planned || r.state.ID == r.given)
}

// mine tells whether the open rotation is the one that this run was asked for.
func (r *run) mine() bool {
	return r.started || r.Request.ID != "" && r.state.Record.Request == r.Request.ID && r.state.Mode == Emergency
}

// lockOut exchanges a compromised password. Nobody may log in until every
// session of the role has ended: one of them could set a password of its own,
// and must do so before the last statement or never. A run that is told to stop
// meanwhile tries to open the door again within the seconds that it has.
func (r *run) lockOut(ctx context.Context, w way) (string, error) {
	c, began := w.credential, r.Now()
	if ctx.Err() != nil {
		return "", fmt.Errorf("change the password of role %q: %w", c.User, context.Cause(ctx))
	}
	ended, changed := 0, time.Time{}
	err := sequence(r.late,
		within(stubborn, func(ctx context.Context) error { return r.close(ctx, w, began) }),
		within(stubborn, func(ctx context.Context) (err error) { ended, err = r.Lockout.Expel(ctx, c.User); return err }),
		within(stubborn, func(ctx context.Context) (err error) { changed, err = r.Lockout.Open(ctx, c); return err }),
		func(ctx context.Context) error { return r.proveOpen(ctx, c) },
	)
	if err != nil {
		return "", err
	}
	r.changed = changed
	return fmt.Sprintf("role %q has the password since %s, %s ended", c.User, changed.UTC().Format(time.RFC3339),
		plural(ended, "session was", "sessions were")), nil
}

// exchange walks the journal's way. Then it closes what an emergency leaves open,
// also where GitHub or a rollout has failed: the compromised password does not go
// on working because of them, nor does that of somebody else's emergency which
// cannot be finished.
func (r *run) exchange(ctx context.Context) error {
	err := r.forwardOrBack(ctx)
	if err == nil || r.closesAnyway(ctx, err) {
		err = errors.Join(err, r.revoke(ctx))
	}
	if err == nil || !r.overtakes(ctx, err) {
		return err
	}
	r.warn(fmt.Sprintf("the emergency that was open, rotation %s, cannot be finished, and this one replaces its password: %v", r.state.ID, err))
	r.given = r.state.ID
	return errOwnTurn
}

// overtakes tells whether this run's own emergency begins although another one is
// not finished. The password of that one is in the database and in the Secret. Where
// both switch roles, the own one takes the door that pods use until they are restarted.
func (r *run) overtakes(ctx context.Context, cause error) bool {
	certain := ClassOf(cause) != Lost && ClassOf(cause) != Conflict && ctx.Err() == nil
	shut := r.restarting || !r.switches() || !r.alternates()
	return certain && shut && r.emergency() && !r.mine() && r.state.Mode == Emergency && r.wrote
}

// closesAnyway tells whether the other role may be closed although something has
// failed: the restart is under way, and what is served logs in.
func (r *run) closesAnyway(ctx context.Context, cause error) bool {
	mine := ClassOf(cause) != Lost && ClassOf(cause) != Conflict
	if !mine || !r.wrote || !r.restarting || !r.revokes() || ctx.Err() != nil {
		return false
	}
	err := r.proveServed(ctx, r.state.Pending)
	if err != nil {
		r.warn(fmt.Sprintf("role %q is not closed yet: %v", r.left(), err))
	}
	return err == nil
}

func (r *run) close(ctx context.Context, w way, began time.Time) error {
	if _, err := r.Lockout.Close(ctx, w.credential); err != nil {
		return err
	}
	r.sent = began
	r.shuts(w)
	return nil
}

// proveOpen proves that it is this password with which the role is open.
func (r *run) proveOpen(ctx context.Context, c secret.Credential) error {
	verdict, err := r.holds(ctx, c)
	switch verdict {
	case secret.Yes:
		return nil
	case secret.Unknown:
		return fmt.Errorf("ask the database which password role %q has: %w", c.User, err)
	}
	return &failure{class: Conflict, text: fmt.Sprintf("open role %q with its new password: somebody else changes it: %v", c.User, verdict),
		hint: "look for sessions that may alter the role (CREATEROLE, superusers), then run it again"}
}

// within limits a task in time.
func within(d time.Duration, do task) task {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return do(ctx)
	}
}

// undiscovered speaks against a rotation where workloads would be missed. An
// emergency, this run's or the open one that it resumes, restarts those that were
// found, and is left unfinished.
func (r *run) undiscovered() error {
	urgent := r.emergency() || r.unfinished() && r.state.Mode == Emergency
	if !urgent || r.Undiscovered == nil {
		return r.Undiscovered
	}
	r.warn(fmt.Sprintf("this will be left unfinished: %v", r.Undiscovered))
	return nil
}

// regardless turns what speaks against all but the database, the journal and the
// served Secret into warnings: an emergency shuts the compromised password out
// first, whatever happens to the others.
func (r *run) regardless(lines []Line) {
	for i, line := range lines {
		if line.Err != nil && !slices.Contains([]string{"database", "journal", "served Secret"}, line.Step) {
			lines[i].Warnings = append(line.Warnings, fmt.Sprintf("this will be left unfinished: %v", line.Err))
			lines[i].Change, lines[i].Err = "not possible now", nil
		}
	}
}
