package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// breakTimeout is how long a session may take to end.
const breakTimeout = 15 * time.Second

// holding is a session that holds a lock.
type holding struct {
	pid         int32 // 0: a prepared transaction
	user        string
	application string
}

// Break ends the session that holds the lock on base in this database, if it is
// another run's, and returns when it is gone; whoever waits for the lock gets it
// then. Sessions of the compromised roles that hold the lock, or wait for it, are
// ended whatever they call themselves. It does nothing where nobody holds it, or
// this Database itself. Class "refused": the holder calls itself something else
// than ApplicationName, or may not be ended. It works from a session of its own.
func (d *Database) Break(ctx context.Context, base string, compromised ...string) error {
	if err := nameable(base); err != nil {
		return err
	}
	if d.holds(base) {
		return nil
	}
	s, err := d.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.oust(ctx, base, compromised); err != nil {
		return err
	}
	h, err := s.holding(ctx, base)
	if err != nil || h == nil {
		return err
	}
	if h.application != ApplicationName {
		return foreign(base, *h)
	}
	return s.evict(ctx, base, *h)
}

// oust ends the sessions of roles that hold the lock on base or wait for it, and
// waits for each within the time of a statement: one that stays and holds the lock
// is told by holding. Any role that may connect can take a lock.
func (s *session) oust(ctx context.Context, base string, roles []string) error {
	_, err := list(ctx, s, pgx.RowTo[bool], `SELECT pg_terminate_backend(a.pid, $3) FROM pg_stat_activity a
		WHERE a.usename = ANY ($2) AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND `+isLock+`)`,
		lockKey(base), roles, (answerTimeout / 2).Milliseconds())
	if err == nil {
		return nil
	}
	e := unknown(fmt.Sprintf("end the sessions that keep the lock on role %q from this run", base), err)
	if hasCode(err, codeNoPrivilege) {
		e.class, e.hint = refused, s.signalling()
	}
	return e
}

func (d *Database) holds(base string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held != nil && !d.held.isLost() && d.lock == base
}

// isLock tells the rows l of pg_locks of the lock with key $1. A key of 64 bits is
// shown in two halves, see https://www.postgresql.org/docs/current/view-pg-locks.html.
const isLock = `l.locktype = 'advisory' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
	AND (l.classid::bigint << 32 | l.objid::bigint) = $1 AND l.objsubid = 1`

// holding returns who holds the lock on base, nil: nobody.
func (s *session) holding(ctx context.Context, base string) (*holding, error) {
	var h holding
	err := s.row(ctx, `SELECT coalesce(l.pid, 0), coalesce(a.usename, '')::text, coalesce(a.application_name, '')
		FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
		WHERE l.granted AND `+isLock+` LIMIT 1`,
		[]any{lockKey(base)}, &h.pid, &h.user, &h.application)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, unknown(fmt.Sprintf("look who holds the lock on role %q", base), err)
	}
	return &h, nil
}

func foreign(base string, h holding) error {
	if h.pid == 0 {
		return no(fmt.Sprintf("end the session that holds the lock on role %q: it is a prepared transaction", base),
			"find it in pg_prepared_xacts, ROLLBACK PREPARED it, then run again")
	}
	return no(fmt.Sprintf("end the session that holds the lock on role %q: process %d of role %q calls itself %q, not %q", base, h.pid, h.user, h.application, ApplicationName),
		fmt.Sprintf("find out whose it is; if it may go: SELECT pg_terminate_backend(%d); then run again", h.pid))
}

// evict ends h, if it holds the lock still, and waits until it does not.
func (s *session) evict(ctx context.Context, base string, h holding) error {
	op := fmt.Sprintf("end the session that holds the lock on role %q", base)
	for since := time.Now(); time.Since(since) < breakTimeout; {
		now, err := s.holding(ctx, base)
		if err != nil || now == nil || now.pid != h.pid {
			return err
		}
		if err := s.tell(ctx, h); err != nil {
			failed := unknown(op, err)
			if hasCode(err, codeNoPrivilege) {
				failed.class, failed.hint = refused, s.signalling()
			}
			return failed
		}
		if err := pause(ctx); err != nil {
			return unknown(op, err)
		}
	}
	e := unknown(op, fmt.Errorf("process %d of role %q is there still after %s", h.pid, h.user, breakTimeout))
	e.hint = "it ends by itself when its statement does, or with the server; then run again"
	return e
}

// tell ends the session, if it is the one that was looked at.
func (s *session) tell(ctx context.Context, h holding) error {
	_, err := list(ctx, s, pgx.RowTo[bool], `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE pid = $1 AND usename = $2 AND application_name = $3`, h.pid, h.user, h.application)
	return err
}
