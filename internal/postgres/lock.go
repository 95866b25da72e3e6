package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"
)

// Acquire takes the session advisory lock on base, waiting up to wait, and
// keeps its session awake until Release. It returns the system identifier of
// the server ("" where pg_control_system may not be read) and the database that
// the lock lives in. Class "busy": somebody else holds it. "refused": a pooler
// or a standby answers. It may be called again after the session was lost, and
// keeps the lock that it holds already.
//
// The lock goes with its session, so a process that dies leaves none behind;
// and who gets it after a lost session knows that the old session has ended,
// its ALTER ROLE included. See
// https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS.
func (d *Database) Acquire(ctx context.Context, base string, wait time.Duration) (system, database string, err error) {
	if err := nameable(base); err != nil {
		return "", "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held == nil || d.held.isLost() || d.lock != base {
		d.release()
		if err := d.take(ctx, base, wait); err != nil {
			return "", "", err
		}
	}
	return d.held.identity(ctx)
}

// take has a session hold the lock.
func (d *Database) take(ctx context.Context, base string, wait time.Duration) error {
	s, err := d.unlocked(ctx)
	if err != nil {
		return err
	}
	if err := s.lockOn(ctx, base, wait); err != nil {
		s.close()
		return err
	}
	d.held, d.lock = s, base
	awake := d.wake()
	ticks, stop := d.ticker(keepAwake)
	go func() {
		defer stop()
		d.stayAwake(awake, s, ticks)
	}()
	return nil
}

// wake returns the context of what keeps a new session awake.
func (d *Database) wake() context.Context {
	d.waking.Lock()
	defer d.waking.Unlock()
	awake, rest := context.WithCancel(context.Background())
	d.rest = rest
	return awake
}

// doze ends it.
func (d *Database) doze() {
	d.waking.Lock()
	defer d.waking.Unlock()
	if d.rest != nil {
		d.rest()
	}
}

func (s *session) lockOn(ctx context.Context, base string, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait+answerTimeout)
	defer cancel()
	op := fmt.Sprintf("lock the rotation of role %q", base)
	limit := strconv.FormatInt(max(1, wait.Milliseconds()), 10) // 0 would wait for ever
	// FROM comes first, and what it sets ends with the statement; the lock does not.
	_, err := s.conn.Exec(ctx, "SELECT pg_advisory_lock($1) FROM set_config('lock_timeout', $2, true)", lockKey(base), limit)
	switch {
	case hasCode(err, codeLockTimeout):
		return &Error{op: fmt.Sprintf("%s: another session has held it for %s", op, wait), class: busy,
			hint: "wait until the other run has ended; pg_stat_activity shows it as application_name " + ApplicationName}
	case err != nil:
		return unknown(op, err)
	}
	return nil
}

// lockKey is the number that stands for base: advisory locks have no names.
func lockKey(base string) int64 {
	sum := sha256.Sum256([]byte("pgrotate\x00" + base))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// identity tells this server and lock apart from others.
func (s *session) identity(ctx context.Context) (system, database string, err error) {
	err = s.row(ctx, "SELECT system_identifier::text FROM pg_control_system()", nil, &system)
	if err != nil && !hasCode(err, codeNoPrivilege) {
		return "", "", s.failed("read the system identifier", err)
	}
	return system, s.database, nil
}

// Check makes one round trip on the session that holds the lock and returns the
// database's clock. Class "lost": there is no such session any more. Callers that
// wait for their turn at the same time share one round trip, which begins after
// all of them have called: a thousand workloads ask at once.
func (d *Database) Check(ctx context.Context) (time.Time, error) {
	for {
		l, first := d.join()
		if first {
			d.look(ctx, l)
			return l.now, l.err
		}
		select {
		case <-ctx.Done():
			return time.Time{}, unknown("ask the database's clock", context.Cause(ctx))
		case <-l.done:
		}
		if !l.cut {
			return l.now, l.err
		}
	}
}

// look is one round trip of Check.
type look struct {
	done chan struct{} // closed at its end
	now  time.Time
	err  error
	cut  bool // whoever made it was stopped, which is nobody else's failure
}

// join returns the round trip that has not begun, a new one to whoever is first.
func (d *Database) join() (l *look, first bool) {
	d.looking.Lock()
	defer d.looking.Unlock()
	if d.next == nil {
		d.next, first = &look{done: make(chan struct{})}, true
	}
	return d.next, first
}

// look makes the round trip. Who calls from now on has come too late for it.
func (d *Database) look(ctx context.Context, l *look) {
	defer close(l.done)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looking.Lock()
	d.next = nil
	d.looking.Unlock()
	s, err := d.holder()
	if err != nil {
		l.err = err
		return
	}
	l.now, l.err = s.clock(ctx)
	l.cut = l.err != nil && ctx.Err() != nil
}

// holder returns the session that holds the lock.
func (d *Database) holder() (*session, error) {
	if d.held == nil || d.held.isLost() {
		return nil, &Error{op: "use the session that holds the lock: it is gone", class: lost}
	}
	return d.held, nil
}

func (s *session) clock(ctx context.Context) (time.Time, error) {
	var now time.Time
	if err := s.row(ctx, "SELECT clock_timestamp()", nil, &now); err != nil {
		return time.Time{}, s.failed("ask the database's clock", err)
	}
	return now, nil
}

// failed classifies the failure of a statement: a session that broke is lost.
func (s *session) failed(op string, err error) *Error {
	e := unknown(op, err)
	if s.isLost() {
		e.class = lost
	}
	return e
}

// Release gives the lock back by closing its session, and ends any other. It may be
// called without holding the lock.
func (d *Database) Release() {
	d.doze() // it may be waiting for a server that answers nothing any more
	d.mu.Lock()
	defer d.mu.Unlock()
	d.release()
	if d.spare != nil {
		d.spare.close()
		d.spare = nil
	}
}

func (d *Database) release() {
	if d.held != nil {
		d.doze()
		d.held.close()
		d.held, d.lock = nil, ""
	}
}

// stayAwake keeps tunnels and balancers from ending an idle session, and
// notices early when one did.
func (d *Database) stayAwake(ctx context.Context, s *session, ticks <-chan time.Time) {
	for {
		select {
		case <-s.done:
			return
		case <-ticks:
		}
		if err := d.nudge(ctx, s); err != nil {
			return // the session is gone: the next call finds out
		}
	}
}

func (d *Database) nudge(ctx context.Context, s *session) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var one int
	return s.row(ctx, "SELECT 1", nil, &one)
}
