package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestPlanLockout(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	conn, name := f.session(f.app), quote(f.app.User)
	for _, before := range []string{
		"SELECT 1",
		"ALTER ROLE " + name + " NOLOGIN",
		"ALTER ROLE " + name + " LOGIN PASSWORD NULL",
		"ALTER ROLE " + name + " PASSWORD 'not the served one'",
	} {
		f.exec(before)
		version := f.version()
		for _, admin := range []secret.Credential{f.admin, f.superuser()} {
			for _, d := range []*Database{f.open(admin), f.locked(admin)} {
				change, warnings, err := d.PlanLockout(t.Context(), f.app.User, f.app.User)
				want := fmt.Sprintf("new SCRAM-SHA-256 verifier (4096 iterations) for role %q, NOLOGIN until all its sessions are ended", f.app.User)
				if change != want || err != nil || len(warnings) > 0 || d.controlled[f.app.User].method != methodSCRAM {
					t.Errorf("as %s, after %.30s: %q, %q, %v", admin.User, before, change, warnings, err)
				}
				d.Release()
			}
		}
		if f.version() != version || !f.alive(conn) {
			t.Errorf("after %.30s: the role was changed, or a session ended", before)
		}
	}
}

// version changes with every change of the role.
func (f *fixture) version() (xmin string) {
	f.Helper()
	if err := f.super.QueryRow(f.Context(), "SELECT xmin::text FROM pg_authid WHERE rolname = $1", f.app.User).Scan(&xmin); err != nil {
		f.Fatal(err)
	}
	return xmin
}

// TestPlanLockoutOfAClosedRole: a wrong password gets another answer than the
// right one, so the oracle goes on in the middle of an emergency.
func TestPlanLockoutOfAClosedRole(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	f.exec("ALTER ROLE " + quote(f.app.User) + " NOLOGIN")
	from, d := f.logEnd(), f.open(f.admin)
	for range 2 {
		if _, _, err := d.PlanLockout(t.Context(), f.app.User, f.app.User); err != nil {
			t.Error(err)
		}
	}
	if n := strings.Count(f.logged(from), "password authentication failed for user \""+f.app.User); n != 1 {
		t.Errorf("%d logins failed, want 1", n)
	}
	wrong := f.fresh()
	wrong.Verifier = secret.Value{}
	for want, c := range map[secret.Verdict]secret.Credential{secret.No: wrong, secret.Closed: f.app} {
		if got, err := d.Holds(t.Context(), c); got != want || err != nil {
			t.Errorf("%v, %v, want %v", got, err, want)
		}
	}
}

func TestPlanLockoutFindings(t *testing.T) {
	f := newFixture(t)
	plain, super := f.newRole("plain", "LOGIN"), f.newRole("super", "LOGIN SUPERUSER")
	name := quote(f.app.User)
	for _, c := range []struct {
		name, before    string
		admin           secret.Credential
		role            string
		findings, hints []string
	}{
		{name: "no role", admin: f.admin, role: "none_" + f.app.User, findings: []string{"it does not exist"}},
		{name: "its own", admin: f.admin, role: f.admin.User, findings: []string{"the role of `postgres-url` itself"}},
		{name: "may not end sessions", admin: f.admin, role: f.app.User, findings: []string{fmt.Sprintf("end the sessions of role %q: role %q may not", f.app.User, f.admin.User)},
			hints: []string{"GRANT pg_signal_backend TO " + quote(f.admin.User)}},
		{name: "a member without INHERIT", before: "GRANT pg_signal_backend TO " + quote(f.admin.User), admin: f.admin, role: f.app.User,
			findings: []string{"may not"}, hints: []string{"INHERIT"}},
		{name: "no right at all", admin: plain, role: f.app.User, findings: []string{"SQLSTATE 42501", "may not"},
			hints: []string{"CREATEROLE", "GRANT pg_signal_backend TO " + quote(plain.User)}},
		{name: "a superuser's", admin: f.admin, role: super.User, findings: []string{"SQLSTATE 42501", "it is a superuser, and role"}, hints: []string{"another superuser"}},
		{name: "over", before: "ALTER ROLE " + name + " NOLOGIN VALID UNTIL '2001-01-01'", admin: f.superuser(), role: f.app.User,
			findings: []string{"VALID UNTIL ended at 2001-01-01"}, hints: []string{"VALID UNTIL 'infinity'"}},
	} {
		if c.before != "" {
			f.exec(c.before)
		}
		change, _, err := f.open(c.admin).PlanLockout(t.Context(), c.role, c.role)
		if err == nil || change != "" || strings.Contains(err.Error(), "NOLOGIN, no password opens") {
			t.Errorf("%s: %q, %v", c.name, change, err)
			continue
		}
		contains(t, c.name, err.Error(), c.findings)
		contains(t, c.name, hintsOf(err), c.hints)
	}
}

// TestPlanLockoutWhileTheRoleIsHeld: what Close will deal with stops no emergency
// before it begins.
func TestPlanLockoutWhileTheRoleIsHeld(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	d := f.locked(f.admin)
	f.session(f.app, "BEGIN", alterRole(f.app.User, asItIs, f.fresh().Verifier))
	if err := d.held.exec(t.Context(), "SET lock_timeout = '20ms'"); err != nil {
		t.Fatal(err)
	}
	_, warnings, err := d.PlanLockout(t.Context(), f.app.User, f.app.User)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "is changing role") {
		t.Errorf("%q, %v", warnings, err)
	}
}

// TestPlanLockoutNamesWhatRemains plants one of each, and looks with few rights.
func TestPlanLockoutNamesWhatRemains(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	team, friend, adopted := f.newRole("team", "NOLOGIN"), f.newRole("friend", "LOGIN"), f.newRole("adopted", "NOLOGIN")
	app, database := quote(f.app.User), f.newDatabase()
	f.exec("ALTER ROLE " + app + " CREATEROLE BYPASSRLS; ALTER ROLE " + app + " SET search_path = evil")
	f.exec("GRANT pg_write_all_data TO " + quote(team.User) + "; GRANT " + quote(team.User) + " TO " + app)
	f.exec("GRANT " + app + " TO " + quote(friend.User) + "; GRANT " + quote(adopted.User) + " TO " + app + " WITH ADMIN OPTION")
	f.exec("SET ROLE " + app + "; GRANT " + quote(adopted.User) + " TO " + quote(friend.User) + "; RESET ROLE")
	there := f.in(database)
	for _, statement := range []string{
		"ALTER DATABASE " + database + " OWNER TO " + app,
		"CREATE EXTENSION postgres_fdw", "CREATE SERVER warehouse FOREIGN DATA WRAPPER postgres_fdw",
		"CREATE USER MAPPING FOR " + app + " SERVER warehouse OPTIONS (user 'u', password 'hunter2')",
		"CREATE SCHEMA s AUTHORIZATION " + app, "SET search_path = s", "SET ROLE " + app,
		"CREATE TABLE orders (id int)", "CREATE TABLE lines (id int)", "CREATE VIEW shown AS SELECT * FROM orders",
		"CREATE FUNCTION way_in() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
		"CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
		"CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
		"CREATE TRIGGER copy AFTER INSERT ON orders FOR EACH STATEMENT EXECUTE FUNCTION spy()",
		"CREATE RULE twist AS ON DELETE TO orders DO INSTEAD NOTHING",
		"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", "CREATE PUBLICATION leak FOR TABLE orders", "GRANT SELECT ON orders TO " + quote(friend.User),
		"RESET ROLE", "CREATE EVENT TRIGGER alarm ON ddl_command_end EXECUTE FUNCTION watch()",
		"CREATE SCHEMA cron", "CREATE TABLE cron.job (jobid bigint, jobname text, username text)", "GRANT USAGE ON SCHEMA cron TO PUBLIC",
		"GRANT SELECT ON cron.job TO PUBLIC", "INSERT INTO cron.job VALUES (1, 'nightly', '" + f.app.User + "'), (2, 'backup', 'postgres')",
	} {
		if _, err := there.super.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	_, warnings, err := there.open(f.admin).PlanLockout(t.Context(), f.app.User, f.app.User)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(warnings, "\n")
	contains(t, "warnings", text, []string{
		"is CREATEROLE, BYPASSRLS", "is a member of pg_write_all_data (writes every table), ", team.User,
		"that each is yours: " + friend.User, "ADMIN OPTION on " + adopted.User, adopted.User + " to " + friend.User, "owns databases " + database,
		"planted code: search_path", "SECURITY DEFINER functions", "s.way_in()", "copy on s.orders", "event triggers", "alarm", "twist on s.orders",
		"owns tables (2), views (1), functions (3)", "publications leak", "foreign servers", "warehouse", "which stay, to " + friend.User, "from now on: PUBLIC", "pg_cron runs jobs", "nightly",
	})
	if strings.Contains(text, "hunter2") || strings.Contains(text, "backup") {
		t.Error("the warnings say too much")
	}
	_, warnings, err = f.open(f.admin).PlanLockout(t.Context(), f.app.User, f.app.User)
	if text := strings.Join(warnings, "\n"); err != nil || !strings.Contains(text, "was not looked at: "+database) || strings.Contains(text, "way_in") {
		t.Errorf("from another database: %q, %v", text, err)
	}
	f.keepsJobsToTheirOwners(there)
}

// keepsJobsToTheirOwners: pg_cron has a policy, behind which no job is to be seen.
func (f *fixture) keepsJobsToTheirOwners(there *fixture) {
	there.exec("ALTER TABLE cron.job ENABLE ROW LEVEL SECURITY")
	_, warnings, err := there.open(f.admin).PlanLockout(f.Context(), f.app.User, f.app.User)
	if text := strings.Join(warnings, "\n"); err != nil || !strings.Contains(text, "not known, a superuser sees them in cron.job") {
		f.Errorf("%q, %v", text, err)
	}
	there.exec("REVOKE ALL ON cron.job FROM PUBLIC")
	there.exec("ALTER TABLE cron.job DISABLE ROW LEVEL SECURITY")
	_, warnings, err = there.open(f.admin).PlanLockout(f.Context(), f.app.User, f.app.User)
	if text := strings.Join(warnings, "\n"); err != nil || !strings.Contains(text, "not known, it may not be looked at (SQLSTATE 42501)") {
		f.Errorf("%q, %v", text, err)
	}
}

// in is the same server, seen from another database.
func (f *fixture) in(database string) *fixture {
	f.Helper()
	there, place := *f, *f.url
	place.Path = "/" + database
	there.url = &place
	conn, err := pgx.Connect(f.Context(), place.String())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = conn.Close(f.Context()) })
	there.super = conn
	return &there
}

// TestPlanLockoutOfAPowerfulRole takes a superuser.
func TestPlanLockoutOfAPowerfulRole(t *testing.T) {
	f := newFixture(t)
	f.exec("ALTER ROLE " + quote(f.app.User) + " SUPERUSER REPLICATION")
	_, warnings, err := f.open(f.superuser()).PlanLockout(t.Context(), f.app.User, f.app.User)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "is SUPERUSER, REPLICATION") {
		t.Errorf("%q, %v", warnings, err)
	}
}

func TestEnumerate(t *testing.T) {
	names := strings.Split("abcdefghij", "")
	if got := enumerate(names[:8]); got != "a, b, c, d, e, f, g, h" {
		t.Errorf("%q", got)
	}
	if got := enumerate(names); got != "a, b, c, d, e, f, g, h and 2 more" {
		t.Errorf("%q", got)
	}
}
