package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Plan finds out whether the password of the role can be changed and judged
// here, and changes nothing: ALTER ROLE is tried there and back in a transaction
// that is rolled back, and a random password is tried, once, which must be
// refused. change says what Set would do. The error joins everything that speaks
// against it; where the server cannot be asked it is that alone.
func (d *Database) Plan(ctx context.Context, role string) (change string, warnings []string, err error) {
	return d.plan(ctx, role, verifierPlanned, (*session).examine)
}

// verifierPlanned has the places of the iterations and of the role.
const verifierPlanned = "new SCRAM-SHA-256 verifier (%d iterations) for role %q"

// plan asks examine about the role. change has the places of the iterations and
// of the role.
func (d *Database) plan(ctx context.Context, name, change string, examine func(*session, context.Context, role, facts) ([]string, error)) (
	planned string, warnings []string, err error) {
	err = d.onPrimary(ctx, name, func(s *session, r role, f facts) (err error) {
		planned = fmt.Sprintf(change, f.iterations, name)
		warnings, err = examine(s, ctx, r, f)
		return err
	})
	if err != nil {
		planned = ""
	}
	return planned, warnings, err
}

// onPrimary lends ask a session on the primary that has the role.
func (d *Database) onPrimary(ctx context.Context, name string, ask func(*session, role, facts) error) error {
	return d.with(ctx, func(s *session) error {
		f, r, err := s.about(ctx, name)
		switch {
		case f.standby:
			return no("change a password on a standby: it is read-only", "let `postgres-url` name the primary")
		case err != nil:
			return err
		}
		if f.checks, err = s.readChecks(ctx); err != nil {
			return err
		}
		if err := f.checks.scram(); err != nil {
			return err
		}
		return ask(s, r, f)
	})
}

func (s *session) examine(ctx context.Context, r role, f facts) (warnings []string, err error) {
	return s.examineBy(ctx, r, f, s.rehearse)
}

// rehearsal tries what is done to a role with that verifier, and rolls it back.
type rehearsal func(ctx context.Context, r role, f facts, stored secret.Value) error

func (s *session) examineBy(ctx context.Context, r role, f facts, try rehearsal) (warnings []string, err error) {
	if err := s.ownRole(r, f); err != nil {
		return nil, err // the rest would be about the wrong role
	}
	findings := []error{r.expiry(), r.login()}
	tight, err := s.crowded(ctx, r)
	warnings, findings = slices.Concat(r.mighty(), tight, f.checks.strict(r.name)), append(findings, err)
	stored, err := s.storedIfReadable(ctx, r, f)
	judged := func() (challenge, error) { return challenge{}, nil }
	if !r.expired && (!f.readable || !stored.IsZero()) {
		judged = beside(func() (challenge, error) { return s.judgesByPath(ctx, r, f) })
	}
	findings = append(findings, err, try(ctx, r, f, stored))
	asked, err := judged()
	findings = append(findings, err)
	if isMD5(stored) || asked.method == methodMD5 {
		warnings = append(warnings, changesMethod(r.name))
	}
	return warnings, errors.Join(findings...)
}

// beside begins a login, which has a connection of its own, while the session is at
// work, and returns what waits for its end.
func beside(login func() (challenge, error)) (wait func() (challenge, error)) {
	var asked challenge
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		asked, err = login()
	}()
	return func() (challenge, error) { <-done; return asked, err }
}

func changesMethod(name string) string {
	return fmt.Sprintf("role %q has an md5 hash and gets a SCRAM-SHA-256 verifier: its drivers must know SCRAM (libpq 10, JDBC 42.2 and later do)", name)
}

// ownRole refuses the two roles whose loss would lock the administrator out.
func (s *session) ownRole(r role, f facts) error {
	switch {
	case r.bootstrap:
		return no(fmt.Sprintf("change the password of role %q: it is the bootstrap superuser", r.name),
			"let the workloads log in as a role of their own: CREATE ROLE app LOGIN; and change its password as another: "+s.rotator("app"))
	case r.name == f.login || r.name == f.admin:
		return no(fmt.Sprintf("change the password of role %q: it is the role of `postgres-url` itself", r.name),
			"let another role change it: "+s.rotator(r.name))
	}
	return nil
}

// mighty warns of attributes by which a password opens more than a database.
func (r role) mighty() (warnings []string) {
	if r.super {
		warnings = append(warnings, fmt.Sprintf("role %q is a superuser: whoever reads its password owns the server", r.name))
	}
	if r.copies {
		warnings = append(warnings, fmt.Sprintf("role %q has REPLICATION: a standby or a backup that logs in as it needs the new password in its own settings (primary_conninfo)", r.name))
	}
	return warnings
}

func (r role) login() error {
	if r.canLogin {
		return nil
	}
	return no(fmt.Sprintf("judge role %q: it is NOLOGIN, no password opens", r.name), "if it is meant to log in: ALTER ROLE "+quote(r.name)+" LOGIN;")
}

// rotator is the SQL that makes an administrator with few rights.
func (s *session) rotator(name string) string {
	return "CREATE ROLE rotator LOGIN CREATEROLE NOINHERIT; " + grant(s.major(), name, "rotator") + `\password rotator`
}

// grant is the SQL that lets admin change the password of name: CREATEROLE, and
// from PostgreSQL 16 on ADMIN OPTION too, see
// https://www.postgresql.org/docs/current/sql-alterrole.html.
func grant(major int, name, admin string) string {
	if major < 16 {
		return ""
	}
	return fmt.Sprintf("GRANT %s TO %s WITH ADMIN TRUE, INHERIT FALSE, SET FALSE; ", quote(name), quote(admin))
}

// permission is the remedy for a refused ALTER ROLE. Of a role that cannot be
// looked up it says what most roles take.
func (s *session) permission(ctx context.Context, name string) string {
	r, _ := s.role(ctx, name)
	return r.permission(s.major(), s.db.admin.User)
}

// permission is the SQL that lets admin change the password. No right of a role
// without SUPERUSER reaches one that has it, nor, before PostgreSQL 16, one with
// REPLICATION, see https://www.postgresql.org/docs/15/sql-alterrole.html.
func (r role) permission(major int, admin string) string {
	var beyond []string
	if r.super {
		beyond = append(beyond, "NOSUPERUSER")
	}
	if r.copies && major < 16 {
		beyond = append(beyond, "NOREPLICATION")
	}
	if len(beyond) > 0 {
		return fmt.Sprintf("let `postgres-url` log in as a superuser, which this role's password takes; or, where the role need not be what it is: ALTER ROLE %s %s;", quote(r.name), strings.Join(beyond, " "))
	}
	return strings.TrimSpace(fmt.Sprintf("as a superuser: ALTER ROLE %s CREATEROLE; %s", quote(admin), grant(major, r.name, admin)))
}

// storedIfReadable reads the verifier where that is allowed; a role without one
// cannot be put back to it.
func (s *session) storedIfReadable(ctx context.Context, r role, f facts) (secret.Value, error) {
	if !f.readable {
		return secret.Value{}, nil
	}
	stored, err := s.stored(ctx, r.name)
	if err == nil && stored.IsZero() {
		err = no(fmt.Sprintf("judge role %q: it has no password", r.name), "set the password that the served Secret holds, then run again")
	}
	return stored, err
}

// rehearse tries the change and the way back, and rolls both back. For a verifier
// that may not be read a throwaway stands in: that proves the rights, and not that
// the server takes back what it had.
func (s *session) rehearse(ctx context.Context, r role, f facts, stored secret.Value) error {
	if err := f.checks.reuse(r.name, s.db.admin.User); err != nil {
		return err // trying it would leave traces
	}
	back := stored
	if _, ok := parse(back); !ok && !isMD5(back) {
		back = throwaway(f.iterations)
	}
	return s.try(ctx, r, alterRole(r.name, asItIs, throwaway(f.iterations)), alterRole(r.name, asItIs, back))
}

// try runs ALTER ROLE statements and rolls them back.
func (s *session) try(ctx context.Context, r role, statements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, alterTimeout)
	defer cancel()
	if err := s.inTransaction(ctx, "ROLLBACK", statements...); err != nil {
		return s.altering(ctx, fmt.Sprintf("try to change the password of role %q", r.name), r.name, err)
	}
	return nil
}

// judgesByPath makes sure that Holds will have an answer: by logins, which takes
// a random password to be refused, or by the stored verifier.
func (s *session) judgesByPath(ctx context.Context, r role, f facts) (challenge, error) {
	if err := f.checks.unforgiving(r.name); err != nil {
		return challenge{}, err
	}
	asked, err := s.control(ctx, r)
	if err == nil && !asked.byLogin() && !f.readable {
		err = unprovable(r.name, f.admin, asked)
	}
	return asked, err
}

// control is the negative control of the oracle: an answer is worth something
// only where a wrong password gets another one. It is one failed login, once, and
// none where the server asks for nothing that a login proves.
func (s *session) control(ctx context.Context, r role) (challenge, error) {
	if asked, controlled := s.db.controlled[r.name]; controlled {
		return asked, nil
	}
	wrong := secret.Credential{User: r.name, Password: secret.New(rand.Text())}
	verdict, asked, err := s.offer(ctx, wrong, methodHashed)
	switch {
	case asked.method == "":
		return asked, err
	case verdict == secret.No, !asked.byLogin():
		s.db.controlled[r.name] = asked
		return asked, nil
	case verdict == secret.Unknown:
		return asked, err
	}
	return asked, no(fmt.Sprintf("judge the password of role %q: PostgreSQL accepts any password on this path", r.name),
		"let `postgres-url` name PostgreSQL itself, and pg_hba.conf ask for scram-sha-256")
}
