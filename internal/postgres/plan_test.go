package postgres

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// hintsOf collects the hints of err and of the errors inside it.
func hintsOf(err error) string {
	var all []string
	switch e := err.(type) {
	case *Error:
		all = append(all, e.Hint())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			all = append(all, hintsOf(inner))
		}
	}
	return strings.Join(all, "\n")
}

func TestPlan(t *testing.T) {
	f := newFixture(t)
	var before, after uint32
	if err := f.super.QueryRow(t.Context(), "SELECT xmin::text::bigint FROM pg_authid WHERE rolname = $1", f.app.User).Scan(&before); err != nil {
		t.Fatal(err)
	}
	for _, admin := range []secret.Credential{f.admin, f.superuser()} {
		for _, d := range []*Database{f.open(admin), f.locked(admin)} {
			change, warnings, err := d.Plan(t.Context(), f.app.User)
			if want := fmt.Sprintf("new SCRAM-SHA-256 verifier (4096 iterations) for role %q", f.app.User); change != want || err != nil || len(warnings) > 0 {
				t.Errorf("as %s: %q, %q, %v", admin.User, change, warnings, err)
			}
			d.Release()
		}
	}
	if err := f.super.QueryRow(t.Context(), "SELECT xmin::text::bigint FROM pg_authid WHERE rolname = $1", f.app.User).Scan(&after); err != nil || before != after {
		t.Errorf("the role was changed: %v", err)
	}
}

// TestPlanTellsOfTooFewConnections: a restart has pods of two revisions at a time.
func TestPlanTellsOfTooFewConnections(t *testing.T) {
	f := newFixture(t)
	f.session(f.app)
	for limit, want := range map[int]string{-1: "", 1: "has CONNECTION LIMIT 1 and 1 sessions", 2: "", 100: ""} {
		f.exec(fmt.Sprintf("ALTER ROLE %s CONNECTION LIMIT %d", quote(f.app.User), limit))
		_, warnings, err := f.open(f.admin).Plan(t.Context(), f.app.User)
		if err != nil || (want != "") != (len(warnings) == 1) || !strings.Contains(strings.Join(warnings, ""), want) {
			t.Errorf("limit %d: %q, %v", limit, warnings, err)
		}
		if _, warnings, err := f.open(f.admin).PlanFormer(t.Context(), f.app.User); err != nil || len(warnings) > 0 {
			t.Errorf("limit %d of the role that is switched away from: %q, %v", limit, warnings, err)
		}
	}
}

// TestPlanFailsOneLogin: the negative control is made once, however often Plan is.
func TestPlanFailsOneLogin(t *testing.T) {
	f := newFixture(t)
	from := f.logEnd()
	d := f.open(f.admin)
	for range 3 {
		if _, _, err := d.Plan(t.Context(), f.app.User); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(f.logged(from), "password authentication failed for user \""+f.app.User); n != 1 {
		t.Errorf("%d logins failed, want 1", n)
	}
}

func TestPlanFindings(t *testing.T) {
	f := newFixture(t)
	plain := f.newRole("plain", "LOGIN")
	super := f.newRole("super", "LOGIN SUPERUSER")
	name := quote(f.app.User)
	for _, c := range []struct {
		name     string
		before   string
		admin    secret.Credential
		role     string
		class    string
		findings []string // each is in the error
		hints    []string // each is in one of the hints
	}{
		{name: "no such role", admin: f.admin, role: "none", class: "refused", findings: []string{`role "none": it does not exist`}},
		{name: "no name", admin: f.admin, role: "", class: "refused", findings: []string{"its name is empty"}},
		{name: "its own role", admin: f.admin, role: f.admin.User, class: "refused", findings: []string{"it is the role of `postgres-url` itself"},
			hints: []string{"CREATE ROLE rotator LOGIN CREATEROLE NOINHERIT;"}},
		{name: "the bootstrap superuser", admin: f.superuser(), role: "postgres", class: "refused", findings: []string{"it is the bootstrap superuser"},
			hints: []string{"CREATE ROLE rotator LOGIN CREATEROLE NOINHERIT;"}},
		{name: "no right to", admin: plain, role: f.app.User, findings: []string{"try to change the password", "SQLSTATE 42501"},
			hints: []string{"ALTER ROLE " + quote(plain.User) + " CREATEROLE;"}},
		{name: "a superuser's", admin: f.admin, role: super.User, findings: []string{"SQLSTATE 42501"},
			hints: []string{"let `postgres-url` log in as a superuser", "ALTER ROLE " + quote(super.User) + " NOSUPERUSER;"}},
		{name: "no password", before: "ALTER ROLE " + name + " PASSWORD NULL", admin: f.superuser(), role: f.app.User, findings: []string{"it has no password"}},
		{name: "several at once", before: "ALTER ROLE " + name + " NOLOGIN VALID UNTIL '2001-01-01'", admin: plain, role: f.app.User,
			findings: []string{"it is NOLOGIN", "VALID UNTIL ended at 2001-01-01", "SQLSTATE 42501"},
			hints:    []string{"ALTER ROLE " + name + " LOGIN;", "ALTER ROLE " + name + " VALID UNTIL 'infinity';", "CREATEROLE"}},
		{name: "soon over", before: "ALTER ROLE " + name + " LOGIN PASSWORD 'x' VALID UNTIL '" + rfc("1 hour", f) + "'", admin: f.admin, role: f.app.User,
			findings: []string{"VALID UNTIL ends at"}, hints: []string{"VALID UNTIL 'infinity'"}},
	} {
		if c.before != "" {
			f.exec(c.before)
		}
		change, _, err := f.open(c.admin).Plan(t.Context(), c.role)
		if err == nil || change != "" || c.class != "" && classOf(err) != c.class {
			t.Errorf("%s: %q, %v (class %q)", c.name, change, err, classOf(err))
			continue
		}
		contains(t, c.name, err.Error(), c.findings)
		contains(t, c.name, hintsOf(err), c.hints)
	}
}

// TestPermission has no grant for a role that no grant reaches.
func TestPermission(t *testing.T) {
	const up = "let `postgres-url` log in as a superuser, which this role's password takes; or, where the role need not be what it is: "
	for _, c := range []struct {
		role  role
		major int
		want  string
	}{
		{role{}, 15, `as a superuser: ALTER ROLE "rotator" CREATEROLE;`},
		{role{}, 16, `as a superuser: ALTER ROLE "rotator" CREATEROLE; GRANT "app" TO "rotator" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;`},
		{role{copies: true}, 15, up + `ALTER ROLE "app" NOREPLICATION;`},
		{role{copies: true}, 16, `as a superuser: ALTER ROLE "rotator" CREATEROLE; GRANT "app" TO "rotator" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;`},
		{role{super: true}, 16, up + `ALTER ROLE "app" NOSUPERUSER;`},
		{role{super: true, copies: true}, 15, up + `ALTER ROLE "app" NOSUPERUSER NOREPLICATION;`},
	} {
		c.role.name = "app"
		if got := c.role.permission(c.major, "rotator"); got != c.want {
			t.Errorf("%+v on %d:\n%s\nwant\n%s", c.role, c.major, got, c.want)
		}
	}
}

func contains(t *testing.T, what, text string, parts []string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s: %q is not in %q", what, part, text)
		}
	}
}

// rfc is the server's time in a while.
func rfc(in string, f *fixture) (at string) {
	if err := f.super.QueryRow(f.Context(), "SELECT (now() + $1::interval)::text", in).Scan(&at); err != nil {
		f.Fatal(err)
	}
	return at
}

func TestPlanWarns(t *testing.T) {
	f := newFixture(t)
	super := f.newRole("super", "LOGIN SUPERUSER")
	if _, warnings, err := f.open(f.superuser()).Plan(t.Context(), super.User); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "is a superuser") {
		t.Errorf("a superuser: %q, %v", warnings, err)
	}
	copier := f.newRole("copier", "LOGIN REPLICATION")
	if _, warnings, err := f.open(f.superuser()).Plan(t.Context(), copier.User); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "has REPLICATION") {
		t.Errorf("a role that standbys log in as: %q, %v", warnings, err)
	}
	trust := trusting(t)
	trust.exec("SET password_encryption = 'md5'; ALTER ROLE " + quote(trust.app.User) + " PASSWORD 'x'")
	former := trust.stored(trust.app.User)
	if _, warnings, err := trust.open(trust.superuser()).Plan(t.Context(), trust.app.User); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "md5") {
		t.Errorf("an md5 hash: %q, %v", warnings, err)
	}
	if trust.stored(trust.app.User) != former {
		t.Error("the password was changed")
	}
}

func TestPlanOnAPathThatTrusts(t *testing.T) {
	f := trusting(t)
	_, _, err := f.open(f.admin).Plan(t.Context(), f.app.User)
	contains(t, "pg_authid is not readable", hintsOf(err), []string{"scram-sha-256 in pg_hba.conf", "GRANT SELECT (rolname, rolpassword) ON pg_catalog.pg_authid TO " + quote(f.admin.User)})
	if _, _, err := f.open(f.superuser()).Plan(t.Context(), f.app.User); err != nil {
		t.Errorf("pg_authid is readable: %v", err)
	}
}

// TestControl: a server that lets any password in is not believed, nor one that
// gives no answer.
func TestControl(t *testing.T) {
	believing := []pgproto3.BackendMessage{&pgproto3.AuthenticationMD5Password{}, &pgproto3.AuthenticationOk{}, &pgproto3.ReadyForQuery{TxStatus: 'I'}}
	for name, c := range map[string]struct {
		messages []pgproto3.BackendMessage
		class    string
		text     string
	}{
		"lets everybody in": {believing, "refused", "accepts any password"},
		"hangs up":          {believing[:1], "", "log in as role"},
	} {
		d, err := open(t, "postgres://u@h/db?sslmode=disable", func(config *Config) {
			config.Dial = func(context.Context, string, string) (net.Conn, error) { return scripted(t, c.messages), nil }
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&session{db: d}).control(t.Context(), role{name: "app"})
		if classOf(err) != c.class || err == nil || !strings.Contains(err.Error(), c.text) || len(d.controlled) > 0 {
			t.Errorf("%s: %v (class %q)", name, err, classOf(err))
		}
	}
}

// TestLoginsOfAPreflight counts them: each costs the server a process, and six round
// trips. The administrator's session goes on to hold the lock.
func TestLoginsOfAPreflight(t *testing.T) {
	f := newFixture(t)
	begun := 0
	d := f.open(f.admin, f.plainly(func(c net.Conn) net.Conn { begun++; return c }))
	if _, err := d.ServerAddress(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.acquire(d)
	if _, _, err := d.Plan(t.Context(), f.app.User); err != nil {
		t.Fatal(err)
	}
	if verdict, err := d.Holds(t.Context(), f.app); verdict != secret.Yes || err != nil {
		t.Fatal(verdict, err)
	}
	if begun != 3 {
		t.Errorf("%d connections, want one of the administrator, the negative control and the login with what is served", begun)
	}
}

// TestTheChangeIsTriedBesideTheNegativeControl, whose connection does not come before.
func TestTheChangeIsTriedBesideTheNegativeControl(t *testing.T) {
	f := newFixture(t)
	tried, held := make(chan bool, 9), false
	d := f.locked(f.admin, f.plainly(func(c net.Conn) net.Conn {
		if held {
			select {
			case <-tried:
			case <-time.After(10 * time.Second):
				t.Error("the change waits for the login")
			}
		}
		return telling{c, tried}
	}))
	held = true
	if _, _, err := d.Plan(t.Context(), f.app.User); err != nil {
		t.Error(err)
	}
}

// telling tells of each ALTER ROLE that is sent.
type telling struct {
	net.Conn
	tried chan bool
}

func (c telling) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("ALTER ROLE")) {
		c.tried <- true
	}
	return c.Conn.Write(p)
}

func TestRehearseLeavesNothing(t *testing.T) {
	f := newFixture(t)
	former := f.stored(f.app.User)
	err := f.open(f.admin).with(t.Context(), func(s *session) error {
		r, err := s.role(t.Context(), f.app.User)
		if err != nil {
			return err
		}
		return s.rehearse(t.Context(), r, facts{iterations: 4096}, secret.Value{})
	})
	if err != nil || f.stored(f.app.User) != former || !f.opensDoor(f.app) {
		t.Errorf("the password was changed, or: %v", err)
	}
}

// recorder keeps what is sent.
type recorder struct {
	net.Conn
	mu   *sync.Mutex
	sent *bytes.Buffer
}

func (r recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	r.sent.Write(p)
	r.mu.Unlock()
	return r.Conn.Write(p)
}

// TestPlanTriesTheWayBack reads the statements that are tried: the change, and then
// what puts things back. A server may take the one and refuse the other.
func TestPlanTriesTheWayBack(t *testing.T) {
	f := newFixture(t)
	var mu sync.Mutex
	var sent bytes.Buffer
	d := f.open(f.superuser(), f.plainly(func(conn net.Conn) net.Conn { return recorder{conn, &mu, &sent} }))
	tried := func(plan func(context.Context, string) (string, []string, error)) []string {
		sent.Reset()
		if _, _, err := plan(t.Context(), f.app.User); err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`ALTER ROLE [^\x00]*|ROLLBACK\x00|COMMIT\x00`).FindAllString(sent.String(), -1)
	}
	change := func(a attribute, verifier string) string {
		return "^" + regexp.QuoteMeta("ALTER ROLE "+quote(f.app.User)+string(a)+" PASSWORD '") + verifier + "'$"
	}
	const some = `SCRAM-SHA-256\$[^']*`
	stored := regexp.QuoteMeta(f.stored(f.app.User))
	for name, c := range map[string]struct {
		plan func(context.Context, string) (string, []string, error)
		want []string
	}{
		"planned": {d.Plan, []string{change(asItIs, some), change(asItIs, stored), "^ROLLBACK"}},
		"former":  {d.PlanFormer, []string{"^" + regexp.QuoteMeta(bare(f.app.User, asItIs)) + "$", "^ROLLBACK"}},
		"emergency": {func(ctx context.Context, name string) (string, []string, error) {
			return d.PlanLockout(ctx, name, name)
		}, []string{change(noLogin, some), change(withLogin, some), change(asItIs, some), "^ROLLBACK"}},
	} {
		got := tried(c.plan)
		if !slices.EqualFunc(got, c.want, func(statement, want string) bool { return regexp.MustCompile(want).MatchString(statement) }) {
			t.Errorf("%s: tried %q, want %q", name, got, c.want)
		}
		if name == "planned" && got[0] == got[1] {
			t.Error("the change is what is there already")
		}
	}
}

func TestServerAddress(t *testing.T) {
	f := newFixture(t)
	if address, err := f.open(f.admin).ServerAddress(t.Context()); address != "127.0.0.1" || err != nil {
		t.Errorf("%q, %v", address, err)
	}
}

// TestConnectionsOfAPreflight counts what a preflight asks of the server: a
// connection is a process there, and some round trips far from it.
func TestConnectionsOfAPreflight(t *testing.T) {
	const most = 5 // the lock, and twice a salt and a login: with a random password, which is refused, and with the served one
	f := newFixture(t)
	var opened atomic.Int32
	d := f.locked(f.admin, f.plainly(func(conn net.Conn) net.Conn {
		opened.Add(1)
		return conn
	}))
	var asking sync.WaitGroup
	for _, ask := range []func() error{
		func() error { _, _, err := d.Plan(t.Context(), f.app.User); return err },
		func() error { _, _, err := d.PlanStandbys(t.Context(), f.app.User); return err },
		func() error { _, err := d.PlanSessions(t.Context(), f.app.User); return err },
	} {
		asking.Go(func() {
			if err := ask(); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	if verdict, err := d.Holds(t.Context(), f.app); verdict != secret.Yes {
		t.Errorf("%v, %v", verdict, err)
	}
	if n := opened.Load(); n > most {
		t.Errorf("%d connections, want at most %d", n, most)
	}
}
