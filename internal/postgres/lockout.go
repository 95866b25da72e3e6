package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// closeAttempts is how often Close tries while sessions of the role that it ends
// keep changing the role, each up to lockTimeout.
const closeAttempts = 6

// Close is Set and makes the role NOLOGIN in the same statement. A session of
// the role can hold it up, by a transaction in which it has changed itself, or by
// changing itself over and over: then Close ends the role's sessions while it
// waits. It does not end those of others; and a prepared transaction of the role
// has to be rolled back by hand.
//
// A login that the server had begun to answer before, and the sessions that are
// open, outlive it: see Expel and Open.
func (d *Database) Close(ctx context.Context, c secret.Credential) (time.Time, error) {
	return d.change(ctx, c, func(s *session) error {
		return s.insist(ctx, c.User, func() error { return s.alter(ctx, c, noLogin) })
	})
}

// insist closes a role by close, against sessions of it that hold it up.
func (s *session) insist(ctx context.Context, name string, close func() error) error {
	err := close()
	if s.contested(err) {
		err = s.force(ctx, name, close)
	}
	return err
}

// Open is Set and makes the role LOGIN in the same statement. It expects that no
// session of the role is left, since each could change the password once more.
//
// Before that it sets the password while the role is NOLOGIN, and waits until no
// login is under way that began earlier: the server takes the verifier when a
// login begins and looks whether the role may log in when it ends, so one begun
// with the former verifier and finished late would succeed. A client may draw
// that out for authentication_timeout, a minute by default.
func (d *Database) Open(ctx context.Context, c secret.Credential) (time.Time, error) {
	return d.change(ctx, c, func(s *session) error {
		if err := s.alter(ctx, c, noLogin); err != nil {
			return err
		}
		if err := s.outlast(ctx, c.User); err != nil {
			return err
		}
		return s.alter(ctx, c, withLogin)
	})
}

// contested tells that somebody else was changing the role at the same moment.
func (s *session) contested(err error) bool {
	return !s.isLost() && (hasCode(err, codeLockTimeout) || hasCode(err, codeInternal))
}

// force closes the role while another session ends those of the role. It waits
// in PostgreSQL's queue for the row all the time, so that whoever logs in
// meanwhile comes after it; ending the sessions first and trying again would be
// a race with them.
func (s *session) force(ctx context.Context, name string, close func() error) error {
	other, err := s.db.open(ctx)
	if err != nil {
		return err
	}
	defer other.close()
	ending, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- other.keepEnding(ending, name) }()
	for range closeAttempts {
		if err = close(); !s.contested(err) {
			break
		}
	}
	stop()
	if impeded := <-ended; err != nil {
		return errors.Join(err, impeded, s.prepared(ctx, name))
	}
	return nil
}

// keepEnding ends the sessions of name again and again until ctx is over.
func (s *session) keepEnding(ctx context.Context, name string) error {
	for {
		if _, err := s.end(ctx, name); ctx.Err() != nil {
			return nil
		} else if err != nil {
			return err
		}
		if pause(ctx) != nil {
			return nil
		}
	}
}

// prepared names the transactions of name that no session holds any more, and
// that may hold its row in pg_authid.
func (s *session) prepared(ctx context.Context, name string) error {
	found, err := list(ctx, s, pgx.RowTo[string], `SELECT format('ROLLBACK PREPARED %L; in database %I', gid, database)
		FROM pg_prepared_xacts WHERE owner = $1 ORDER BY prepared LIMIT 3`, name)
	if err != nil || len(found) == 0 {
		return nil // it would only have explained another error
	}
	return no(fmt.Sprintf("change role %q beside its prepared transactions", name), "as a superuser: "+strings.Join(found, ", "))
}
