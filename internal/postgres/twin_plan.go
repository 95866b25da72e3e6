package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// PlanFormer is Plan for the role that is switched away from. New pods log in as
// the other role, so that its CONNECTION LIMIT is no concern; and its password is
// never set, only taken away in the end.
func (d *Database) PlanFormer(ctx context.Context, role string) (change string, warnings []string, err error) {
	return d.plan(ctx, role, verifierPlanned, (*session).examineFormer)
}

func (s *session) examineFormer(ctx context.Context, r role, f facts) (warnings []string, err error) {
	r.limit = unlimited
	return s.examineBy(ctx, r, f, s.rehearseRetirement)
}

// rehearseRetirement tries what Retire does.
func (s *session) rehearseRetirement(ctx context.Context, r role, _ facts, _ secret.Value) error {
	return s.try(ctx, r, bare(r.name, asItIs))
}

// PlanTwin is Plan for target, the one of base and twin that is not served: it
// may be NOLOGIN and without a password, and no random password is tried on it.
// A twin that exists must be a member of base and act as base does in every
// database; target must get in where the other does, also for replication. A twin
// that is missing is made, and the transaction is rolled back. The hint for an
// administrator that may not is the SQL for one who may.
//
// The warnings name what works differently for the two roles: settings, rights
// that only the twin has, and policies of the connected database that ask who
// logged in; and the other databases in which there may be such policies, since
// base has objects or rights there (what PUBLIC may does not count).
func (d *Database) PlanTwin(ctx context.Context, base, twin, target string) (change string, warnings []string, err error) {
	if err := nameable(twin); err != nil {
		return "", nil, err
	}
	err = d.onPrimary(ctx, base, func(s *session, owner role, f facts) (err error) {
		p := twins{session: s, facts: f, base: owner, twin: twin, target: target}
		change, warnings, err = p.examine(ctx)
		warnings = append(warnings, f.checks.unreturning(target)...)
		return err
	})
	if err != nil {
		change = ""
	}
	return change, warnings, err
}

// twins is the question about one pair.
type twins struct {
	*session
	facts
	base         role
	twin, target string
}

func (p twins) examine(ctx context.Context) (change string, warnings []string, err error) {
	if err := p.ownRole(p.base, p.facts); err != nil {
		return "", nil, err
	}
	twin, found, err := p.find(ctx, p.twin)
	if err != nil {
		return "", nil, err
	}
	if !found {
		return p.missing(ctx)
	}
	if err := p.ownRole(twin, p.facts); err != nil {
		return "", nil, err
	}
	target, other := p.base, twin
	if p.target == p.twin {
		target, other = twin, p.base
	}
	findings := []error{p.belongs(ctx), target.replaces(other), p.connects(ctx, target, other), target.expiry(), p.rehearseTarget(ctx, target), p.reachable(ctx)}
	warnings, err = p.differences(ctx, twin)
	return fmt.Sprintf("new SCRAM-SHA-256 verifier (%d iterations) for role %q, then its user name is served", p.iterations, p.target), warnings, errors.Join(append(findings, err)...)
}

// missing tries to make the twin.
func (p twins) missing(ctx context.Context) (change string, warnings []string, err error) {
	if p.target != p.twin {
		return "", nil, no(fmt.Sprintf("look up role %q: it does not exist", p.twin), "check the user name in the served Secret and `postgres-alternate-role`")
	}
	enabled := alterRole(p.twin, withLogin, throwaway(p.iterations))
	policies, err := p.policies(ctx)
	return fmt.Sprintf("made as a member of role %q, with its settings and a SCRAM-SHA-256 verifier (%d iterations); then its user name is served", p.base.name, p.iterations),
		policies, errors.Join(err, p.base.expiry(), p.connectsAsMember(ctx), p.rehearseCreation(ctx, enabled), p.reachable(ctx))
}

// connectsAsMember refuses to make a twin that would not get into a database which base gets
// into as a superuser only: a member has what its role was granted.
func (p twins) connectsAsMember(ctx context.Context) error {
	if !p.base.super {
		return nil
	}
	shut, err := list(ctx, p.session, pgx.RowTo[string], `WITH RECURSIVE has (oid) AS (SELECT $1::oid UNION SELECT roleid FROM pg_auth_members m JOIN has ON m.member = has.oid)
		SELECT quote_ident(datname) FROM pg_database WHERE datallowconn AND NOT EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba)))
		WHERE privilege_type = 'CONNECT' AND (grantee = 0 OR grantee IN (SELECT oid FROM has))) ORDER BY 1`, p.base.oid)
	switch {
	case err != nil:
		return p.failed(fmt.Sprintf("ask where role %q may connect", p.twin), err)
	case len(shut) > 0:
		return p.shutOut(p.twin, p.base.name, shut, p.base.name)
	}
	return nil
}

// shutOut is the refusal of a role, and to whom a grant would mend it.
func (p twins) shutOut(target, other string, databases []string, grantee string) *Error {
	return no(fmt.Sprintf("use role %q in place of %q: it may not connect to database %s", target, other, enumerate(databases)),
		fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s;", strings.Join(databases, ", "), quote(grantee)))
}

func (p twins) rehearseCreation(ctx context.Context, enabled string) error {
	ctx, cancel := context.WithTimeout(ctx, alterTimeout)
	defer cancel()
	return p.create(ctx, p.base.name, p.twin, "ROLLBACK", enabled)
}

func (p twins) rehearseTarget(ctx context.Context, target role) error {
	return p.try(ctx, target, alterRole(target.name, withLogin, throwaway(p.iterations)), bare(target.name, asItIs))
}

// belongs demands that what the twin makes belongs to whom it does when base
// makes it, and that it may use what base may.
func (p twins) belongs(ctx context.Context) error {
	member, err := p.member(ctx, p.twin, p.base.name)
	if err != nil {
		return err
	}
	if !member {
		return no(fmt.Sprintf("use role %q as the twin of %q: it is no member of that", p.twin, p.base.name),
			fmt.Sprintf("GRANT %s TO %s;", quote(p.base.name), quote(p.twin)))
	}
	as, err := p.acting(ctx, p.base.name)
	if err != nil {
		return err
	}
	if err := p.becomes(ctx, append(as.roles(), p.base.name)); err != nil {
		return err
	}
	now, err := p.acting(ctx, p.twin)
	if err != nil {
		return err
	}
	if unlike := as.unlike(now); len(unlike) > 0 {
		return no(fmt.Sprintf("use role %q as the twin of %q: what it makes would belong to %s", p.twin, p.base.name, enumerate(unlike)),
			strings.Join(as.statements(p.twin, now), "; ")+";")
	}
	return nil
}

// becomes demands that the twin may SET ROLE to each of roles.
func (p twins) becomes(ctx context.Context, roles []string) error {
	denied, err := list(ctx, p.session, pgx.RowTo[string], `SELECT quote_ident(o.rolname) FROM pg_roles o, pg_roles r
		WHERE r.rolname = $1 AND o.rolname = ANY ($2) AND NOT pg_has_role(r.oid, o.oid, $3) ORDER BY 1`, p.twin, roles, becoming(p.major()))
	if err != nil {
		return p.failed(fmt.Sprintf("ask what role %q may become", p.twin), err)
	}
	if len(denied) == 0 {
		return nil
	}
	return no(fmt.Sprintf("use role %q as the twin of %q: it may not SET ROLE to %s", p.twin, p.base.name, enumerate(denied)),
		membership(p.major(), strings.Join(denied, ", "), p.twin, "SET"))
}

// membership is the SQL that makes twin a member of roles with an option that
// PostgreSQL knows since 16; before that every membership allows SET ROLE, and
// the member's own INHERIT decides about the other.
// https://www.postgresql.org/docs/current/sql-grant.html
func membership(major int, roles, twin, option string) string {
	switch {
	case major >= 16:
		return fmt.Sprintf("GRANT %s TO %s WITH %s TRUE;", roles, quote(twin), option)
	case option == "INHERIT":
		return fmt.Sprintf("ALTER ROLE %s INHERIT;", quote(twin))
	}
	return fmt.Sprintf("GRANT %s TO %s;", roles, quote(twin))
}

// replaces refuses a role that takes replication connections from a service.
// SUPERUSER, BYPASSRLS, CREATEDB and CREATEROLE go by the role that a session acts
// as, which is the same for both.
func (r role) replaces(other role) error {
	if r.streams() || !other.streams() {
		return nil
	}
	return no(fmt.Sprintf("use role %q in place of %q: it has no REPLICATION, which counts for who logs in", r.name, other.name),
		fmt.Sprintf("as a superuser: ALTER ROLE %s REPLICATION; or where no service of it replicates: ALTER ROLE %s NOREPLICATION;", quote(r.name), quote(other.name)))
}

// connects refuses a role that does not get into a database that the other gets
// into: CONNECT is asked before SET role takes effect, of who logs in and what
// that inherits.
func (p twins) connects(ctx context.Context, target, other role) error {
	shut, err := list(ctx, p.session, pgx.RowTo[string], `SELECT quote_ident(datname) FROM pg_database WHERE datallowconn
		AND has_database_privilege($1::oid, oid, 'CONNECT') AND NOT has_database_privilege($2::oid, oid, 'CONNECT') ORDER BY 1`, other.oid, target.oid)
	if err != nil {
		return p.failed(fmt.Sprintf("ask where role %q may connect", target.name), err)
	}
	if len(shut) == 0 {
		return nil
	}
	denied := p.shutOut(target.name, other.name, shut, target.name)
	if target.name == p.twin && !p.base.super {
		denied.hint = membership(p.major(), quote(p.base.name), p.twin, "INHERIT")
	}
	return denied
}

// reachable makes sure that Holds will have an answer for target: pg_hba.conf
// may treat the two roles differently.
func (p twins) reachable(ctx context.Context) error {
	asked, err := p.probe(ctx, p.target)
	if err == nil && !asked.byLogin() && !p.readable {
		err = unprovable(p.target, p.admin, asked)
	}
	return err
}

// differences warns of what the pods will find changed.
func (p twins) differences(ctx context.Context, twin role) (warnings []string, err error) {
	drift, err := p.drift(ctx)
	if err != nil {
		return nil, err
	}
	owned, err := list(ctx, p.session, pgx.RowTo[string], `SELECT coalesce(quote_ident(datname), 'all databases') || ' (' || count(*) || ')' FROM pg_shdepend d
		LEFT JOIN pg_database b ON b.oid = d.dbid WHERE refclassid = 'pg_authid'::regclass AND refobjid = $1 AND classid <> 'pg_auth_members'::regclass
		AND deptype IN ('o', 'a', 'r') GROUP BY datname ORDER BY 1`, twin.oid)
	if err != nil {
		return nil, p.failed(fmt.Sprintf("look at what role %q has", p.twin), err)
	}
	if len(owned) > 0 {
		warnings = append(warnings, fmt.Sprintf("role %q owns objects or has rights of its own, or policies name it, which role %q has no part in: %s; grant them to role %[2]q",
			p.twin, p.base.name, enumerate(owned)))
	}
	policies, err := p.policies(ctx)
	return slices.Concat(drift, warnings, policies), err
}

// drift names the settings in which the two roles have come to differ.
func (p twins) drift(ctx context.Context) (warnings []string, err error) {
	base, err := p.settings(ctx, p.base.name)
	if err != nil {
		return nil, err
	}
	twin, err := p.settings(ctx, p.twin)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, one := range slices.Concat(base, twin) {
		if name := one.Name + one.place(); !(slices.Contains(base, one) && slices.Contains(twin, one)) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	var limits bool
	err = p.row(ctx, `SELECT a.rolconnlimit = b.rolconnlimit AND a.rolvaliduntil IS NOT DISTINCT FROM b.rolvaliduntil FROM pg_roles a, pg_roles b
		WHERE a.rolname = $1 AND b.rolname = $2`, []any{p.base.name, p.twin}, &limits)
	if err != nil {
		return nil, p.failed("compare the two roles", err)
	}
	if !limits {
		names = append(names, "CONNECTION LIMIT or VALID UNTIL")
	}
	if len(names) > 0 {
		warnings = append(warnings, fmt.Sprintf("roles %q and %q differ in %s: give both the same with ALTER ROLE", p.base.name, p.twin, enumerate(names)))
	}
	return warnings, nil
}

// policies warns of row security that sees the two roles as two.
func (p twins) policies(ctx context.Context) (warnings []string, err error) {
	for _, kind := range []struct{ word, sentence string }{
		{"session_user", "in database %[4]q these policies ask for session_user, which tells roles %[1]q and %[2]q apart, rows may vanish: %[3]s"},
		{"current_user", "in database %[4]q these policies ask for current_user, which is the same for roles %[1]q and %[2]q, unless a session says SET ROLE NONE: %[3]s"},
	} {
		found, err := list(ctx, p.session, pgx.RowTo[string], `SELECT format('%I on %s', polname, polrelid::regclass) FROM pg_policy
			WHERE coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '') ~* ('\m' || $1 || '\M')
			AND has_table_privilege($2::oid, polrelid, 'SELECT, INSERT, UPDATE, DELETE') ORDER BY 1`, kind.word, p.base.oid)
		if err != nil {
			return nil, p.failed("look at the policies for rows", err)
		}
		if len(found) > 0 {
			warnings = append(warnings, fmt.Sprintf(kind.sentence, p.base.name, p.twin, enumerate(found), p.database))
		}
	}
	unseen, err := p.elsewhere(ctx)
	return append(warnings, unseen...), err
}

// elsewhere warns of the databases whose policies are not seen from here.
func (p twins) elsewhere(ctx context.Context) (warnings []string, err error) {
	found, err := list(ctx, p.session, pgx.RowTo[string], `SELECT DISTINCT quote_ident(datname) FROM pg_shdepend d
		JOIN pg_database b ON b.oid = CASE classid WHEN 'pg_database'::regclass THEN objid ELSE dbid END
		WHERE refclassid = 'pg_authid'::regclass AND deptype IN ('o', 'a', 'r') AND pg_has_role($1::oid, refobjid, 'USAGE')
		AND datallowconn AND datname <> $2 ORDER BY 1`, p.base.oid, p.database)
	if err != nil {
		return nil, p.failed(fmt.Sprintf("look for databases in which role %q has rights", p.base.name), err)
	}
	if len(found) > 0 {
		warnings = append(warnings, fmt.Sprintf("policies were looked at in database %q alone, and role %q has objects or rights in others, too: %s; look there for policies that ask for session_user",
			p.database, p.base.name, enumerate(found)))
	}
	return warnings, nil
}
