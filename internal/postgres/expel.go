package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	expelTimeout = 90 * time.Second      // above authentication_timeout, a minute by default
	patience     = 5 * time.Second       // with a login under way: longer than one takes
	betweenLooks = 50 * time.Millisecond // at the sessions
	looks        = 2                     // in a row that must find nothing
)

// Expel ends every session on this server that was opened by logging in as name,
// in whatever database, and returns how many when two looks in a row have found
// none. It expects the role to be NOLOGIN (see Close): else they come back.
//
// What counts is the role that logged in, which pg_stat_activity shows whatever
// SET ROLE or SET SESSION AUTHORIZATION says later. Covered are idle and busy
// sessions, those in a transaction, replication connections, parallel workers
// (with their leader) and the workers of subscriptions that the role owns, and
// logins that have passed the check for LOGIN and are not shown yet, which a
// client can draw out (post_auth_delay): Expel waits for the logins under way, and
// after some seconds ends them, whosever they are, as far as it may. Not covered
// are sessions on standbys, prepared transactions, and roles that act as this one
// by membership or a SECURITY DEFINER function; PlanLockout warns of those.
//
// Class "refused": the administrator may not end them. No class: after 90 seconds
// some are left, or it is not known. It uses the session that holds the lock, or
// one of its own, and never ends the administrator's.
func (d *Database) Expel(ctx context.Context, name string) (ended int, err error) {
	if err := nameable(name); err != nil {
		return 0, err
	}
	err = d.with(ctx, func(s *session) (err error) {
		ended, err = s.expel(ctx, name)
		return err
	})
	return ended, err
}

func (s *session) expel(ctx context.Context, name string) (int, error) {
	if err := s.notItself(ctx, name); err != nil {
		return 0, err
	}
	w, err := s.await(ctx)
	if err != nil {
		return 0, err
	}
	ended := map[int32]bool{}
	for found := looks; ; {
		some, err := w.look(ctx, name, ended)
		if some {
			found = looks
		} else if found--; found == 0 || err != nil {
			return len(ended), err
		}
		if err := w.pause(ctx, name); err != nil {
			return len(ended), err
		}
	}
}

// look ends the sessions of name, and tells whether there were some or may be.
func (w *waiting) look(ctx context.Context, name string, ended map[int32]bool) (some bool, err error) {
	// In this order: a login that is not under way any more has ended or is shown.
	left, err := w.left(ctx)
	if err != nil {
		return false, err
	}
	told, err := w.s.end(ctx, name)
	for _, t := range told {
		ended[t.PID] = ended[t.PID] || t.Sent
	}
	return left+len(told) > 0, err
}

// notItself refuses to end the session that would do it.
func (s *session) notItself(ctx context.Context, name string) error {
	f, err := s.facts(ctx)
	if err == nil && (name == f.login || name == f.admin) {
		err = no(fmt.Sprintf("end the sessions of role %q: it is the role of `postgres-url` itself", name), "let another role do it: "+s.rotator(name))
	}
	return err
}

// told is a session that was told to end; Sent is false where it had ended.
type told struct {
	PID  int32
	Sent bool
}

// end tells every session of name to end, and does not wait until it has.
func (s *session) end(ctx context.Context, name string) ([]told, error) {
	found, err := list(ctx, s, pgx.RowToStructByPos[told], `SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE usename = $1 AND pid <> pg_backend_pid()`, name)
	if err == nil {
		return found, nil
	}
	failed := s.failed(fmt.Sprintf("end the sessions of role %q", name), err)
	if hasCode(err, codeNoPrivilege) {
		failed.class, failed.hint = refused, s.signalling(name)
	}
	return nil, failed
}

// signalling is the SQL that lets the administrator end the sessions of name.
// Before PostgreSQL 16 a membership gives its rights to a role that has INHERIT,
// since then to one to which it was granted so, see
// https://www.postgresql.org/docs/current/sql-grant.html.
func (s *session) signalling(name string) string {
	admin := quote(s.db.admin.User)
	if s.major() < 16 {
		return fmt.Sprintf("as a superuser: ALTER ROLE %s INHERIT; GRANT pg_signal_backend TO %[1]s; (a superuser's sessions take a superuser)", admin)
	}
	return fmt.Sprintf("as a superuser: GRANT pg_signal_backend TO %s WITH INHERIT TRUE; (a superuser's sessions take a superuser)", admin)
}

// attempt is a login that the server has begun to answer, known by its process
// and the transaction that this runs in.
type attempt struct {
	PID         int32
	Transaction string
}

// waiting are the logins that were under way at one moment.
type waiting struct {
	s     *session
	begun map[attempt]bool
	since time.Time
}

// outlast returns when none of the logins is under way any more that are now.
func (s *session) outlast(ctx context.Context, name string) error {
	w, err := s.await(ctx)
	for err == nil {
		var left int
		if left, err = w.left(ctx); left == 0 {
			break
		}
		if err == nil {
			err = w.pause(ctx, name)
		}
	}
	return err
}

func (s *session) await(ctx context.Context) (*waiting, error) {
	begun, err := s.underWay(ctx)
	return &waiting{s: s, begun: begun, since: time.Now()}, err
}

// left returns how many of them are under way still, and forgets the others.
func (w *waiting) left(ctx context.Context) (int, error) {
	if len(w.begun) == 0 {
		return 0, nil
	}
	now, err := w.s.underWay(ctx)
	if err != nil {
		return 0, err
	}
	for a := range w.begun {
		if !now[a] {
			delete(w.begun, a)
		} else if time.Since(w.since) > patience {
			w.s.endLogin(ctx, a)
		}
	}
	return len(w.begun), nil
}

// pause is the time between two looks, of which there are not endlessly many.
func (w *waiting) pause(ctx context.Context, name string) error {
	op := fmt.Sprintf("end the sessions of role %q", name)
	if time.Since(w.since) > expelTimeout {
		e := unknown(op, fmt.Errorf("some are left after %s", expelTimeout))
		e.hint = "find them in pg_stat_activity" + w.processes() + ", end them as a superuser, then run again"
		return e
	}
	if err := pause(ctx); err != nil {
		return unknown(op, err)
	}
	return nil
}

// processes are the logins that are under way still, for a person to find.
func (w *waiting) processes() string {
	if len(w.begun) == 0 {
		return ""
	}
	var pids []string
	for a := range w.begun {
		pids = append(pids, fmt.Sprint(a.PID))
	}
	return " or, as they are logging in still, among the server's processes (" + strings.Join(pids, ", ") + ")"
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(betweenLooks):
		return nil
	}
}

// underWay returns the logins that have begun, and that pg_stat_activity does
// not show under the name of their role yet. What gives them away is the
// transaction that every backend begins before it asks for a password. The two
// views are read one after the other: a backend that comes up in between is found
// in the second. PostgreSQL 18 shows them there earlier, without a role, as it
// does workers of its own, which tell themselves apart by their type or, where
// that is hidden, by the locks of VACUUM.
func (s *session) underWay(ctx context.Context) (map[attempt]bool, error) {
	op := "look for logins that are under way"
	running, err := list(ctx, s, pgx.RowToStructByPos[attempt], `SELECT pid, virtualtransaction FROM pg_locks
		WHERE locktype = 'virtualxid' AND granted AND pid <> pg_backend_pid()`)
	if err != nil {
		return nil, s.failed(op, err)
	}
	pids := make([]int32, len(running))
	for i, a := range running {
		pids[i] = a.PID
	}
	hidden, err := list(ctx, s, pgx.RowTo[int32], `SELECT r.pid FROM unnest($1::int[]) AS r (pid) LEFT JOIN pg_stat_activity a USING (pid)
		WHERE a.pid IS NULL OR a.usesysid IS NULL AND coalesce(a.backend_type, 'client backend') IN ('client backend', 'walsender')
		AND NOT EXISTS (SELECT FROM pg_locks l WHERE l.pid = r.pid AND l.locktype = 'relation' AND l.mode <> 'AccessShareLock')`, pids)
	if err != nil {
		return nil, s.failed(op, err)
	}
	found := map[attempt]bool{}
	for _, a := range running {
		if slices.Contains(hidden, a.PID) {
			found[a] = true
		}
	}
	return found, nil
}

// endLogin ends a login that takes too long. It may be refused: a login that
// has not shown its password yet is nobody's, and only a superuser may end it;
// authentication_timeout does.
func (s *session) endLogin(ctx context.Context, a attempt) {
	_, _ = list(ctx, s, pgx.RowTo[bool], `SELECT pg_terminate_backend(pid) FROM pg_locks
		WHERE locktype = 'virtualxid' AND pid = $1 AND virtualtransaction = $2`, a.PID, a.Transaction)
}
