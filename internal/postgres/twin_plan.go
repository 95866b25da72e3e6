package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// PlanTwin is Plan for target, the one of base and twin that is not served: it
// may be NOLOGIN and without a password, and no random password is tried on it.
// A twin that exists must be a member of base and act as it; one that is missing
// is made, and the transaction is rolled back. The hint for an administrator that
// may not is the SQL for one who may.
//
// The warnings name what works differently for the two roles: settings, rights
// that only the twin has, and policies of the connected database that ask who
// logged in.
func (d *Database) PlanTwin(ctx context.Context, base, twin, target string) (change string, warnings []string, err error) {
	if err := nameable(twin); err != nil {
		return "", nil, err
	}
	err = d.onPrimary(ctx, base, func(s *session, owner role, f facts) (err error) {
		p := twins{session: s, facts: f, base: owner, twin: twin, target: target}
		change, warnings, err = p.examine(ctx)
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
	target := p.base
	if p.target == p.twin {
		target = twin
	}
	findings := []error{p.belongs(ctx), target.expiry(), p.rehearseTarget(ctx, target), p.reachable(ctx)}
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
		policies, errors.Join(err, p.base.expiry(), p.rehearseCreation(ctx, enabled), p.reachable(ctx))
}

func (p twins) rehearseCreation(ctx context.Context, enabled string) error {
	ctx, cancel := context.WithTimeout(ctx, alterTimeout)
	defer cancel()
	return p.create(ctx, p.base.name, p.twin, "ROLLBACK", enabled)
}

func (p twins) rehearseTarget(ctx context.Context, target role) error {
	return p.try(ctx, target, alterRole(target.name, withLogin, throwaway(p.iterations)), bare(target.name, asItIs))
}

// belongs demands that what the twin makes belongs to base, and that it may use
// what base may.
func (p twins) belongs(ctx context.Context) error {
	member, err := p.member(ctx, p.twin, p.base.name)
	if err != nil {
		return err
	}
	if !member {
		return no(fmt.Sprintf("use role %q as the twin of %q: it is no member of that", p.twin, p.base.name),
			fmt.Sprintf("GRANT %s TO %s;", quote(p.base.name), quote(p.twin)))
	}
	var acts bool
	err = p.row(ctx, `SELECT EXISTS (SELECT FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole
		WHERE setdatabase = 0 AND rolname = $1 AND 'role=' || $2 = ANY (setconfig))`, []any{p.twin, p.base.name}, &acts)
	if err != nil {
		return p.failed(fmt.Sprintf("read the settings of role %q", p.twin), err)
	}
	if !acts {
		return no(fmt.Sprintf("use role %q as the twin of %q: it does not act as that, and would own what it makes", p.twin, p.base.name),
			fmt.Sprintf("ALTER ROLE %s SET role = %s;", quote(p.twin), constant(p.base.name)))
	}
	return nil
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
		{"session_user", "in the connected database these policies ask for session_user, which tells roles %q and %q apart, rows may vanish: %s"},
		{"current_user", "in the connected database these policies ask for current_user, which is %[1]q for both roles, unless a session of %[2]q says SET ROLE NONE: %[3]s"},
	} {
		found, err := list(ctx, p.session, pgx.RowTo[string], `SELECT format('%I on %s', polname, polrelid::regclass) FROM pg_policy
			WHERE coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '') ~* ('\m' || $1 || '\M')
			AND has_table_privilege($2::oid, polrelid, 'SELECT, INSERT, UPDATE, DELETE') ORDER BY 1`, kind.word, p.base.oid)
		if err != nil {
			return nil, p.failed("look at the policies for rows", err)
		}
		if len(found) > 0 {
			warnings = append(warnings, fmt.Sprintf(kind.sentence, p.base.name, p.twin, enumerate(found)))
		}
	}
	return warnings, nil
}
