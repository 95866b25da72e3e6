package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// backSuffix follows the rotation id in the restart mark of the way back.
const backSuffix = "-back"

// way is a direction of the runbook with what it carries.
type way struct {
	credential secret.Credential
	former     secret.Credential // must not open the door afterwards; zero: not asked
	stamp      secret.Stamp
	mark       string // of the restart; empty: nobody is restarted
	back       bool
	alternate  bool // the role of credential is not the one that was served before
	lockout    bool // the former password is compromised: nobody gets in while it is exchanged
	lenient    bool // workloads that stay unhealthy are named and stop nothing: the stores have to agree
}

// apply is the runbook, top to bottom: with the pending credential on the way
// forward and with the previous one on the way back. Every step is "make it
// so" and changes nothing where it already is so; resuming is the same list
// again. No journal write happens between the database and the served Secret.
func (r *run) apply(ctx context.Context, w way) error {
	return sequence(ctx,
		r.step("database", r.open(w)),         // from here on w.credential opens the door
		when(w.enables(), r.replayed(w)),      // at the standbys, too
		r.urgent("served Secret", r.serve(w)), // what the pods read
		r.step("cluster copies", r.copyAll(r.ClusterCopies, w)),
		when(!w.enables(), r.replayed(w)), // so late because logins are refused until the Secret is written
		together(r.goesBack, // neither waits for the other
			r.step("restart", r.restartAll(w)), // those who read it only once; they never see it
			r.step("GitHub", r.copyAll(r.RemoteCopies, w)),
		),
		r.healthy(w),                  // nobody else has suffered
		r.step("verify", r.verify(w)), // open the door with what the pods read
		r.aftermath(w),                // who goes on as if nothing had happened
		r.lookBack(w),                 // who was refused meanwhile
	)
}

// open makes the database accept the credential, unless the oracle says that it does.
func (r *run) open(w way) action {
	return func(ctx context.Context) (string, error) {
		c := w.credential
		if err := r.createTwin(ctx, w); err != nil {
			return "", err
		}
		if r.started && r.has(ctx, r.rival(w)) { // most likely; and a role has one password
			return r.alter(ctx, w)
		}
		switch verdict, err := r.holds(ctx, c); verdict {
		case secret.Yes:
			r.shuts(w)
			return "accepted already", nil
		case secret.Unknown:
			return "", fmt.Errorf("ask the database which password role %q has: %w", c.User, err)
		default:
			if w.lockout {
				return r.lockOut(ctx, w)
			}
			if verdict == secret.Closed {
				return "", noLogin(c.User)
			}
		}
		if err := r.foreign(ctx, w); err != nil {
			return "", err
		}
		return r.alter(ctx, w)
	}
}

// alter sends ALTER ROLE and, once it is sent, waits for the answer even when
// the run is told to stop: an answer that is known saves the next run a guess.
func (r *run) alter(ctx context.Context, w way) (string, error) {
	if ctx.Err() != nil {
		return "", fmt.Errorf("change the password of role %q: %w", w.credential.User, context.Cause(ctx))
	}
	r.sent = r.Now()
	changed, err := r.set(r.late, w)
	if err != nil {
		if ClassOf(err) == Refused {
			r.sent = time.Time{}
		}
		return "", err
	}
	r.shuts(w)
	r.changed = changed
	return fmt.Sprintf("role %q has the password since %s", w.credential.User, changed.UTC().Format(time.RFC3339)), nil
}

// set sends ALTER ROLE and gives up on a server that does not answer.
func (r *run) set(ctx context.Context, w way) (changed time.Time, err error) {
	alter := r.Database.Set
	if w.enables() {
		alter = r.Twins.Enable
	}
	err = limited(ctx, func(ctx context.Context) error {
		changed, err = alter(ctx, w.credential)
		return err
	})
	return changed, err
}

// shuts notes when the former password stopped opening the door, where it was
// this run that changed it.
func (r *run) shuts(w way) {
	if !w.back && !w.alternate && r.shut.IsZero() {
		r.shut = r.sent
	}
}

// enables tells that the role is one which nobody uses, and may be NOLOGIN: it was
// just made, or an emergency has closed it.
func (w way) enables() bool { return w.alternate && !w.back }

// createTwin makes the twin where it is the one to be brought in.
func (r *run) createTwin(ctx context.Context, w way) error {
	if !w.enables() || w.credential.User != r.roles.twin {
		return nil
	}
	return limited(ctx, func(ctx context.Context) error { return r.Twins.Create(ctx, r.roles.base, r.roles.twin) })
}

// has asks the oracle once.
func (r *run) has(ctx context.Context, c secret.Credential) bool {
	if c.Password.IsZero() {
		return false
	}
	verdict := secret.Unknown
	err := limited(ctx, func(ctx context.Context) (err error) {
		verdict, err = r.Database.Holds(ctx, c)
		return err
	})
	return err == nil && (verdict == secret.Yes || verdict == secret.Closed)
}

// holds asks the oracle again while it does not know.
func (r *run) holds(ctx context.Context, c secret.Credential) (secret.Verdict, error) {
	return insistOn(ctx, func(ctx context.Context) (secret.Verdict, error) { return r.Database.Holds(ctx, c) })
}

func noLogin(role string) error {
	return &failure{class: Unhealthy, text: fmt.Sprintf("log in as role %q: the role is NOLOGIN", role),
		hint: fmt.Sprintf("if the role is meant to log in: ALTER ROLE %s LOGIN;", identifier(role))}
}

// identifier is the role in SQL, see
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS.
func identifier(role string) string { return `"` + strings.ReplaceAll(role, `"`, `""`) + `"` }

// foreign looks for a password that is neither the pending nor the previous
// one. On the way back it must not be overwritten: somebody set it for a
// reason. On the way forward it is overwritten, which is said: whoever set it
// locked the served credential out already. A role that nobody uses may have had
// any, and a repair knows.
func (r *run) foreign(ctx context.Context, w way) error {
	if w.enables() || r.state.Record.Repairs {
		return nil
	}
	if w.back && w.alternate { // no rotation touches the role that it switched away from
		return r.foreignBack(w.credential.User)
	}
	other := r.rival(w)
	verdict, err := r.holds(ctx, other)
	switch {
	case verdict == secret.Unknown:
		return fmt.Errorf("ask the database which password role %q has: %w", other.User, err)
	case verdict != secret.No:
		return nil
	case w.back:
		return r.foreignBack(other.User)
	}
	r.warn(fmt.Sprintf("role %q had a password that this rotation never set: somebody else changed it, and it was overwritten", other.User))
	return nil
}

// rival is the other password that the role has, unless somebody else has given it
// one; zero where this rotation knows none.
func (r *run) rival(w way) secret.Credential {
	switch {
	case w.alternate || r.state.Record.Repairs:
		return secret.Credential{}
	case w.back:
		return r.state.Pending
	}
	return r.state.Previous
}

func (r *run) foreignBack(role string) error {
	return &failure{class: Conflict, text: fmt.Sprintf("put the previous password of role %q back: somebody else has changed it meanwhile", role),
		hint: "find out who did; the journal stays open, with the previous password in it; `command: rotate` with `on-drift: repair` gives that one up and brings in a new one"}
}

// serve writes the credential into the Secret that the pods read.
func (r *run) serve(w way) action {
	return func(ctx context.Context) (string, error) {
		stamp := r.stamped(w)
		err := insist(ctx, func(ctx context.Context) error { return r.Served.Set(ctx, w.credential, stamp) })
		switch {
		case err == nil:
			r.wrote = r.wrote || !w.back
			return fmt.Sprintf("holds the credential of %q", w.credential.User), nil
		case r.goesBack(err):
			return "", err
		}
		return "", errors.Join(err, r.closeGap(err))
	}
}

// stamped dates the rotation by the database's clock: when the password was
// changed, or, in a run that found it changed already, when it looked.
func (r *run) stamped(w way) secret.Stamp {
	if !w.back && w.stamp.RotatedAt.IsZero() {
		w.stamp.RotatedAt = r.clock
		if !r.changed.IsZero() {
			w.stamp.RotatedAt = r.changed
		}
	}
	return w.stamp
}

// closeGap puts the former password back when, right after ALTER ROLE, the
// served Secret can neither be written nor the rotation be turned back: nobody
// can read the new one, so the old one must go on working. The journal stays as
// it is, the next run finds it as before ALTER ROLE. After a conflict the
// database is somebody else's matter.
func (r *run) closeGap(cause error) error {
	if !r.Policy.GoBack || r.switches() || r.state.oneWay() || r.state.Phase != Forward || r.sent.IsZero() || !r.unwritten() || ClassOf(cause) == Conflict {
		return nil
	}
	if _, err := r.set(r.last, way{credential: r.state.Previous, back: true}); err != nil {
		return &failure{class: Unavailable, text: fmt.Sprintf("put the former password back: %v", err)}
	}
	r.measure()
	r.warn("the former password was put back into the database: logins go on as before")
	return nil
}

// untouched tells whether no pod can have read the pending credential. A Secret
// that was restored meanwhile does not prove it.
func (r *run) untouched() bool { return r.unwritten() && r.state.Record.Restart != restartAll }

// unwritten tells whether the served Secret is known to be as it was before the
// rotation. One that was recreated meanwhile is not.
func (r *run) unwritten() bool {
	return !r.wrote && r.served.RotationID == r.state.Former.RotationID && sameCredential(r.served.Credential, r.state.Previous)
}

// measure notes how long the former password has been refused.
func (r *run) measure() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.shut.IsZero() {
		r.result.RefusedWindow = r.Now().Sub(r.shut)
	}
}

// restartAll restarts every workload at once and waits for all of them. A run
// that was stopped for a while and replaced restarts nobody.
func (r *run) restartAll(w way) action {
	return func(ctx context.Context) (string, error) {
		if w.mark == "" {
			r.measure()
			return "not needed: the pods never read another password", nil
		}
		r.restarting = len(r.restarted()) == 0 && r.Undiscovered == nil
		errs := each(r.Workloads, func(target Workload) error { return r.restart(ctx, target, w) })
		if err := errors.Join(append(errs, r.Undiscovered)...); err != nil {
			return "", err
		}
		r.measure()
		return plural(len(r.restarted()), "workload", "workloads") + " restarted", nil
	}
}

// lockHeld tells whether this run still holds the lock. A question that is cut
// off costs the session, and with it the lock: the step beside, when it fails,
// must not end it.
func (r *run) lockHeld(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return limited(r.late, func(ctx context.Context) error {
		_, err := r.Lock.Check(ctx)
		return err
	})
}

func (r *run) restart(ctx context.Context, target Workload, w way) error {
	began := r.Now()
	pods, err := target.Restart(ctx, w.mark, r.lockHeld, r.witness(w), func(detail string) { r.progress("restart", target.String(), detail) })
	if err == nil {
		err = refuted(target.String(), pods)
	}
	if err != nil && errors.Is(context.Cause(ctx), errForwardOver) {
		err = &failure{class: Unhealthy, text: fmt.Sprintf("restart %s: not proven before the time for it was over: %v", target, err),
			hint: "a larger `timeout` or `rollout-timeout` gives it more time"}
	}
	r.begun(target, err)
	r.report(Target{Kind: "workload", Name: target.String(), Elapsed: r.Now().Sub(began), Pods: pods, Err: err})
	if w.lenient && err != nil && ClassOf(err) == Unhealthy {
		return nil
	}
	return err
}

// begun notes that pods are being replaced, well or not.
func (r *run) begun(target Workload, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restarting = r.restarting || !target.LeftAlone() && (err == nil || ClassOf(err) == Unhealthy)
}

// verify proves the end of the runbook: what the pods read opens the door, the
// former password does not, and every copy has arrived.
func (r *run) verify(w way) action {
	return func(ctx context.Context) (string, error) {
		doors := each([]task{
			func(ctx context.Context) error { return r.proveServed(ctx, w.credential) },
			when(!w.former.Password.IsZero(), func(ctx context.Context) error { return r.expect(ctx, w.former, secret.No) }),
		}, func(try task) error { return try(ctx) })
		if doors[0] != nil {
			return "", doors[0]
		}
		errs := append(doors, each(r.touched(r.copies(), w), func(target Copy) error { return r.still(ctx, target, w) })...)
		if err := errors.Join(errs...); err != nil {
			return "", err
		}
		return strings.TrimSuffix("the served password logs in, "+r.formerRefused(w), ", "), nil
	}
}

// proveServed proves that what the pods read is this credential, and logs in.
func (r *run) proveServed(ctx context.Context, c secret.Credential) error {
	served, err := r.readServed(ctx)
	if err != nil {
		return err
	}
	if !sameCredential(served.Credential, c) {
		return &failure{class: Conflict, text: fmt.Sprintf("verify %s: somebody else changed it meanwhile", r.Served)}
	}
	r.served = served
	return r.expect(ctx, served.Credential, secret.Yes)
}

func (r *run) formerRefused(w way) string {
	if w.former.Password.IsZero() {
		return ""
	}
	return "the former one is refused"
}

// expect asks the database by a login, not by the verifier.
func (r *run) expect(ctx context.Context, c secret.Credential, want secret.Verdict) error {
	c.Verifier = secret.Value{}
	verdict, err := r.holds(ctx, c)
	switch {
	case verdict == want:
		return nil
	case verdict == secret.Unknown:
		return fmt.Errorf("prove by a login which password role %q has: %w", c.User, err)
	case want == secret.No:
		return &failure{class: Unhealthy, text: fmt.Sprintf("prove that the former password of role %q is refused: it still opens the door", c.User)}
	}
	return &failure{class: Unhealthy, text: fmt.Sprintf("log in as role %q with what the pods read: %v", c.User, verdict)}
}

// readServed reads the served Secret.
func (r *run) readServed(ctx context.Context) (secret.Snapshot, error) {
	return insistOn(ctx, r.Served.Look)
}

func sameCredential(a, b secret.Credential) bool {
	return a.User == b.User && a.Password.Equal(b.Password)
}
