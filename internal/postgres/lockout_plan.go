package postgres

import (
	"context"
	"errors"
	"fmt"
)

// PlanLockout is Plan for a role whose password is compromised; next is the role that
// gets the new one, in place the same. The role may be NOLOGIN, and may have no password or another one than the served; Close and
// Open are tried too, rolled back, and the right to end the role's sessions is
// looked up, without ending one. A session of the role that holds it up at that
// moment is no finding: Close deals with it.
//
// The warnings name what a new password does not take away from whoever had the
// old one, a sentence each: rights, what the role owns or has set, who can act as
// it. They come from the catalogs that all databases share and from those of the
// connected database alone.
func (d *Database) PlanLockout(ctx context.Context, name, next string) (change string, warnings []string, err error) {
	return d.plan(ctx, name, "new SCRAM-SHA-256 verifier (%d iterations) for role %q, NOLOGIN until all its sessions are ended",
		func(s *session, ctx context.Context, r role, f facts) ([]string, error) {
			return s.examineLockout(ctx, r, f, next)
		})
}

func (s *session) examineLockout(ctx context.Context, r role, f facts, next string) (warnings []string, err error) {
	if err := s.ownRole(r, f); err != nil {
		return nil, err
	}
	held, err := s.rehearseLockout(ctx, r, f, next)
	findings := []error{r.expiry(), err, s.mayEnd(ctx, r, f)}
	warnings = f.checks.strict(r.name)
	if held != "" {
		warnings = append(warnings, held)
	}
	if !r.expired {
		asked, err := s.judgesByPath(ctx, r, f)
		findings = append(findings, err)
		if asked.method == methodMD5 {
			warnings = append(warnings, changesMethod(r.name))
		}
	}
	left, err := s.remains(ctx, r)
	return append(warnings, left...), errors.Join(append(findings, err)...)
}

// rehearseLockout tries Close, Open and Set, or Revoke where the other role gets the
// new password, and rolls them back. PostgreSQL checks the rights before it waits for
// somebody else's change of the role.
func (s *session) rehearseLockout(ctx context.Context, r role, f facts, next string) (held string, err error) {
	if err := f.checks.reuse(next, s.db.admin.User); err != nil {
		return "", err
	}
	v := throwaway(f.iterations)
	statements := []string{alterRole(r.name, noLogin, v), alterRole(r.name, withLogin, v), alterRole(r.name, asItIs, v)}
	if next != r.name {
		statements = []string{bare(r.name, noLogin)}
	}
	err = s.try(ctx, r, statements...)
	if s.contested(err) {
		return fmt.Sprintf("somebody is changing role %q at this moment, and may be the one who had its password: the emergency ends the role's sessions", r.name), nil
	}
	return "", err
}

// mayEnd looks up the right to end the sessions of r, see
// https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL.
func (s *session) mayEnd(ctx context.Context, r role, f facts) error {
	var may bool
	err := s.row(ctx, `SELECT rolsuper OR NOT $2::bool AND (pg_has_role(rolname, 'pg_signal_backend', 'USAGE') OR pg_has_role(rolname, $1, 'USAGE'))
		FROM pg_roles WHERE rolname = current_user`, []any{r.name, r.super}, &may)
	if err != nil {
		return s.failed("look up the right to end sessions", err)
	}
	if may {
		return nil
	}
	if r.super {
		return no(fmt.Sprintf("end the sessions of role %q: it is a superuser, and role %q is none", r.name, f.admin), "let `postgres-url` log in as another superuser")
	}
	return no(fmt.Sprintf("end the sessions of role %q: role %q may not", r.name, f.admin), s.signalling())
}
