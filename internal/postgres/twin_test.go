package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// twin names the twin of the fixture's role, which goes after the test.
func (f *fixture) twin() string {
	name := f.app.User + "_alt"
	f.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), f.url.String())
		if err != nil {
			f.Error(err)
			return
		}
		defer conn.Close(context.Background())
		var exists bool
		if err := conn.QueryRow(context.Background(), "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name).Scan(&exists); err != nil || !exists {
			return
		}
		if _, err := conn.Exec(context.Background(), "DROP OWNED BY "+quote(name)+"; DROP ROLE "+quote(name), pgx.QueryExecModeSimpleProtocol); err != nil {
			f.Error(err)
		}
	})
	return name
}

// enabled makes the twin and lets it log in.
func (f *fixture) enabled(d *Database) secret.Credential {
	f.Helper()
	next := f.fresh()
	next.User = f.twin()
	if err := d.Create(f.Context(), f.app.User, next.User); err != nil {
		f.Fatal(err)
	}
	if _, err := d.Enable(f.Context(), next); err != nil {
		f.Fatal(err)
	}
	return next
}

// TestTwinOpensNoDataToTheAdministrator, whatever createrole_self_grant, which
// came with PostgreSQL 16, gives to who makes a role. Before, there is no such
// membership.
func TestTwinOpensNoDataToTheAdministrator(t *testing.T) {
	f := newFixture(t)
	if f.major() >= 16 {
		f.exec("ALTER ROLE " + quote(f.admin.User) + " SET createrole_self_grant = 'set, inherit'")
	}
	twin := f.enabled(f.locked(f.admin))
	for _, role := range []string{f.app.User, twin.User} {
		var may bool
		err := f.super.QueryRow(t.Context(), "SELECT pg_has_role($1, $2, 'USAGE') OR pg_has_role($1, $2, $3)",
			f.admin.User, role, becoming(f.major())).Scan(&may)
		if err != nil || may {
			t.Errorf("%q may act as %q: %v, %v", f.admin.User, role, may, err)
		}
	}
}

func TestTwinWorksAsItsBaseDoes(t *testing.T) {
	f := newFixture(t)
	app, database := quote(f.app.User), f.super.Config().Database
	f.exec("CREATE SCHEMA " + app + " AUTHORIZATION " + app)
	f.exec("ALTER ROLE " + app + ` CONNECTION LIMIT 7 VALID UNTIL '2100-01-01'`)
	f.exec("ALTER ROLE " + app + ` SET search_path = "$user", 'A "b', public`)
	f.exec("ALTER ROLE " + app + ` SET statement_timeout = '77s'`)
	f.exec("ALTER ROLE " + app + ` SET application_name = 'it''s a \ = b'`)
	f.exec("ALTER ROLE " + app + " IN DATABASE " + quote(database) + " SET lock_timeout = '33s'")
	next := f.enabled(f.locked(f.admin))
	of := func(c secret.Credential) (found []string) {
		conn := f.session(c)
		for _, show := range []string{"current_user", "current_schemas(true)::text", "current_setting('search_path')", "current_setting('statement_timeout')",
			"current_setting('lock_timeout')", "current_setting('application_name')"} {
			var text string
			if err := conn.QueryRow(t.Context(), "SELECT "+show).Scan(&text); err != nil {
				t.Fatalf("%s: %v", show, err)
			}
			found = append(found, text)
		}
		return found
	}
	if diff := cmp.Diff(of(f.app), of(next)); diff != "" {
		t.Errorf("the twin's sessions differ (-base +twin):\n%s", diff)
	}
	pooled := f.session(next, "CREATE TABLE "+app+".made (n int)", "DISCARD ALL", "ALTER TABLE "+app+".made ADD m int")
	var user string
	if err := pooled.QueryRow(t.Context(), "SELECT current_user").Scan(&user); err != nil || user != f.app.User {
		t.Errorf("after DISCARD ALL the twin works as %q: %v", user, err)
	}
	if _, err := f.session(f.app).Exec(t.Context(), "DROP TABLE "+app+".made"); err != nil {
		t.Errorf("what the twin made is not the base's: %v", err)
	}
	var limit int
	var until string
	err := f.super.QueryRow(t.Context(), "SELECT rolconnlimit, rolvaliduntil::date::text FROM pg_roles WHERE rolname = $1", next.User).Scan(&limit, &until)
	if err != nil || limit != 7 || until != "2100-01-01" {
		t.Errorf("connection limit %d, valid until %s: %v", limit, until, err)
	}
}

// TestServiceNoticesNoTwin has a service do its work as the base and then as the
// twin, in a schema that it finds by its search_path, with rows that a policy
// hides and rights that others get on what it makes.
func TestServiceNoticesNoTwin(t *testing.T) {
	f := newFixture(t)
	app, reader := quote(f.app.User), f.newRole("reader", "NOLOGIN")
	f.exec("CREATE SCHEMA " + app + " AUTHORIZATION " + app)
	f.exec("ALTER DEFAULT PRIVILEGES FOR ROLE " + app + " IN SCHEMA " + app + " GRANT SELECT ON TABLES TO " + quote(reader.User))
	f.exec("ALTER ROLE " + app + ` SET statement_timeout = '77s'`)
	f.session(f.app, "CREATE TABLE notes (owner name, body text)", "INSERT INTO notes VALUES (current_user, 'mine'), ('other', 'hidden')",
		"ALTER TABLE notes ENABLE ROW LEVEL SECURITY", "ALTER TABLE notes FORCE ROW LEVEL SECURITY", "CREATE POLICY own ON notes USING (owner = current_user)")
	next := f.enabled(f.locked(f.admin))
	work := func(c secret.Credential) (seen []string) {
		conn := f.session(c)
		for _, sql := range []string{
			"SELECT current_schema() || current_setting('statement_timeout')",
			"SELECT string_agg(body, ' ' ORDER BY body) FROM notes",
			"INSERT INTO notes VALUES ('other', 'forged') RETURNING body",
			"INSERT INTO notes VALUES (current_user, 'more') RETURNING body",
			"WITH gone AS (DELETE FROM notes WHERE body <> 'mine' RETURNING body) SELECT string_agg(body, ' ') FROM gone",
			"CREATE TABLE made (n int)",
			"SELECT tableowner FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'made'",
			"SELECT has_table_privilege('" + reader.User + "', 'made', 'SELECT')::text",
			"ALTER TABLE notes ADD more int", "ALTER TABLE notes DROP more", "DROP TABLE made",
		} {
			var answer string
			err := conn.QueryRow(t.Context(), sql).Scan(&answer)
			if p := serverError(err); p != nil {
				answer = p.Code
			} else if err != nil && !errors.Is(err, pgx.ErrNoRows) {
				t.Fatalf("%s: %v", sql, err)
			}
			seen = append(seen, sql+": "+answer)
		}
		return seen
	}
	before, after := work(f.app), work(next)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the service notices (-base +twin):\n%s", diff)
	}
	if diff := cmp.Diff(before, work(f.app)); diff != "" {
		t.Errorf("the base has suffered (-before +after):\n%s", diff)
	}
	for i, want := range map[int]string{1: ": mine", 2: ": " + codeNoPrivilege, 4: ": more", 6: ": " + f.app.User, 7: ": true"} {
		if !strings.HasSuffix(before[i], want) {
			t.Errorf("%s, want %q: this test shows nothing", before[i], want)
		}
	}
}

func TestPlanTwinTellsTheStatementsWhereItMayNot(t *testing.T) {
	f := newFixture(t)
	twin, admin := f.twin(), f.newRole("clerk", "LOGIN")
	change, _, err := f.open(admin).PlanTwin(t.Context(), f.app.User, twin, twin)
	hint := hintsOf(err)
	if e, ok := err.(interface{ Unwrap() []error }); ok && hint == "" {
		hint = hintsOf(e.Unwrap()[0])
	}
	want := "CREATE ROLE " + quote(twin) + " NOLOGIN IN ROLE " + quote(f.app.User) + "; ALTER ROLE " + quote(twin) + " SET role = '" + f.app.User + "'"
	if change != "" || classOf(err) != "refused" || !strings.Contains(hint, want) || strings.Contains(hint, "PASSWORD") {
		t.Errorf("%q, %v (class %q), hint %q", change, err, classOf(err), hint)
	}
}

func TestPlanTwinFindings(t *testing.T) {
	f := newFixture(t)
	stranger, twin := f.newRole("stranger", "LOGIN"), f.twin()
	d := f.open(f.superuser())
	for _, c := range []struct {
		name, base, twin, target string
		before                   string
		text, hint               string
	}{
		{"no member", f.app.User, stranger.User, stranger.User, "", "no member", "GRANT " + quote(f.app.User) + " TO " + quote(stranger.User)},
		{"not acting as it", f.app.User, stranger.User, f.app.User, "GRANT " + quote(f.app.User) + " TO " + quote(stranger.User), "would belong", "SET role = '" + f.app.User},
		{"a missing twin that is served", f.app.User, twin, f.app.User, "", "does not exist", "postgres-alternate-role"},
		{"the administrator", f.superuser().User, twin, twin, "", "bootstrap superuser", "rotator"},
		{"a name too long", f.app.User, strings.Repeat("x", 64), f.app.User, "", "64 bytes", ""},
	} {
		if c.before != "" {
			f.exec(c.before)
		}
		_, _, err := d.PlanTwin(t.Context(), c.base, c.twin, c.target)
		if err == nil || !strings.Contains(err.Error(), c.text) || !strings.Contains(hintsOf(err), c.hint) {
			t.Errorf("%s: %v, hint %q", c.name, err, hintsOf(err))
		}
	}
}

func TestPlanTwinWarnsOfDifferences(t *testing.T) {
	f := newFixture(t)
	d := f.locked(f.superuser())
	next := f.enabled(d)
	app := quote(f.app.User)
	if _, warnings, err := d.PlanTwin(t.Context(), f.app.User, next.User, next.User); err != nil || len(warnings) > 0 {
		t.Fatalf("a pair without differences: %q, %v", warnings, err)
	}
	f.exec("ALTER ROLE " + app + " SET statement_timeout = '5s'; ALTER ROLE " + app + " CONNECTION LIMIT 3")
	f.exec("CREATE SCHEMA " + app + " AUTHORIZATION " + app + "; CREATE TABLE " + app + ".rows (owner text); ALTER TABLE " + app + ".rows OWNER TO " + app)
	f.exec("CREATE POLICY mine ON " + app + ".rows USING (owner = session_user); CREATE POLICY ours ON " + app + ".rows USING (owner = current_user)")
	f.exec("GRANT SELECT ON " + app + ".rows TO " + quote(next.User))
	_, warnings, err := d.PlanTwin(t.Context(), f.app.User, next.User, next.User)
	text := strings.Join(warnings, "\n")
	for _, word := range []string{"in database \"" + f.super.Config().Database + "\" these", "differ in statement_timeout, CONNECTION LIMIT", "rights of its own", "session_user", "mine on " + f.app.User, "current_user", "ours on "} {
		if err != nil || !strings.Contains(text, word) {
			t.Errorf("nothing warns of %q: %v\n%s", word, err, text)
		}
	}
}

// TestPlanTwinNamesTheDatabasesThatItDoesNotSee: policies are in the catalogs of
// their own database.
func TestPlanTwinNamesTheDatabasesThatItDoesNotSee(t *testing.T) {
	f := newFixture(t)
	owner, twin, d := f.newRole("owner", "NOLOGIN"), f.twin(), f.locked(f.admin)
	f.exec("GRANT " + quote(owner.User) + " TO " + quote(f.app.User))
	warned := func() string {
		_, warnings, err := d.PlanTwin(t.Context(), f.app.User, twin, twin)
		if err != nil {
			t.Error(err)
		}
		return strings.Join(warnings, "\n")
	}
	for name, give := range map[string]func(database string){
		"an object":             func(there string) { f.in(there).exec("CREATE SCHEMA mine AUTHORIZATION " + quote(f.app.User)) },
		"a right":               func(there string) { f.in(there).exec("GRANT USAGE ON SCHEMA public TO " + quote(f.app.User)) },
		"what it inherits":      func(there string) { f.in(there).exec("CREATE SCHEMA theirs AUTHORIZATION " + quote(owner.User)) },
		"a right to connect":    func(there string) { f.exec("GRANT CONNECT ON DATABASE " + there + " TO " + quote(f.app.User)) },
		"the whole of database": func(there string) { f.exec("ALTER DATABASE " + there + " OWNER TO " + quote(f.app.User)) },
	} {
		there := f.newDatabase()
		if text := warned(); strings.Contains(text, there) {
			t.Errorf("before it has %s: %s", name, text)
		}
		give(there)
		if text := warned(); !strings.Contains(text, there) || !strings.Contains(text, "looked at in database \""+f.super.Config().Database+"\" alone") {
			t.Errorf("it has %s in %s: %s", name, there, text)
		}
	}
}

// TestTwinsOfAnyName rotates to the twin and back.
func TestTwinsOfAnyName(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]string{
		"Quotes": `Ann "the" O'Neil's`, "UpperCase": "Billing Service", "SQL": `a.b;--$1 %s\`, "Longest": strings.Repeat("x", 32), "LongestInBytes": strings.Repeat("é", 16),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.app = f.newRole(kind, "LOGIN")
			if f.major() >= 16 {
				f.exec("GRANT " + quote(f.app.User) + " TO " + quote(f.admin.User) + " WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
			}
			d, twin := f.locked(f.admin), f.twin()
			if strings.HasPrefix(name, "Longest") && len(twin) != longestName {
				t.Fatalf("the twin's name has %d bytes, this test shows nothing", len(twin))
			}
			there := f.rotates(d, f.app, twin)
			if member, err := d.Member(t.Context(), twin, f.app.User); !member || err != nil {
				t.Errorf("member %v: %v", member, err)
			}
			f.rotates(d, f.rotates(d, there, f.app.User), twin)
		})
	}
}

// rotates serves another role instead of former and retires that.
func (f *fixture) rotates(d *Database, former secret.Credential, user string) (next secret.Credential) {
	f.Helper()
	next = f.fresh()
	next.User = user
	if _, _, err := d.PlanTwin(f.Context(), f.app.User, f.app.User+"_alt", user); err != nil {
		f.Fatal(err)
	}
	if err := d.Create(f.Context(), f.app.User, f.app.User+"_alt"); err != nil {
		f.Fatal(err)
	}
	if _, err := d.Enable(f.Context(), next); err != nil {
		f.Fatal(err)
	}
	if verdict, err := d.Holds(f.Context(), next); verdict != secret.Yes || err != nil {
		f.Errorf("the new password of %q: %v, %v", user, verdict, err)
	}
	if got := f.worksAs(next); got != f.app.User {
		f.Errorf("%q works as %q", user, got)
	}
	if n, err := d.Sessions(f.Context(), user); n == 0 || err != nil {
		f.Errorf("%q has %d sessions: %v", user, n, err)
	}
	if err := d.Retire(f.Context(), former.User, user); err != nil {
		f.Fatal(err)
	}
	if f.opensDoor(former) {
		f.Errorf("%q opens the door with what it had", former.User)
	}
	if !f.opensDoor(next) {
		f.Errorf("%q does not open the door", user)
	}
	return next
}

func TestRetireRefusesTheAdministrator(t *testing.T) {
	f := newFixture(t)
	d := f.locked(f.admin)
	for name, do := range map[string]error{"retire": d.Retire(t.Context(), f.admin.User, f.app.User), "revoke": d.Revoke(t.Context(), f.admin.User, f.app.User)} {
		if classOf(do) != "refused" {
			t.Errorf("%s: %v", name, do)
		}
	}
}

// TestRevokeOfARoleThatHoldsItselfUp: a session that changes its own role keeps
// others from changing it.
func TestRevokeOfARoleThatHoldsItselfUp(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	d, twin := f.locked(f.admin), f.app.User+"_alt"
	if err := d.Create(t.Context(), f.app.User, twin); err != nil {
		t.Fatal(err)
	}
	f.session(f.app, "BEGIN", "ALTER ROLE "+quote(f.app.User)+" SET work_mem = '5MB'")
	if err := d.Revoke(t.Context(), f.app.User, twin); err != nil {
		t.Fatal(err)
	}
	if f.opensDoor(f.app) || f.stored(f.app.User) != "" {
		t.Error("the role is not closed")
	}
}

func TestValuesOfSettings(t *testing.T) {
	for value, want := range map[string]string{
		`"$user", public`:         `'$user', 'public'`,
		`Public,  "A ""b", "c,d"`: `'public', 'A "b', 'c,d'`,
		`""`:                      `''`,
		`a;b`:                     `'a;b'`,
		`x\y`:                     `E'x\\y'`,
		`it's`:                    `'it''s'`,
	} {
		if got, err := (setting{Name: "search_path", Value: value}).values(); got != want || err != nil {
			t.Errorf("%s becomes %s, want %s: %v", value, got, want, err)
		}
	}
	for _, value := range []string{`"open`, `a b`, `"a"b`, `,`, ``} {
		if got, err := (setting{Name: "Search_Path", Value: value}).values(); err == nil {
			t.Errorf("%q becomes %s", value, got)
		}
	}
	if got, err := (setting{Name: "work_mem", Value: `a, b'\`}).values(); got != `E'a, b''\\'` || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got := (setting{Database: `d"b`, Name: "my.Setting"}); got.name() != `"my"."Setting"` || got.place() != ` IN DATABASE "d""b"` {
		t.Errorf("%s%s", got.name(), got.place())
	}
}
