package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestSet(t *testing.T) {
	f := newFixture(t)
	for _, admin := range []secret.Credential{f.admin, f.superuser()} {
		d := f.locked(admin)
		former := f.stored(f.app.User)
		next := f.fresh()
		at, err := d.Set(t.Context(), next)
		if err != nil {
			t.Fatalf("as %s: %v", admin.User, err)
		}
		if since := time.Since(at).Abs(); since > time.Minute {
			t.Errorf("as %s: the database's clock is off by %s", admin.User, since)
		}
		if f.stored(f.app.User) != next.Verifier.Reveal() || !f.opensDoor(next) || f.opensDoor(f.app) {
			t.Errorf("as %s: the role does not have the new password alone", admin.User)
		}
		next.Verifier = secret.Value{}
		if got, err := d.Holds(t.Context(), f.app); got != secret.No || err != nil {
			t.Errorf("as %s: the former password: %v, %v", admin.User, got, err)
		}
		if got, err := d.Holds(t.Context(), next); got != secret.Yes || err != nil {
			t.Errorf("as %s: the new password: %v, %v", admin.User, got, err)
		}
		back := f.app
		back.Verifier = secret.New(former)
		if _, err := d.Set(t.Context(), back); err != nil || f.stored(f.app.User) != former {
			t.Errorf("as %s: not put back as it was: %v", admin.User, err)
		}
		d.Release()
	}
}

func TestSetRefusesBeforeSending(t *testing.T) {
	f := newFixture(t)
	d := f.locked(f.admin)
	former := f.stored(f.app.User)
	next, other := f.fresh(), f.fresh()
	for name, c := range map[string]secret.Credential{
		"no verifier":                     {User: f.app.User, Password: next.Password},
		"no password":                     {User: f.app.User, Verifier: next.Verifier},
		"the verifier of the empty one":   {User: f.app.User, Verifier: secret.New(scram("", newSalting(4096)))},
		"the verifier of another":         {User: f.app.User, Password: next.Password, Verifier: other.Verifier},
		"plain text":                      {User: f.app.User, Password: next.Password, Verifier: next.Password},
		"a cut verifier":                  {User: f.app.User, Password: next.Password, Verifier: secret.New(next.Verifier.Reveal()[:100])},
		"a verifier that ends the string": {User: f.app.User, Password: next.Password, Verifier: secret.New(next.Verifier.Reveal() + "' SUPERUSER --")},
		"no name":                         {Password: next.Password, Verifier: next.Verifier},
		"a name that would be cut":        {User: strings.Repeat("a", 64), Password: next.Password, Verifier: next.Verifier},
	} {
		if _, err := d.Set(t.Context(), c); classOf(err) != "refused" {
			t.Errorf("%s: %v (class %q)", name, err, classOf(err))
		}
	}
	if f.stored(f.app.User) != former {
		t.Error("the password was changed")
	}
	if _, err := d.Check(t.Context()); err != nil {
		t.Errorf("the session is gone: %v", err)
	}
}

func TestSetNeedsTheLock(t *testing.T) {
	f := newFixture(t)
	if _, err := f.open(f.admin).Set(t.Context(), f.fresh()); classOf(err) != "lost" {
		t.Errorf("%v (class %q)", err, classOf(err))
	}
}

func TestSetThatTheServerRefuses(t *testing.T) {
	f := newFixture(t)
	former := f.stored(f.app.User)
	plain := f.newRole("plain", "LOGIN")
	gone := f.fresh()
	gone.User = "none_" + gone.User
	readOnly := f.newRole("reader", "LOGIN CREATEROLE")
	f.exec("ALTER ROLE " + quote(readOnly.User) + " SET default_transaction_read_only = on")
	for _, c := range []struct {
		admin, credential secret.Credential
		class, hint       string
	}{
		{plain, f.fresh(), "refused", "ALTER ROLE " + quote(plain.User) + " CREATEROLE;"},
		{readOnly, f.fresh(), "refused", "default_transaction_read_only = off"},
		{f.admin, gone, "refused", ""},
	} {
		d := f.locked(c.admin)
		_, err := d.Set(t.Context(), c.credential)
		if classOf(err) != c.class || !strings.Contains(hintOf(err), c.hint) {
			t.Errorf("as %s: %v, class %q, hint %q", c.admin.User, err, classOf(err), hintOf(err))
		}
		leaksNothing(t, err, c.credential.Verifier.Reveal())
		if _, err := d.Check(t.Context()); err != nil {
			t.Errorf("as %s: the session is gone: %v", c.admin.User, err)
		}
		d.Release()
	}
	if f.stored(f.app.User) != former {
		t.Error("the password was changed")
	}
}

// TestSetBesideAnotherAlterRole: the loser of two concurrent ones is told
// "tuple concurrently updated", has changed nothing, and tries again.
func TestSetBesideAnotherAlterRole(t *testing.T) {
	f := newFixture(t)
	d := f.locked(f.admin)
	next := f.fresh()
	f.exec("BEGIN")
	f.exec("ALTER ROLE " + quote(f.app.User) + " CONNECTION LIMIT 7")
	done := make(chan error)
	go func() { _, err := d.Set(t.Context(), next); done <- err }()
	f.waitsFor("SELECT pg_stat_clear_snapshot() IS NOT NULL AND EXISTS (SELECT FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock')", f.admin.User)
	f.exec("COMMIT")
	if err := <-done; err != nil || f.stored(f.app.User) != next.Verifier.Reveal() {
		t.Errorf("not set: %v", err)
	}
}

func TestAlteringClassifies(t *testing.T) {
	f := newFixture(t)
	err := f.open(f.admin).with(t.Context(), func(s *session) error {
		for code, class := range map[string]string{
			codeNoPrivilege: "refused", codeReadOnly: "refused", codeInvalidParameter: "refused", "0A000": "refused", codeInternal: "conflict",
			"42704": "refused", codeLockTimeout: "", "53100": "", "57014": "", "40001": "", "58030": "",
		} {
			if got := classOf(s.altering(t.Context(), "alter", "app", refusal(code))); got != class {
				t.Errorf("%s: class %q, want %q", code, got, class)
			}
		}
		if got := classOf(s.altering(t.Context(), "alter", "app", context.Canceled)); got != "" {
			t.Errorf("a cancelled context: class %q", got)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestAlteringRefusedByTheServersOwnRules has the messages of RDS and of credcheck as
// they are: the AWS RDS User Guide, "Restricting password management in RDS for
// PostgreSQL", and credcheck.c of HexaCluster/credcheck.
func TestAlteringRefusedByTheServersOwnRules(t *testing.T) {
	f := newFixture(t)
	err := f.open(f.admin).with(t.Context(), func(s *session) error {
		for _, c := range []struct{ code, message, hint string }{
			{codeNoPrivilege, "must be a member of rds_password to alter passwords", `GRANT rds_password TO ` + quote(f.admin.User) + ";"},
			{codeNotPermitted, "password type is not a plain text", "credcheck.encrypted_password_allowed = on"},
			{codeNotPermitted, "Cannot use this credential following the password reuse policy", "credcheck.password_reuse_history and credcheck.password_reuse_interval to 0"},
			{codeNotPermitted, "you are not allowed to change your password.", "credcheck.disallow_change_password = off"},
			{codeNotPermitted, "you must change your password first.", "credcheck.password_change_first_login"},
			{codeNotPermitted, "the VALID UNTIL option must have a date older than 30 days", "credcheck.password_valid_until"},
			{codeNotPermitted, "the VALID UNTIL option must NOT have a date beyond 90 days", "credcheck.password_valid_max"},
			{codeNotPermitted, "password length should match the configured credcheck.password_min_length (40)", "see its setting credcheck.password_min_length,"},
			{codeNotPermitted, "username contains the configured credcheck.username_not_contain unauthorized characters: _", "see its setting credcheck.username_not_contain,"},
			{codeInvalidParameter, "password is easily cracked", "let it accept SCRAM verifiers"},
			{codeReadOnly, "cannot execute ALTER ROLE in a read-only transaction", "name the primary"},
			{codeNotPermitted, "something else", ""},
		} {
			err := s.altering(t.Context(), "alter", "app", &pgconn.PgError{Code: c.code, Message: c.message})
			if hint := hintOf(err); classOf(err) != "refused" || !strings.Contains(hint, c.hint) || (c.hint == "") != (hint == "") {
				t.Errorf("%q: class %q, hint %q; want %q", c.message, classOf(err), hint, c.hint)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestSetIsQuiet reads the server's log, which shows every statement: a
// superuser leaves nothing there, another administrator ALTER ROLE alone.
func TestSetIsQuiet(t *testing.T) {
	f := newFixture(t)
	for _, admin := range []secret.Credential{f.admin, f.superuser()} {
		from := f.logEnd()
		d := f.locked(admin)
		next := f.fresh()
		if _, _, err := d.Plan(t.Context(), f.app.User); err != nil {
			t.Fatal(err)
		}
		former, err := d.Stored(t.Context(), f.app)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Set(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		var shown bool
		err = f.super.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database() AND query LIKE '%SCRAM-SHA-256%')").Scan(&shown)
		if err != nil || shown {
			t.Errorf("as %s: pg_stat_activity shows the verifier (%v)", admin.User, err)
		}
		back := f.app
		back.Verifier = former
		if _, err := d.Set(t.Context(), back); err != nil {
			t.Fatal(err)
		}
		d.Release()
		f.checkLog(f.logged(from), admin, next, back)
	}
}

// TestAChangeIsThreeMessages counts what waits for the server between the beginning
// of a change and its end: each is a round trip.
func TestAChangeIsThreeMessages(t *testing.T) {
	f := newFixture(t)
	d := f.locked(f.admin)
	from := f.logEnd()
	if _, err := d.Set(t.Context(), f.fresh()); err != nil {
		t.Fatal(err)
	}
	said := f.saidByAdmin(from)
	for i, message := range []string{"BEGIN; SAVEPOINT quiet", "ALTER ROLE", "COMMIT"} {
		if len(said) != 3 || !strings.HasPrefix(said[i], message) {
			t.Fatalf("%q, want three, and %q", said, message)
		}
	}
}

// TestSetIsAsQuietAsItMay lets the administrator set one of the settings: what he
// may not set does not take that back.
func TestSetIsAsQuietAsItMay(t *testing.T) {
	f := newFixture(t)
	if f.major() < 15 {
		t.Skip("a setting of a superuser can be granted from PostgreSQL 15 on")
	}
	f.exec("GRANT SET ON PARAMETER log_statement TO " + quote(f.admin.User))
	defer f.exec("REVOKE SET ON PARAMETER log_statement FROM " + quote(f.admin.User))
	d := f.locked(f.admin)
	from := f.logEnd()
	if _, err := d.Set(t.Context(), f.fresh()); err != nil {
		t.Fatal(err)
	}
	if said := f.saidByAdmin(from); len(said) != 1 || !strings.HasPrefix(said[0], "BEGIN; SAVEPOINT quiet") {
		t.Errorf("the log shows %q", said)
	}
}

// saidByAdmin are the statements of the administrator that the log shows.
func (f *fixture) saidByAdmin(from int64) (said []string) {
	for line := range strings.Lines(f.logged(from)) {
		if _, statement, ok := strings.Cut(line, " "+f.admin.User+"@postgres pgrotate 127.0.0.1 LOG:  statement: "); ok {
			said = append(said, statement)
		}
	}
	return said
}

// TestSetWithoutPLpgSQL changes a password where nothing can be hushed.
func TestSetWithoutPLpgSQL(t *testing.T) {
	f := fixtureAt(t, labtest.NewServer(t).URL(), "")
	f.exec("REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC")
	next := f.fresh()
	if _, err := f.locked(f.admin).Set(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if f.stored(f.app.User) != next.Verifier.Reveal() {
		t.Error("the password was not changed")
	}
}

// own leaves out what the server has logged for the databases of other tests.
func (f *fixture) own(text string) string {
	prefix := regexp.MustCompile(`^\S+ \S+ \S+ \[\d+\] (?:\S+@(\S+) )?`) // the lab's log_line_prefix
	var lines strings.Builder
	others := false
	for line := range strings.Lines(text) {
		if begins := prefix.FindStringSubmatch(line); begins != nil { // else it goes on with the one before
			others = begins[1] != "" && begins[1] != strings.TrimPrefix(f.url.Path, "/")
		}
		if !others {
			lines.WriteString(line)
		}
	}
	return lines.String()
}

func (f *fixture) checkLog(text string, admin secret.Credential, used ...secret.Credential) {
	f.Helper()
	text = f.own(text)
	if !strings.Contains(text, "pg_advisory_lock") {
		f.Errorf("as %s: the log shows none of this session, so it proves nothing", admin.User)
	}
	for line := range strings.Lines(text) {
		alter := admin.User == f.admin.User && strings.Contains(line, "ALTER ROLE "+quote(f.app.User)+" PASSWORD 'SCRAM-SHA-256$")
		for _, c := range used {
			if strings.Contains(line, c.Password.Reveal()) || !alter && strings.Contains(line, c.Verifier.Reveal()) {
				f.Errorf("as %s: the log shows a secret: %s", admin.User, line)
			}
		}
		if !alter && strings.Contains(line, "SCRAM-SHA-256$") {
			f.Errorf("as %s: the log shows a verifier: %s", admin.User, line)
		}
	}
}

// cutter ends the connection at the n-th message that pgrotate sends: before it
// reaches the server, or after, so that the answer is lost.
type cutter struct {
	net.Conn
	mu    sync.Mutex
	armed bool
	left  int
	after bool
	at    string // what was being sent
}

func (c *cutter) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = true
}

var errCut = errors.New("cut")

func (c *cutter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.armed {
		return c.Conn.Write(p)
	}
	if c.left--; c.left > 0 {
		return c.Conn.Write(p)
	}
	c.at = string(bytes.ToValidUTF8(p[:min(len(p), 24)], nil))
	if c.after {
		if _, err := c.Conn.Write(p); err != nil {
			return 0, err
		}
		// The server has begun to answer: it has done what it was told.
		_, _ = io.ReadFull(c.Conn, make([]byte, 1))
	}
	_ = c.Conn.Close()
	return 0, errCut
}

// TestSetThatIsCutOff cuts the connection at every message of Set, before and
// after it arrives. Set must not claim to know, and after Acquire Holds must.
func TestSetThatIsCutOff(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	committed, undone := 0, 0
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			wires := make(chan *cutter, 16)
			d := f.locked(f.admin, f.plainly(func(conn net.Conn) net.Conn {
				wire := &cutter{Conn: conn, left: n, after: after}
				wires <- wire
				return wire
			}))
			next := f.fresh()
			mine := <-wires
			mine.arm()
			_, err := d.Set(t.Context(), next)
			if err == nil {
				d.Release()
				break // there was no n-th message
			}
			where := fmt.Sprintf("cut at message %d (%q), arrived %v", n, mine.at, after)
			if classOf(err) != "lost" {
				t.Errorf("%s: %v (class %q)", where, err, classOf(err))
			}
			leaksNothing(t, err, next.Verifier.Reveal())
			f.acquire(d)
			done := f.stored(f.app.User) == next.Verifier.Reveal()
			want := map[bool]secret.Verdict{true: secret.Yes, false: secret.No}[done]
			if got, err := d.Holds(t.Context(), next); got != want || err != nil {
				t.Errorf("%s: %v, %v, want %v", where, got, err, want)
			}
			if done {
				committed++
			} else {
				undone++
			}
			if _, err := d.Set(t.Context(), next); err != nil || !f.opensDoor(next) {
				t.Errorf("%s: Set again: %v", where, err)
			}
			d.Release()
		}
	}
	if committed < 2 || undone < 5 {
		t.Errorf("%d cuts came after the commit, %d before: the test misses one side", committed, undone)
	}
}

func TestSetThatIsCancelled(t *testing.T) {
	f := newFixture(t)
	d := f.locked(f.admin)
	next := f.fresh()
	f.exec("BEGIN")
	f.exec("ALTER ROLE " + quote(f.app.User) + " CONNECTION LIMIT 7")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := d.Set(ctx, next); done <- err }()
	f.waitsFor("SELECT pg_stat_clear_snapshot() IS NOT NULL AND EXISTS (SELECT FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock')", f.admin.User)
	cancel()
	if err := <-done; classOf(err) != "lost" {
		t.Errorf("%v (class %q)", err, classOf(err))
	}
	select {
	case <-d.held.conn.PgConn().CleanupDone():
	default:
		t.Error("Set returns while its session is still being cleaned up")
	}
	f.exec("ROLLBACK")
	f.acquire(d)
	if got, err := d.Holds(t.Context(), next); got != secret.No || err != nil || f.stored(f.app.User) == next.Verifier.Reveal() {
		t.Errorf("%v, %v", got, err)
	}
}

// TestServerThatQuotesTheVerifier stands in for a password checker that quotes
// what it rejects: a type named password does the same to its literal.
func TestServerThatQuotesTheVerifier(t *testing.T) {
	f := newFixture(t)
	err := f.open(f.superuser()).with(t.Context(), func(s *session) error {
		if err := s.exec(t.Context(), "CREATE DOMAIN pg_temp.password AS integer"); err != nil {
			return err
		}
		err := s.inTransaction(t.Context(), "COMMIT", "SELECT PASSWORD 'hunter2'")
		if p := serverError(err); p == nil || !strings.Contains(p.Message, "[verifier]") {
			t.Errorf("%v", err)
		}
		leaksNothing(t, s.altering(t.Context(), "alter", "app", err), "hunter2")
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A role may have any name; what the server may repeat of the statement is the literal.
func TestLiteralIsTheLastOne(t *testing.T) {
	for statement, want := range map[string]string{
		`ALTER ROLE "app" PASSWORD 'SCRAM-SHA-256$4096:x'`:           "SCRAM-SHA-256$4096:x",
		`ALTER ROLE "a PASSWORD 'b" PASSWORD 'SCRAM-SHA-256$4096:x'`: "SCRAM-SHA-256$4096:x",
		`ALTER ROLE "app" NOLOGIN`:                                   "",
	} {
		if got := literal(statement); got != want {
			t.Errorf("%s: %q, want %q", statement, got, want)
		}
	}
}
