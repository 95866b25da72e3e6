package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// codeExists is duplicate_object: somebody was faster.
const codeExists = "42710"

// Member tells whether role is a direct member of base; where one of them does
// not exist it is not.
func (d *Database) Member(ctx context.Context, role, base string) (member bool, err error) {
	if err := errors.Join(nameable(role), nameable(base)); err != nil {
		return false, err
	}
	err = d.with(ctx, func(s *session) (err error) {
		member, err = s.member(ctx, role, base)
		return err
	})
	return member, err
}

func (s *session) member(ctx context.Context, role, base string) (member bool, err error) {
	err = s.row(ctx, `SELECT EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles b ON b.oid = m.roleid
		WHERE r.rolname = $1 AND b.rolname = $2 AND `+usable+`)`, []any{role, base}, &member)
	if err != nil {
		return false, s.failed(fmt.Sprintf("ask whether role %q is a member of %q", role, base), err)
	}
	return member, nil
}

// Create makes twin, in the session that holds the lock and as a whole or not at
// all: a member of base that acts as base, or as what base acts as by a SET role of
// its own, so that what it makes belongs to the same role; with base's settings in
// all databases, connection limit, VALID UNTIL and REPLICATION (the attribute that
// counts for who logs in, the others do for who one acts as), NOLOGIN and without
// a password. It changes nothing where twin exists.
//
// A role's settings count for who logs in as it and not for who becomes it by SET
// ROLE, so they have to be copied:
// https://www.postgresql.org/docs/current/sql-alterrole.html.
// Class "refused": the administrator may not; the hint is the SQL for one who may.
func (d *Database) Create(ctx context.Context, base, twin string) error {
	if err := errors.Join(nameable(base), nameable(twin)); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.holder()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, alterTimeout)
	defer cancel()
	if _, found, err := s.find(ctx, twin); found || err != nil {
		return err
	}
	err = s.create(ctx, base, twin, "COMMIT")
	if hasCode(err, codeExists) {
		return nil
	}
	return err
}

// create sends the statements that make the twin, and more.
func (s *session) create(ctx context.Context, base, twin, end string, more ...string) error {
	statements, err := s.making(ctx, base, twin)
	if err != nil {
		return err
	}
	err = s.inTransaction(ctx, end, append(slices.Clone(statements), more...)...)
	if err == nil {
		return nil
	}
	s.settle()
	failed := s.altering(ctx, fmt.Sprintf("make role %q as a twin of %q", twin, base), twin, err)
	var e *Error
	if errors.As(failed, &e) && hasCode(err, codeNoPrivilege) {
		e.hint = "as a superuser: " + strings.Join(statements, "; ") + "; " + grant(s.major(), twin, s.db.admin.User)
	}
	return failed
}

// shortestSecret keeps values like "on" from being masked everywhere.
const shortestSecret = 16

// making are the statements that make a twin of base. Who reads them in the
// database learns nothing: pg_roles and pg_db_role_setting are open to everybody.
// Settings that PostgreSQL does not know are an application's own, and some hold
// a secret: they are masked elsewhere.
func (s *session) making(ctx context.Context, base, twin string) ([]string, error) {
	r, err := s.role(ctx, base)
	if err != nil {
		return nil, err
	}
	as, err := s.acting(ctx, base)
	if err != nil {
		return nil, err
	}
	settings, err := s.settings(ctx, base)
	if err != nil {
		return nil, err
	}
	all := append([]string{r.twinned(twin, as)}, as.statements(twin, as)...)
	for _, one := range settings {
		value, err := one.values()
		if err != nil {
			return nil, err
		}
		if strings.Contains(one.Name, ".") && len(one.Value) >= shortestSecret {
			s.db.keep(one.Value)
		}
		all = append(all, "ALTER ROLE "+quote(twin)+one.place()+" SET "+one.name()+" = "+value)
	}
	return all, nil
}

// twinned makes twin with what counts for who logs in. A superuser acts as roles
// that it is no member of, which its members may not.
func (r role) twinned(twin string, as acting) string {
	made, in := "CREATE ROLE "+quote(twin)+" NOLOGIN", []string{quote(r.name)}
	if r.streams() {
		made += " REPLICATION"
	}
	if r.limit >= 0 {
		made += fmt.Sprintf(" CONNECTION LIMIT %d", r.limit)
	}
	if r.until != "" {
		made += " VALID UNTIL " + constant(r.until)
	}
	for _, other := range as.roles() {
		if r.super && other != r.name {
			in = append(in, quote(other))
		}
	}
	return made + " IN ROLE " + strings.Join(in, ", ")
}

// Enable is Set and makes the role LOGIN in the same statement.
func (d *Database) Enable(ctx context.Context, c secret.Credential) (time.Time, error) {
	return d.change(ctx, c, func(s *session) error { return s.alter(ctx, c, withLogin) })
}
