package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

const namesShown = 8 // of each kind

// remain is one kind of thing that a new password does not take away from
// whoever had the old one.
type remain struct {
	sentence string // %[1]q is the role, %[2]s the names, %[3]q the database
	names    string // SQL that yields one name per row; $1 is the role's oid
}

const (
	// memberOf are the roles that $1 is a member of, through others too.
	memberOf = `WITH RECURSIVE roles (role) AS (SELECT roleid FROM pg_auth_members WHERE member = $1 UNION
		SELECT roleid FROM pg_auth_members JOIN roles ON member = role) `
	// usable tells a membership that gives rights from one that only lets grant
	// it on, which exists since PostgreSQL 16.
	usable = `coalesce((to_jsonb(m) ->> 'inherit_option')::bool OR (to_jsonb(m) ->> 'set_option')::bool, true)`
)

// everywhere are the remains in the catalogs that all databases share.
var everywhere = []remain{
	{"role %[1]q is %[2]s: whoever had its password may have made other ways in with that, look through all login roles and their rights",
		`SELECT unnest(array_remove(ARRAY[CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreaterole THEN 'CREATEROLE' END,
			CASE WHEN rolreplication THEN 'REPLICATION (copies of the whole server)' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS (rows that policies hide)' END], NULL))
			FROM pg_roles WHERE oid = $1`},
	{"role %[1]q is a member of %[2]s: whatever was done with their rights stays",
		memberOf + `SELECT quote_ident(rolname) || coalesce(' (' || allows || ')', '') FROM pg_roles JOIN roles ON role = oid LEFT JOIN (VALUES
			('pg_read_all_data', 'reads every table'), ('pg_write_all_data', 'writes every table'), ('pg_read_server_files', 'reads files of the server'),
			('pg_write_server_files', 'writes files of the server'), ('pg_execute_server_program', 'runs programs on the server'),
			('pg_signal_backend', 'ends sessions'), ('pg_read_all_settings', 'reads every setting'), ('pg_monitor', 'sees statements and settings'),
			('pg_read_all_stats', 'sees the statements of others'), ('pg_maintain', 'maintains every table'),
			('pg_create_subscription', 'makes subscriptions')) AS p (rolname, allows) USING (rolname) ORDER BY allows IS NULL, rolname`},
	{"these login roles can act as role %[1]q and change its password again, make sure that each is yours: %[2]s",
		`WITH RECURSIVE roles (role) AS (SELECT member FROM pg_auth_members m WHERE roleid = $1 AND ` + usable + ` UNION
			SELECT member FROM pg_auth_members m JOIN roles ON roleid = role WHERE ` + usable + `)
			SELECT quote_ident(rolname) FROM pg_roles JOIN roles ON role = oid WHERE rolcanlogin AND rolname NOT IN (current_user, session_user) ORDER BY 1`},
	{"role %[1]q has ADMIN OPTION on %[2]s: whoever had its password may have made others members of these",
		memberOf + `SELECT DISTINCT quote_ident(r.rolname) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
			WHERE m.admin_option AND (m.member = $1 OR m.member IN (SELECT role FROM roles)) ORDER BY 1`},
	{"role %[1]q has granted memberships, which stay: %[2]s",
		`SELECT DISTINCT format('%I to %I', r.rolname, m.rolname) FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
			WHERE a.grantor = $1 ORDER BY 1`},
	{"role %[1]q owns databases %[2]s: settings of a database and what is planted in it meet everybody who logs in there",
		`SELECT quote_ident(datname) FROM pg_database WHERE datdba = $1 ORDER BY 1`},
	{"these settings take effect whenever role %[1]q logs in, and could lead it to planted code: %[2]s",
		`SELECT DISTINCT split_part(unnest(setconfig), '=', 1) FROM pg_db_role_setting WHERE setrole = $1 ORDER BY 1`},
	{"role %[1]q has prepared transactions, which can be committed later: %[2]s",
		`SELECT format('%L in %I', gid, database) FROM pg_prepared_xacts JOIN pg_roles ON rolname = owner WHERE pg_roles.oid = $1 ORDER BY prepared`},
	{"role %[1]q owns subscriptions %[2]s: they go on writing with its rights",
		`SELECT quote_ident(subname) FROM pg_subscription WHERE subowner = $1 ORDER BY 1`},
	{"this server sends its changes to %[2]s: where that is a standby, end the sessions of role %[1]q there too",
		`SELECT DISTINCT coalesce(nullif(application_name, ''), 'process ' || pid) FROM pg_stat_replication WHERE usesysid IS DISTINCT FROM $1 ORDER BY 1`},
	{"what role %[1]q owns in other databases than %[3]q was not looked at: %[2]s",
		`SELECT quote_ident(datname) || ' (' || count(*) || ')' FROM pg_shdepend d JOIN pg_database b ON b.oid = d.dbid WHERE refclassid = 'pg_authid'::regclass
			AND refobjid = $1 AND deptype = 'o' AND datname <> current_database() GROUP BY datname ORDER BY 1`},
}

// here are the remains in the connected database.
var here = []remain{
	{"in database %[3]q role %[1]q owns SECURITY DEFINER functions: whoever may call one can act as the role, and change its password again: %[2]s",
		`SELECT oid::regprocedure::text FROM pg_proc WHERE proowner = $1 AND prosecdef ORDER BY 1`},
	{"in database %[3]q these triggers on tables or with code of role %[1]q run as whoever writes there, the role itself included: %[2]s",
		`SELECT format('%I on %s', tgname, tgrelid::regclass) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid JOIN pg_proc p ON p.oid = tgfoid
			WHERE NOT tgisinternal AND (relowner = $1 OR proowner = $1) ORDER BY 1`},
	{"in database %[3]q these event triggers of role %[1]q run as whoever changes the schema: %[2]s",
		`SELECT quote_ident(evtname) FROM pg_event_trigger e JOIN pg_proc p ON p.oid = evtfoid WHERE evtowner = $1 OR proowner = $1 ORDER BY 1`},
	{"in database %[3]q rules on what role %[1]q owns rewrite the statements of others: %[2]s",
		`SELECT format('%I on %s', rulename, ev_class::regclass) FROM pg_rewrite JOIN pg_class c ON c.oid = ev_class WHERE relowner = $1 AND rulename <> '_RETURN' ORDER BY 1`},
	{"in database %[3]q role %[1]q owns %[2]s: code in them runs for others, read it before you trust it",
		`SELECT format('%s (%s)', CASE kind WHEN 'f' THEN 'functions' WHEN 'v' THEN 'views' ELSE 'tables' END, n) FROM (
			SELECT CASE WHEN relkind IN ('v', 'm') THEN 'v' ELSE 't' END AS kind, count(*) AS n FROM pg_class
			WHERE relowner = $1 AND relkind IN ('r', 'p', 'f', 'v', 'm') GROUP BY 1
			UNION ALL SELECT 'f', count(*) FROM pg_proc WHERE proowner = $1 HAVING count(*) > 0) AS owned ORDER BY kind = 'f', kind`},
	{"in database %[3]q role %[1]q owns publications %[2]s: whoever subscribed to them may go on reading",
		`SELECT quote_ident(pubname) FROM pg_publication WHERE pubowner = $1 ORDER BY 1`},
	{"in database %[3]q the passwords that role %[1]q uses on foreign servers may be known too, change them there: %[2]s",
		`SELECT quote_ident(srvname) FROM pg_user_mappings WHERE umuser IN (0, $1) AND (umoptions IS NULL OR EXISTS (SELECT FROM unnest(umoptions) o WHERE o LIKE 'password=%'))
			ORDER BY 1`},
	{"in database %[3]q role %[1]q has given rights on its tables and schemas, which stay, to %[2]s",
		`SELECT DISTINCT CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END FROM (SELECT relowner AS owner, relacl AS acl FROM pg_class
			UNION ALL SELECT nspowner, nspacl FROM pg_namespace) AS owned, aclexplode(acl) WHERE owner = $1 AND grantee <> $1 ORDER BY 1`},
	{"in database %[3]q default privileges of role %[1]q give others rights in what it makes from now on: %[2]s",
		`SELECT DISTINCT CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END FROM pg_default_acl, aclexplode(defaclacl)
			WHERE defaclrole = $1 AND grantee <> $1 ORDER BY 1`},
}

// remains says what a new password of r does not take away. What may not be
// looked at is said too, and is no reason to leave the password as it is.
func (s *session) remains(ctx context.Context, r role) (sentences []string, err error) {
	jobs, err := s.jobs(ctx)
	if err != nil {
		return nil, err
	}
	for _, kind := range slices.Concat(everywhere, here, jobs) {
		names, err := list(ctx, s, pgx.RowTo[string], kind.names, r.oid)
		switch {
		case serverError(err) != nil && !s.isLost():
			names = []string{fmt.Sprintf("not known, it may not be looked at (SQLSTATE %s)", serverError(err).Code)}
		case err != nil:
			return sentences, s.failed(fmt.Sprintf("look at what role %q has", r.name), err)
		}
		if len(names) > 0 {
			sentences = append(sentences, fmt.Sprintf(kind.sentence, r.name, enumerate(names), s.database))
		}
	}
	return sentences, nil
}

// jobs are those of pg_cron, where the connected database has it. Its policy
// shows a role only its own, see https://github.com/citusdata/pg_cron.
func (s *session) jobs(ctx context.Context) ([]remain, error) {
	own, err := list(ctx, s, pgx.RowTo[bool], `SELECT row_security_active(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE nspname = 'cron' AND relname = 'job'`)
	if err != nil {
		return nil, s.failed("look for pg_cron", err)
	}
	if len(own) == 0 {
		return nil, nil
	}
	planned := remain{"in database %[3]q pg_cron runs jobs as role %[1]q: %[2]s",
		"SELECT coalesce(jobname, 'job ' || jobid) FROM cron.job JOIN pg_roles ON rolname = username WHERE pg_roles.oid = $1 ORDER BY jobid"}
	if own[0] {
		planned.names = "SELECT 'not known, a superuser sees them in cron.job' WHERE $1 > 0"
	}
	return []remain{planned}, nil
}

// enumerate joins the first of the names.
func enumerate(names []string) string {
	shown := names[:min(len(names), namesShown)]
	text := strings.Join(shown, ", ")
	if more := len(names) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
