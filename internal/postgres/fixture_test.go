package postgres

import (
	"context"
	"crypto/rand"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// fixture is a real server with a role to rotate and an administrator with few
// rights, both gone after the test.
type fixture struct {
	testing.TB
	url   *url.URL // as superuser
	super *pgx.Conn
	log   string
	app   secret.Credential // the role to rotate
	admin secret.Credential // may change app, and nothing else
}

func newFixture(t testing.TB) *fixture {
	lab := labtest.Open(t)
	return fixtureAt(t, lab.PostgresURL, lab.PostgresLog)
}

// trusting is a server that asks nobody on 127.0.0.1 for a password.
func trusting(t testing.TB) *fixture {
	return fixtureAt(t, labtest.Open(t).PostgresTrustURL, "")
}

func fixtureAt(t testing.TB, superURL, log string) *fixture {
	t.Helper()
	place, err := url.Parse(superURL)
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{TB: t, url: place, log: log}
	if f.super, err = pgx.Connect(t.Context(), superURL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.super.Close(context.Background()) })
	f.app = f.newRole("app", "LOGIN")
	f.admin = f.newRole("rotator", "LOGIN CREATEROLE NOINHERIT")
	if f.major() >= 16 {
		f.exec("GRANT " + quote(f.app.User) + " TO " + quote(f.admin.User) + " WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
	}
	return f
}

func (f *fixture) major() int {
	return int(f.super.PgConn().ParameterStatus("server_version")[0]-'0')*10 + int(f.super.PgConn().ParameterStatus("server_version")[1]-'0')
}

// newRole makes a role with a SCRAM verifier of a random password.
func (f *fixture) newRole(kind, attributes string) secret.Credential {
	f.Helper()
	c := secret.Credential{User: kind + "_" + strings.ToLower(rand.Text()), Password: secret.New(rand.Text())}
	f.exec("CREATE ROLE " + quote(c.User) + " " + attributes)
	f.setVerifier(c.User, scram(c.Password.Reveal(), newSalting(4096)))
	f.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), f.url.String())
		if err != nil {
			f.Error(err)
			return
		}
		defer conn.Close(context.Background())
		name := quote(c.User)
		if _, err := conn.Exec(context.Background(), "DROP OWNED BY "+name+"; DROP ROLE "+name, pgx.QueryExecModeSimpleProtocol); err != nil {
			f.Error(err)
		}
	})
	return c
}

func (f *fixture) setVerifier(role, verifier string) {
	f.Helper()
	f.exec("ALTER ROLE " + quote(role) + " PASSWORD '" + verifier + "'")
}

func (f *fixture) exec(sql string) {
	f.Helper()
	if _, err := f.super.Exec(f.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		f.Fatalf("%.40s...: %v", sql, err)
	}
}

// stored is what pg_authid holds for role.
func (f *fixture) stored(role string) string {
	f.Helper()
	var text string
	err := f.super.QueryRow(f.Context(), "SELECT coalesce(rolpassword, '') FROM pg_authid WHERE rolname = $1", role).Scan(&text)
	if err != nil {
		f.Fatal(err)
	}
	return text
}

// open returns a Database whose administrator is c.
func (f *fixture) open(c secret.Credential, change ...func(*Config)) *Database {
	f.Helper()
	place := *f.url
	place.User = url.User(c.User)
	config := Config{URL: secret.New(place.String()), Password: c.Password, Keep: secret.New}
	for _, f := range change {
		f(&config)
	}
	d, err := Open(config)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(d.Release)
	return d
}

// superuser is the administrator that the lab's URL names.
func (f *fixture) superuser() secret.Credential {
	password, _ := f.url.User.Password()
	return secret.Credential{User: f.url.User.Username(), Password: secret.New(password)}
}

// locked returns a Database that holds the lock on the role.
func (f *fixture) locked(c secret.Credential, change ...func(*Config)) *Database {
	f.Helper()
	d := f.open(c, change...)
	f.acquire(d)
	return d
}

func (f *fixture) acquire(d *Database) {
	f.Helper()
	if _, _, err := d.Acquire(f.Context(), f.app.User, time.Minute); err != nil {
		f.Fatal(err)
	}
}

// fresh is a credential of the role that the database does not hold.
func (f *fixture) fresh() secret.Credential {
	password := rand.Text()
	return secret.Credential{User: f.app.User, Password: secret.New(password), Verifier: secret.New(scram(password, newSalting(4096)))}
}

// opensDoor tells whether a plain client gets in with c.
func (f *fixture) opensDoor(c secret.Credential) bool {
	f.Helper()
	place := *f.url
	place.User = url.UserPassword(c.User, c.Password.Reveal())
	conn, err := pgx.Connect(f.Context(), place.String())
	if err != nil {
		return false
	}
	_ = conn.Close(f.Context())
	return true
}

// logged returns what the server has logged since the mark, up to now.
func (f *fixture) logged(from int64) string {
	f.Helper()
	mark := rand.Text()
	f.exec("SELECT '" + mark + "'")
	for f.Context().Err() == nil {
		text, err := os.ReadFile(f.log)
		if err != nil {
			f.Fatal(err)
		}
		if now := string(text[from:]); strings.Contains(now, mark) {
			return now
		}
	}
	f.Fatal("the server's log does not show the mark: is log_statement=all?")
	return ""
}

// logEnd is the present length of the log.
func (f *fixture) logEnd() int64 {
	f.Helper()
	info, err := os.Stat(f.log)
	if err != nil {
		f.Fatal(err)
	}
	return info.Size()
}

// waitsFor blocks until query returns true.
func (f *fixture) waitsFor(query string, args ...any) {
	f.Helper()
	for yes := false; !yes; {
		if err := f.super.QueryRow(f.Context(), query, args...).Scan(&yes); err != nil {
			f.Fatal(err)
		}
	}
}

// plainly leads to the server with TLS done beneath, so that a test can read
// and cut what pgrotate sends.
func (f *fixture) plainly(watch func(net.Conn) net.Conn) func(*Config) {
	below := f.open(f.superuser())
	return func(c *Config) {
		place, err := url.Parse(c.URL.Reveal())
		if err != nil {
			f.Fatal(err)
		}
		place.RawQuery = "sslmode=disable"
		c.URL = secret.New(place.String())
		c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := below.place.dial(ctx, "")
			if err != nil {
				return nil, err
			}
			return watch(conn), nil
		}
	}
}
