package postgres

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestActingOf(t *testing.T) {
	everywhere, here := acted{Own: true, As: "own", Possible: true}, acted{Database: "d", Own: true, As: "own in d", Possible: true}
	all, database := acted{As: "all", Possible: true}, acted{Database: "d", As: "d", Possible: true}
	denied := here
	denied.Possible = false
	itself := here
	itself.As = ""
	for name, c := range map[string]struct {
		said []acted
		want acting
	}{
		"nothing":                       {nil, acting{"": "app"}},
		"of the role":                   {[]acted{everywhere}, acting{"": "own"}},
		"of the role in a database":     {[]acted{here}, acting{"": "app", "d": "own in d"}},
		"of a database":                 {[]acted{database}, acting{"": "app", "d": "d"}},
		"the role before the database":  {[]acted{database, everywhere}, acting{"": "own", "d": "own"}},
		"the database before all":       {[]acted{all, database}, acting{"": "all", "d": "d"}},
		"the most specific of four":     {[]acted{all, database, everywhere, here}, acting{"": "own", "d": "own in d"}},
		"what is denied does not count": {[]acted{everywhere, denied}, acting{"": "own", "d": "own"}},
		"none is the role itself":       {[]acted{everywhere, itself}, acting{"": "own", "d": "app"}},
	} {
		if diff := cmp.Diff(c.want, actingOf("app", c.said)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestStatementsOfActing(t *testing.T) {
	base, twin := acting{"": "app", "a": "owner", "b": "app"}, acting{"": "app_alt", "c": "app_alt", "b": "app"}
	want := []string{`ALTER ROLE "app_alt" SET role = 'app'`, `ALTER ROLE "app_alt" IN DATABASE "a" SET role = 'owner'`, `ALTER ROLE "app_alt" IN DATABASE "c" SET role = 'app'`}
	if diff := cmp.Diff(want, base.statements("app_alt", twin)); diff != "" {
		t.Errorf("to mend the twin (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[:2], base.statements("app_alt", base)); diff != "" {
		t.Errorf("to make the twin (-want +got):\n%s", diff)
	}
	want = []string{`"app_alt", not "app"`, `"app_alt", not "owner", in database "a"`, `"app_alt", not "app", in database "c"`}
	if diff := cmp.Diff(want, base.unlike(twin)); diff != "" {
		t.Errorf("what is unlike (-want +got):\n%s", diff)
	}
}

// TestMembershipByVersion holds to what only some servers have: the options of a
// membership came with PostgreSQL 16.
func TestMembershipByVersion(t *testing.T) {
	for _, c := range []struct {
		major               int
		option, sql, become string
	}{
		{15, "SET", `GRANT "a", "b" TO "t""w";`, "MEMBER"},
		{15, "INHERIT", `ALTER ROLE "t""w" INHERIT;`, "MEMBER"},
		{16, "SET", `GRANT "a", "b" TO "t""w" WITH SET TRUE;`, "SET"},
		{18, "INHERIT", `GRANT "a", "b" TO "t""w" WITH INHERIT TRUE;`, "SET"},
	} {
		if got := membership(c.major, `"a", "b"`, `t"w`, c.option); got != c.sql {
			t.Errorf("PostgreSQL %d, %s: %s, want %s", c.major, c.option, got, c.sql)
		}
		if got := becoming(c.major); got != c.become {
			t.Errorf("PostgreSQL %d: SET ROLE takes %s, want %s", c.major, got, c.become)
		}
	}
}

// worksAs tells what a session of c works as, also after a pool has reset it.
func (f *fixture) worksAs(c secret.Credential) (role string) {
	f.Helper()
	conn := f.session(c)
	for _, reset := range []string{"SELECT 1", "DISCARD ALL", "RESET ALL", "RESET ROLE"} {
		var now string
		if _, err := conn.Exec(f.Context(), reset, pgx.QueryExecModeSimpleProtocol); err != nil {
			f.Fatalf("%s: %v", reset, err)
		}
		if err := conn.QueryRow(f.Context(), "SELECT current_user", pgx.QueryExecModeSimpleProtocol).Scan(&now); err != nil {
			f.Fatal(err)
		}
		if role != "" && now != role {
			f.Errorf("after %s a session of %q works as %q, before as %q", reset, c.User, now, role)
		}
		role = now
	}
	return role
}

// owned is a base that works as roles which its twin has to work as, too.
type owned struct {
	*fixture
	database string
	names    func(text string, form func(string) string) string
}

// newOwned executes set, in which it fills in names.
func newOwned(t *testing.T, database string, set ...string) owned {
	f := newFixture(t)
	owner, other := f.newRole("owner", "NOLOGIN"), f.newRole("other", "NOLOGIN")
	f.exec("ALTER DATABASE " + database + " RESET role; GRANT " + quote(owner.User) + " TO " + quote(f.app.User))
	o := owned{f, database, func(text string, form func(string) string) string {
		return strings.NewReplacer("$app", form(f.app.User), "$owner", form(owner.User), "$other", form(other.User), "$db", form(database)).Replace(text)
	}}
	for _, statement := range set {
		f.exec(o.names(statement, quote))
	}
	return o
}

// works demands what sessions of c work as elsewhere, and here in the database.
func (o owned) works(c secret.Credential, elsewhere, here string) {
	o.Helper()
	plain := func(name string) string { return name }
	if got, want := o.worksAs(c), o.names(elsewhere, plain); got != want {
		o.Errorf("a session of %q works as %q, want %q", c.User, got, want)
	}
	if got, want := o.in(o.database).worksAs(c), o.names(here, plain); got != want {
		o.Errorf("a session of %q works as %q in the database, want %q", c.User, got, want)
	}
}

// TestTwinWorksAsWhatItsBaseWorksAs: a base may have a SET role of its own, so
// that a migration's objects belong to an owner that does not log in.
func TestTwinWorksAsWhatItsBaseWorksAs(t *testing.T) {
	t.Parallel()
	database := newFixture(t).newDatabase()
	for name, c := range map[string]struct {
		set             []string // $app, $owner, $other and $db are filled in
		elsewhere, here string   // what sessions work as
	}{
		"Everywhere":              {[]string{"ALTER ROLE $app SET role = $owner"}, "$owner", "$owner"},
		"InOneDatabase":           {[]string{"ALTER ROLE $app IN DATABASE $db SET role = $owner"}, "$app", "$owner"},
		"OfTheDatabase":           {[]string{"ALTER DATABASE $db SET role = $owner"}, "$app", "$owner"},
		"NoneInOneDatabase":       {[]string{"ALTER ROLE $app SET role = $owner", "ALTER ROLE $app IN DATABASE $db SET role = none"}, "$owner", "$app"},
		"DeniedInOneDatabase":     {[]string{"ALTER ROLE $app SET role = $owner", "ALTER ROLE $app IN DATABASE $db SET role = $other"}, "$owner", "$owner"},
		"WithoutInheritance":      {[]string{"ALTER ROLE $app NOINHERIT", "ALTER ROLE $app SET role = $owner"}, "$owner", "$owner"},
		"ASuperuserWhoIsNoMember": {[]string{"ALTER ROLE $app SUPERUSER", "ALTER ROLE $app SET role = $other"}, "$other", "$other"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOwned(t, database, c.set...)
			o.works(o.app, c.elsewhere, c.here)
			administrator := o.admin
			if strings.Contains(c.set[0], "SUPERUSER") {
				administrator = o.superuser()
			}
			d := o.locked(administrator)
			next := o.enabled(d)
			o.works(next, c.elsewhere, c.here)
			if _, _, err := d.PlanTwin(t.Context(), o.app.User, next.User, next.User); err != nil {
				t.Errorf("the plan for a twin that was made: %v", err)
			}
			o.exec("ALTER ROLE " + quote(next.User) + " RESET ALL")
			o.exec("ALTER ROLE " + quote(next.User) + " IN DATABASE " + database + " SET role = none")
			o.mends(d, next, "would belong to")
			o.works(next, c.elsewhere, c.here)
		})
	}
}

// TestTwinThatMayNotBecomeWhatItsBaseDoes is of a twin that somebody else has made.
func TestTwinThatMayNotBecomeWhatItsBaseDoes(t *testing.T) {
	f := newFixture(t)
	other, d := f.newRole("other", "NOLOGIN"), f.locked(f.superuser())
	next := f.enabled(d)
	app, twin := quote(f.app.User), quote(next.User)
	f.exec("ALTER ROLE " + app + " SUPERUSER; ALTER ROLE " + app + " SET role = " + quote(other.User))
	f.exec("ALTER ROLE " + twin + " REPLICATION; ALTER ROLE " + twin + " SET role = " + quote(other.User))
	if got := f.worksAs(next); got != next.User {
		t.Fatalf("the twin works as %q, this test shows nothing", got)
	}
	f.mends(d, next, "may not SET ROLE to "+other.User)
	if got := f.worksAs(next); got != other.User {
		t.Errorf("the mended twin works as %q", got)
	}
	if f.major() < 16 {
		return
	}
	f.exec("ALTER ROLE " + app + " NOSUPERUSER; ALTER ROLE " + app + " RESET role; ALTER ROLE " + twin + " SET role = " + app)
	f.exec("GRANT " + app + " TO " + twin + " WITH SET FALSE, INHERIT TRUE")
	f.mends(d, next, "may not SET ROLE to "+f.app.User)
}

// mends demands that the plan refuses the twin with a finding, and that the SQL of
// its hint is all that is needed.
func (f *fixture) mends(d *Database, twin secret.Credential, finding string) {
	f.Helper()
	_, _, err := d.PlanTwin(f.Context(), f.app.User, twin.User, twin.User)
	if classOf(err) != "refused" || !strings.Contains(err.Error(), finding) {
		f.Fatalf("%v, want %q", err, finding)
	}
	hint := strings.TrimPrefix(hintsOf(err), "as a superuser: ")
	hint, _, _ = strings.Cut(hint, " or where ")
	f.exec(hint)
	if _, _, err := d.PlanTwin(f.Context(), f.app.User, twin.User, twin.User); err != nil {
		f.Errorf("after %s: %v", hint, err)
	}
}

// TestTwinGetsInWhereItsBaseDoes: CONNECT is asked of who logs in, and a twin has
// it by inheritance from its base.
func TestTwinGetsInWhereItsBaseDoes(t *testing.T) {
	f := newFixture(t)
	database, d := f.newDatabase(), f.locked(f.superuser())
	next := f.enabled(d)
	f.exec("REVOKE CONNECT ON DATABASE " + database + " FROM PUBLIC; GRANT CONNECT ON DATABASE " + database + " TO " + quote(f.app.User))
	there := f.in(database)
	there.session(next)
	if f.major() < 16 {
		f.exec("ALTER ROLE " + quote(next.User) + " NOINHERIT")
	} else {
		f.exec("GRANT " + quote(f.app.User) + " TO " + quote(next.User) + " WITH INHERIT FALSE")
	}
	if _, err := there.client(next); !hasCode(err, codeNoPrivilege) {
		t.Fatalf("a twin that inherits nothing: %v, this test shows nothing", err)
	}
	if got := f.worksAs(next); got != f.app.User {
		t.Errorf("where it gets in, it works as %q", got)
	}
	f.mends(d, next, "may not connect to database "+database)
	there.session(next)

	f.exec("REVOKE CONNECT ON DATABASE " + database + " FROM " + quote(f.app.User) + "; GRANT CONNECT ON DATABASE " + database + " TO " + quote(next.User))
	_, _, err := d.PlanTwin(t.Context(), f.app.User, next.User, f.app.User)
	if want := "GRANT CONNECT ON DATABASE " + database + " TO " + quote(f.app.User) + ";"; err == nil || hintsOf(err) != want {
		t.Errorf("a base that does not get in: %v, hint %q", err, hintsOf(err))
	}
}

// TestSuperusersTwinThatWouldNotGetIn: a superuser gets in everywhere, a member of
// it where its role was granted CONNECT, or a role that this is a member of.
func TestSuperusersTwinThatWouldNotGetIn(t *testing.T) {
	f := newFixture(t)
	database, d, twin := f.newDatabase(), f.open(f.superuser()), f.twin()
	group := f.newRole("group", "NOLOGIN")
	f.exec("ALTER ROLE " + quote(f.app.User) + " SUPERUSER; REVOKE CONNECT ON DATABASE " + database + " FROM PUBLIC")
	plan := func() error {
		_, _, err := d.PlanTwin(t.Context(), f.app.User, twin, twin)
		return err
	}
	want := "GRANT CONNECT ON DATABASE " + database + " TO " + quote(f.app.User) + ";"
	if err := plan(); err == nil || hintsOf(err) != want || !strings.Contains(err.Error(), "may not connect to database "+database) {
		t.Fatalf("a superuser alone: %v, hint %q", err, hintsOf(err))
	}
	f.exec("GRANT CONNECT ON DATABASE " + database + " TO " + quote(group.User) + "; GRANT " + quote(group.User) + " TO " + quote(f.app.User))
	if err := plan(); err != nil {
		t.Errorf("by a group: %v", err)
	}
	f.in(database).session(f.enabled(f.locked(f.superuser())))
	f.exec("REVOKE " + quote(group.User) + " FROM " + quote(f.app.User))
}

// TestTwinMayWhatItsBaseMay has a session do what each attribute of a role allows.
func TestTwinMayWhatItsBaseMay(t *testing.T) {
	f := newFixture(t)
	plain := f.newRole("plain", "LOGIN")
	there, d := f.in(f.newDatabase()), f.locked(f.superuser())
	f.exec("ALTER ROLE " + quote(f.app.User) + " BYPASSRLS CREATEDB CREATEROLE REPLICATION")
	there.exec("CREATE TABLE hidden AS SELECT 1 AS n; ALTER TABLE hidden ENABLE ROW LEVEL SECURITY; GRANT SELECT ON hidden TO " + quote(f.app.User))
	next := f.enabled(d)
	there.exec("GRANT SELECT ON hidden TO " + quote(plain.User))
	if diff := cmp.Diff([]string{"", codeNoPrivilege, codeNoPrivilege, codeNoPrivilege}, there.may(plain)); diff != "" {
		t.Fatalf("a role without attributes (-want +got), this test shows nothing:\n%s", diff)
	}
	all := []string{"1", codeNoDatabase, "", ""}
	if diff := cmp.Diff(all, there.may(f.app)); diff != "" {
		t.Errorf("the base (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(all, there.may(next)); diff != "" {
		t.Errorf("the twin (-want +got):\n%s", diff)
	}
	f.exec("ALTER ROLE " + quote(next.User) + " NOREPLICATION")
	all[3] = codeNoPrivilege
	if diff := cmp.Diff(all, there.may(next)); diff != "" {
		t.Errorf("the twin without REPLICATION (-want +got):\n%s", diff)
	}
	f.mends(d, next, "it has no REPLICATION")
	if _, _, err := d.PlanTwin(t.Context(), f.app.User, next.User, f.app.User); err != nil {
		t.Errorf("the way back to the base: %v", err)
	}
}

// may tells the rows that c sees in spite of row security, and what the server
// says to a new database (of a template that is missing: who may make one is asked
// first), a new role and a replication connection; empty: yes.
func (f *fixture) may(c secret.Credential) []string {
	f.Helper()
	conn := f.session(c)
	var rows string
	if err := conn.QueryRow(f.Context(), "SELECT coalesce(string_agg(n::text, ' '), '') FROM hidden").Scan(&rows); err != nil {
		f.Fatal(err)
	}
	code := func(err error) string {
		if p := serverError(err); p != nil {
			return p.Code
		} else if err != nil {
			f.Fatal(err)
		}
		return ""
	}
	_, database := conn.Exec(f.Context(), "CREATE DATABASE made TEMPLATE absent", pgx.QueryExecModeSimpleProtocol)
	_, role := conn.Exec(f.Context(), "BEGIN; CREATE ROLE made_by_it; ROLLBACK", pgx.QueryExecModeSimpleProtocol)
	stream, replication := f.client(c, func(config *pgx.ConnConfig) { config.RuntimeParams["replication"] = "database" })
	if replication == nil {
		f.Cleanup(func() { _ = stream.Close(context.Background()) })
		_, replication = stream.Exec(f.Context(), "IDENTIFY_SYSTEM", pgx.QueryExecModeSimpleProtocol)
	}
	return []string{rows, code(database), code(role), code(replication)}
}
