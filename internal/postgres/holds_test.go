package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgrotate/pgrotate/internal/secret"
)

func classOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Class()
	}
	return ""
}

func hintOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint()
	}
	return ""
}

func TestHoldsByLogin(t *testing.T) {
	f := newFixture(t)
	d := f.open(f.admin)
	wrong := secret.Credential{User: f.app.User, Password: secret.New("wrong")}
	name := quote(f.app.User)
	for _, c := range []struct {
		name       string
		before     string // SQL
		credential secret.Credential
		want       secret.Verdict
		class      string // where it is Unknown
	}{
		{name: "right", credential: f.app, want: secret.Yes},
		{name: "wrong", credential: wrong, want: secret.No},
		{name: "empty", credential: secret.Credential{User: f.app.User}, class: "refused"},
		{name: "no such role", credential: secret.Credential{User: "nobody_" + rand.Text(), Password: f.app.Password}, class: "unhealthy"},
		{name: "a name that is too long", credential: secret.Credential{User: strings.Repeat("a", 64), Password: f.app.Password}, class: "unhealthy"},
		{name: "right, connection limit", before: "ALTER ROLE " + name + " CONNECTION LIMIT 0", credential: f.app, want: secret.Yes},
		{name: "wrong, connection limit", credential: wrong, want: secret.No},
		{name: "right, NOLOGIN", before: "ALTER ROLE " + name + " CONNECTION LIMIT -1 NOLOGIN", credential: f.app, want: secret.Closed},
		{name: "wrong, NOLOGIN", credential: wrong, want: secret.No},
		{name: "VALID UNTIL tomorrow", before: "ALTER ROLE " + name + " LOGIN VALID UNTIL 'tomorrow'", credential: f.app, want: secret.Yes},
		{name: "right, VALID UNTIL over", before: "ALTER ROLE " + name + " LOGIN VALID UNTIL '2001-01-01'", credential: f.app, class: "unhealthy"},
		{name: "VALID UNTIL infinity", before: "ALTER ROLE " + name + " VALID UNTIL 'infinity'", credential: f.app, want: secret.Yes},
		{name: "no password", before: "ALTER ROLE " + name + " PASSWORD NULL", credential: f.app, want: secret.No},
	} {
		if c.before != "" {
			f.exec(c.before)
		}
		got, err := d.Holds(t.Context(), c.credential)
		if got != c.want || (err == nil) != (got != secret.Unknown) || classOf(err) != c.class {
			t.Errorf("%s: %v, %v (class %q), want %v", c.name, got, err, classOf(err), c.want)
		}
		if err != nil {
			leaksNothing(t, err, f.app.Password.Reveal())
		}
	}
}

// TestHoldsAfterAuthentication: these are answers of the server to a password
// that it has accepted already.
func TestHoldsAfterAuthentication(t *testing.T) {
	f := newFixture(t)
	name := quote("db_" + strings.ToLower(rand.Text()))
	f.exec("CREATE DATABASE " + name)
	defer f.exec("DROP DATABASE " + name)
	f.exec("REVOKE CONNECT ON DATABASE " + name + " FROM PUBLIC")
	wrong := secret.Credential{User: f.app.User, Password: secret.New("wrong")}
	for database, what := range map[string]string{strings.Trim(name, `"`): "CONNECT is revoked", "none_" + rand.Text(): "there is no such database"} {
		d := f.open(f.admin)
		err := d.with(t.Context(), func(s *session) error {
			s.db.base.Database = database
			for c, want := range map[*secret.Credential]secret.Verdict{&f.app: secret.Yes, &wrong: secret.No} {
				if got, err := s.login(t.Context(), *c, challenge{method: methodSCRAM}); got != want {
					t.Errorf("%s: %v, %v, want %v", what, got, err, want)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestHoldsByVerifierMakesNoLogin(t *testing.T) {
	f := newFixture(t)
	d := f.open(f.admin)
	from := f.logEnd()
	held, other := f.app, f.app
	held.Verifier = secret.New(f.stored(f.app.User))
	other.Verifier = secret.New(scram(f.app.Password.Reveal(), newSalting(4096)))
	for name, c := range map[string]struct {
		credential secret.Credential
		want       secret.Verdict
	}{"the stored one": {held, secret.Yes}, "another salt": {other, secret.No}, "a new password": {f.fresh(), secret.No}} {
		if got, err := d.Holds(t.Context(), c.credential); got != c.want || err != nil {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
	}
	f.exec("ALTER ROLE " + quote(f.app.User) + " NOLOGIN")
	if got, err := d.Holds(t.Context(), held); got != secret.Closed || err != nil {
		t.Errorf("NOLOGIN: %v, %v", got, err)
	}
	if text := f.logged(from); strings.Contains(text, "authentication failed for user \""+f.app.User) {
		t.Errorf("a login failed: %s", text)
	}
}

func TestHoldsOnAPathThatTrusts(t *testing.T) {
	f := trusting(t)
	d := f.open(f.admin)
	got, err := d.Holds(t.Context(), f.app)
	if got != secret.Unknown || classOf(err) != "refused" || !strings.Contains(hintOf(err), "scram-sha-256") || !strings.Contains(hintOf(err), "GRANT SELECT (rolname, rolpassword)") {
		t.Errorf("without reading pg_authid: %v, %v, hint %q", got, err, hintOf(err))
	}
	_, grant, _ := strings.Cut(hintOf(err), "GRANT ")
	f.exec("GRANT " + grant) // the hint has to work
	defer f.exec("REVOKE SELECT (rolname, rolpassword) ON pg_catalog.pg_authid FROM " + quote(f.admin.User))
	wrong := secret.Credential{User: f.app.User, Password: secret.New("wrong")}
	for c, want := range map[*secret.Credential]secret.Verdict{&f.app: secret.Yes, &wrong: secret.No} {
		if got, err := d.Holds(t.Context(), *c); got != want || err != nil {
			t.Errorf("by the stored verifier: %v, %v, want %v", got, err, want)
		}
	}
	f.exec("ALTER ROLE " + quote(f.app.User) + " NOLOGIN")
	if got, err := d.Holds(t.Context(), f.app); got != secret.Closed || err != nil {
		t.Errorf("NOLOGIN: %v, %v", got, err)
	}
	f.exec("ALTER ROLE " + quote(f.app.User) + " PASSWORD NULL")
	if got, err := d.Holds(t.Context(), f.app); got != secret.No || err != nil {
		t.Errorf("no password: %v, %v", got, err)
	}
}

func TestHoldsWithoutAServer(t *testing.T) {
	d, err := open(t, "postgres://u:hunter2@127.0.0.1:1/d?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Holds(t.Context(), secret.Credential{User: "app", Password: secret.New("x")})
	if got != secret.Unknown || err == nil || classOf(err) != "" {
		t.Errorf("%v, %v (class %q)", got, err, classOf(err))
	}
	leaksNothing(t, err, "hunter2")
}

// TestLoginWantsProof: a server that asks for less than it did a moment ago is
// not believed, though it lets the client in.
func TestLoginWantsProof(t *testing.T) {
	in := []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}, &pgproto3.ReadyForQuery{TxStatus: 'I'}}
	for name, c := range map[string]struct {
		messages []pgproto3.BackendMessage
		asked    string
		want     secret.Verdict
	}{
		"nothing, not SCRAM":    {in, methodSCRAM, secret.Unknown},
		"nothing, not md5":      {in, methodMD5, secret.Unknown},
		"md5, not SCRAM":        {append([]pgproto3.BackendMessage{&pgproto3.AuthenticationMD5Password{}}, in...), methodSCRAM, secret.Unknown},
		"clear text, not SCRAM": {append([]pgproto3.BackendMessage{&pgproto3.AuthenticationCleartextPassword{}}, in...), methodSCRAM, secret.Unknown},
		"md5, as before":        {append([]pgproto3.BackendMessage{&pgproto3.AuthenticationMD5Password{}}, in...), methodMD5, secret.Yes},
	} {
		d, err := open(t, "postgres://u@h/db?sslmode=disable", func(config *Config) {
			config.Dial = func(context.Context, string, string) (net.Conn, error) { return scripted(t, c.messages), nil }
		})
		if err != nil {
			t.Fatal(err)
		}
		app := secret.Credential{User: "app", Password: secret.New("hunter2")}
		got, err := (&session{db: d}).login(t.Context(), app, challenge{method: c.asked})
		if got != c.want || (err == nil) != (got != secret.Unknown) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		leaksNothing(t, err, "hunter2")
	}
}

// TestOneServer: probes and logins go where the administrator is connected to,
// though the host has a name that may lead elsewhere meanwhile.
func TestOneServer(t *testing.T) {
	f := newFixture(t)
	err := f.open(f.admin).with(t.Context(), func(s *session) error {
		if want := s.conn.PgConn().Conn().RemoteAddr().String(); s.address != want {
			t.Errorf("they go to %q, the administrator to %q", s.address, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	var asked string
	d, err := open(t, "postgres://u@h/db?sslmode=disable", func(c *Config) {
		c.Dial = func(_ context.Context, _, address string) (net.Conn, error) {
			asked = address
			return nil, net.ErrClosed
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{"": "h:5432", "192.0.2.1:5": "192.0.2.1:5"} {
		_, err := (&session{db: d, address: address}).probe(t.Context(), "app")
		if asked != want || err == nil {
			t.Errorf("the probe asks %q, want %q (%v)", asked, want, err)
		}
		asked = ""
		if _, err = (&session{db: d, address: address}).login(t.Context(), f.app, challenge{method: methodSCRAM}); asked != want || err == nil {
			t.Errorf("the login asks %q, want %q (%v)", asked, want, err)
		}
	}
}

// TestTwoPasswordsAreTriedAtOnce: neither login waits for the other's end, nor does
// who asks for the lock.
func TestTwoPasswordsAreTriedAtOnce(t *testing.T) {
	f := newFixture(t)
	begun, both := make(chan bool), make(chan bool)
	goOn := sync.OnceFunc(func() { close(both) })
	tried := false
	d := f.locked(f.admin, func(c *Config) {
		c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if tried {
				select {
				case begun <- true:
					<-both
				case <-ctx.Done():
				}
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	})
	t.Cleanup(goOn)                                               // before the lock is given back
	if _, _, err := d.Plan(t.Context(), f.app.User); err != nil { // from now on a login is all that a judgement takes
		t.Fatal(err)
	}
	tried = true
	wrong := secret.Credential{User: f.app.User, Password: secret.New("wrong")}
	answers := make(chan secret.Verdict)
	for _, c := range []secret.Credential{f.app, wrong, wrong} {
		go func() {
			verdict, err := d.Holds(t.Context(), c)
			if err != nil {
				t.Error(err)
			}
			answers <- verdict
		}()
	}
	for range 3 {
		select {
		case <-begun:
		case <-time.After(10 * time.Second):
			t.Fatal("a login waits for another")
		}
	}
	if _, err := d.Check(t.Context()); err != nil {
		t.Error(err)
	}
	goOn()
	got := map[secret.Verdict]int{}
	for range 3 {
		got[<-answers]++
	}
	if got[secret.Yes] != 1 || got[secret.No] != 2 || d.turnedAway.all()[f.app.User] != 3 {
		t.Errorf("%v, %d refusals", got, d.turnedAway.all()[f.app.User])
	}
}

func TestWrongAdministratorIsRefused(t *testing.T) {
	f := newFixture(t)
	c := f.admin
	c.Password = secret.New("hunter2")
	_, err := f.open(c).Holds(t.Context(), f.app)
	if classOf(err) != "refused" || !strings.Contains(hintOf(err), "`postgres-password`") {
		t.Errorf("%v, hint %q", err, hintOf(err))
	}
	leaksNothing(t, err, "hunter2")
}

// TestStoredIsBitIdentical: putting the former verifier back leaves pg_authid
// as it was, whatever made it.
func TestStoredIsBitIdentical(t *testing.T) {
	f := newFixture(t)
	for _, password := range []string{"pencil", `a 'b" \ c%@:/?#`, "pässwörd", "I\u0301", "\u212b", "\ufa70" /* newer than SASLprep: hashed as it is */, strings.Repeat("x", 200)} {
		literal := strings.ReplaceAll(password, "'", "''")
		f.exec("SET password_encryption = 'scram-sha-256'; ALTER ROLE " + quote(f.app.User) + " PASSWORD '" + literal + "'")
		c := secret.Credential{User: f.app.User, Password: secret.New(password)}
		for _, admin := range []secret.Credential{f.admin, f.superuser()} {
			got, err := f.open(admin).Stored(t.Context(), c)
			if err != nil || got.Reveal() != f.stored(f.app.User) {
				t.Errorf("%q as %s: not what pg_authid holds (%v)", password, admin.User, err)
			}
		}
	}
}

func TestStoredWithSaltOfAnotherTool(t *testing.T) {
	f := newFixture(t)
	for _, s := range []salting{{salt: "AAAA", iterations: 1}, {salt: rfcSalt, iterations: 15000}, {salt: "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=", iterations: 8192}} {
		f.setVerifier(f.app.User, scram("pencil", s))
		got, err := f.open(f.admin).Stored(t.Context(), secret.Credential{User: f.app.User, Password: secret.New("pencil")})
		if err != nil || got.Reveal() != f.stored(f.app.User) {
			t.Errorf("%v: not what pg_authid holds (%v)", s, err)
		}
	}
}

func TestStoredOfAnMD5Role(t *testing.T) {
	f := trusting(t)
	f.exec("SET password_encryption = 'md5'; ALTER ROLE " + quote(f.app.User) + " PASSWORD 'pencil'")
	c := secret.Credential{User: f.app.User, Password: secret.New("pencil")}
	got, err := f.open(f.superuser()).Stored(t.Context(), c)
	if err != nil || got.Reveal() != f.stored(f.app.User) || !isMD5(got) {
		t.Errorf("not what pg_authid holds (%v)", err)
	}
	made := f.open(f.admin).remake(c, challenge{method: methodMD5})
	if made.Reveal() != f.stored(f.app.User) {
		t.Error("the hash that is remade is not what pg_authid holds")
	}
}

func TestStoredRefusesAPasswordThatDoesNotOpen(t *testing.T) {
	f := newFixture(t)
	for _, admin := range []secret.Credential{f.admin, f.superuser()} {
		for _, password := range []string{"wrong", ""} {
			got, err := f.open(admin).Stored(t.Context(), secret.Credential{User: f.app.User, Password: secret.New(password)})
			if classOf(err) != "refused" || !got.IsZero() {
				t.Errorf("%q as %s: %v", password, admin.User, err)
			}
		}
	}
}

func TestVerifierTakesTheServersIterations(t *testing.T) {
	f := newFixture(t)
	made, err := f.open(f.admin).Verifier(t.Context(), secret.New("pencil"))
	if s, ok := parse(made); err != nil || !ok || s.iterations != 4096 || !opens(made, "", secret.New("pencil")) {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := f.open(f.admin).Verifier(t.Context(), secret.Value{}); classOf(err) != "refused" {
		t.Errorf("of no password: %v", err)
	}
}
