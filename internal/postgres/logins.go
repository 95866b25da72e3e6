package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

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

// outlast waits until every login that is under way now has ended.
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
