package postgres

import (
	"context"
	"errors"
	"fmt"
)

// codeNoObject is undefined_object: the role is not there.
const codeNoObject = "42704"

// Sessions counts the sessions on this server that were opened by logging in as
// name, in whatever database; a role that does not exist has none.
func (d *Database) Sessions(ctx context.Context, name string) (n int, err error) {
	if err := nameable(name); err != nil {
		return 0, err
	}
	err = d.with(ctx, func(s *session) error {
		err := s.row(ctx, "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND pid <> pg_backend_pid()", []any{name}, &n)
		if err != nil {
			return s.failed(fmt.Sprintf("count the sessions of role %q", name), err)
		}
		return nil
	})
	return n, err
}

// Retire takes the password of name away, in the session that holds the lock:
// nobody can log in with one any more, and sessions that are open go on. It
// changes nothing where the role does not exist. Class "refused", too, where other is
// not empty and none of the two is a member of the other one: they do not take turns.
func (d *Database) Retire(ctx context.Context, name, other string) error {
	return d.withoutPassword(ctx, name, other, func(s *session) error { return s.send(ctx, name, bare(name, asItIs)) })
}

// Revoke is Retire and makes the role NOLOGIN in the same statement, whatever
// sessions of the role do against it: see Close.
func (d *Database) Revoke(ctx context.Context, name, other string) error {
	return d.withoutPassword(ctx, name, other, func(s *session) error {
		return s.insist(ctx, name, func() error { return s.send(ctx, name, bare(name, noLogin)) })
	})
}

// bare is ALTER ROLE that leaves no password.
func bare(name string, a attribute) string {
	return "ALTER ROLE " + quote(name) + string(a) + " PASSWORD NULL"
}

func (d *Database) withoutPassword(ctx context.Context, name, other string, alter func(*session) error) error {
	if err := nameable(name); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.holder()
	if err != nil {
		return err
	}
	if err := errors.Join(s.notItself(ctx, name), s.takesTurns(ctx, name, other)); err != nil {
		return err
	}
	if err := alter(s); !hasCode(err, codeNoObject) {
		return err
	}
	return nil
}

// takesTurns refuses a role that is there and makes no pair with other, whoever
// says that it does.
func (s *session) takesTurns(ctx context.Context, name, other string) error {
	if other == "" {
		return nil
	}
	if _, found, err := s.find(ctx, name); !found || err != nil {
		return err
	}
	twin, err := s.member(ctx, name, other)
	base, failed := s.member(ctx, other, name)
	if err := errors.Join(err, failed); twin || base || err != nil {
		return err
	}
	return no(fmt.Sprintf("close role %q: it does not take turns with role %q, none of them is a member of the other", name, other),
		fmt.Sprintf("somebody has edited the journal, or taken the membership away; if it is the former role: GRANT %s TO %s; and run again", quote(other), quote(name)))
}
