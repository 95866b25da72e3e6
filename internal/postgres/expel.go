package postgres

import (
	"context"
	"fmt"
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
	for quiet := 0; ; {
		some, err := w.look(ctx, name, ended)
		if quiet++; some {
			quiet = 0
		}
		if err == nil && quiet < looks {
			err = w.pause(ctx, name)
		}
		if err != nil || quiet == looks {
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
		if t.Sent {
			ended[t.PID] = true
		}
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
		failed.class, failed.hint = refused, s.signalling()
	}
	return nil, failed
}

// signalling is the SQL that lets the administrator end the sessions of others.
func (s *session) signalling() string {
	return s.granting("pg_signal_backend") + " (a superuser's sessions take a superuser)"
}

// granting is the SQL that gives the administrator what a predefined role may.
// Before PostgreSQL 16 a membership gives its rights to a role that has INHERIT,
// since then to one to which it was granted so, see
// https://www.postgresql.org/docs/current/sql-grant.html.
func (s *session) granting(role string) string {
	admin := quote(s.db.admin.User)
	if s.major() < 16 {
		return fmt.Sprintf("as a superuser: ALTER ROLE %s INHERIT; GRANT %s TO %[1]s;", admin, role)
	}
	return fmt.Sprintf("as a superuser: GRANT %s TO %s WITH INHERIT TRUE;", role, admin)
}
