package postgres

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// TestPoolerIsRefused reaches the server through a real PgBouncer, which hands
// out a session that is not the one that the next statement runs in.
func TestPoolerIsRefused(t *testing.T) {
	f := newFixture(t)
	d := f.open(f.superuser(), throughBouncer(t, f))
	for name, call := range map[string]func() error{
		"Plan":    func() error { _, _, err := d.Plan(t.Context(), f.app.User); return err },
		"Acquire": func() error { _, _, err := d.Acquire(t.Context(), f.app.User, time.Minute); return err },
		"Holds":   func() error { _, err := d.Holds(t.Context(), f.app); return err },
	} {
		if err := call(); classOf(err) != "refused" || !strings.Contains(err.Error(), "pooler") || hintOf(err) == "" {
			t.Errorf("%s: %v (class %q, hint %q)", name, err, classOf(err), hintOf(err))
		}
	}
}

func throughBouncer(t *testing.T, f *fixture) func(*Config) {
	super := f.superuser()
	port := newBouncer(t, f.url, "pool_mode = transaction\nserver_tls_sslmode = prefer", listed(super.User, super.Password)).Port
	return func(c *Config) {
		place, err := url.Parse(c.URL.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		place.Host, place.RawQuery = "127.0.0.1:"+port, "sslmode=disable"
		c.URL = secret.New(place.String())
	}
}

// rotated is a role of a server of the test's own, as an administrator rotates it.
type rotated struct {
	*fixture
	d            *Database
	former, next secret.Credential // each with the verifier that the database has for it, or gets
}

func newRotated(t *testing.T, s *labtest.Server, superuser bool) *rotated {
	t.Helper()
	r := &rotated{fixture: fixtureAt(t, s.URL(), "")}
	administrator := r.admin
	if superuser {
		administrator = r.superuser()
	}
	r.d, r.former, r.next = r.locked(administrator), r.app, r.fresh()
	var err error
	if r.former.Verifier, err = r.d.Stored(t.Context(), r.former); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rotated) set(c secret.Credential) {
	r.Helper()
	if _, err := r.d.Set(r.Context(), c); err != nil {
		r.Fatal(err)
	}
}

// TestServicesBehindAPooler is what docs/pgbouncer.md tells, with an administrator
// who may read the verifier, and with one for whom it is rebuilt from the password
// and the salt that the server shows.
func TestServicesBehindAPooler(t *testing.T) {
	t.Parallel()
	s := labtest.NewServer(t)
	for name, test := range map[string]func(*testing.T, *rotated){
		"ListOfVerifiers": listOfVerifiers, "ReloadWithTLS": reloadWithTLS, "ExactWayBack": exactWayBack, "AsksTheServer": asksTheServer,
	} {
		t.Run(name+"/Read", func(t *testing.T) { test(t, newRotated(t, s, true)) })
		t.Run(name+"/Rebuilt", func(t *testing.T) { test(t, newRotated(t, s, false)) })
	}
}

// listOfVerifiers is the life of a user list.
func listOfVerifiers(t *testing.T, r *rotated) {
	b := newBouncer(t, r.url, "server_tls_sslmode = disable", listed(r.former.User, r.former.Verifier))
	first := b.opens(r.former)
	r.set(r.next)
	if now := b.opens(r.former); now != first {
		t.Error("the former password has opened another connection to the server")
	}
	b.refuses(r.next, byBouncer)
	b.list(listed(r.next.User, r.next.Verifier))
	b.refuses(r.next, byBouncer)
	b.tell("RELOAD")
	b.refuses(r.former, byBouncer)
	if now := b.opens(r.next); now != first {
		t.Error("without RECONNECT the connection to the server is another one")
	}
	b.tell("RECONNECT")
	if now := b.opens(r.next); now == first {
		t.Error("RECONNECT has left the connection to the server")
	}
}

// reloadWithTLS closes connections to the server where PgBouncer may use TLS for them.
func reloadWithTLS(t *testing.T, r *rotated) {
	b := newBouncer(t, r.url, "server_tls_sslmode = prefer", listed(r.former.User, r.former.Verifier))
	first := b.opens(r.former)
	r.set(r.next)
	b.list(listed(r.next.User, r.next.Verifier))
	b.tell("RELOAD")
	if now := b.opens(r.next); now == first {
		t.Error("RELOAD has left the connection to the server")
	}
}

// exactWayBack goes forward and back behind a user list that nobody touches: only
// the former verifier fits to it, not another of the same password.
func exactWayBack(t *testing.T, r *rotated) {
	was := r.stored(r.former.User)
	b := newBouncer(t, r.url, "server_tls_sslmode = disable", listed(r.former.User, secret.New(was)))
	b.opens(r.former)
	r.set(r.next)
	b.tell("RECONNECT")
	b.refuses(r.former, byServer)
	other := r.former
	other.Verifier = secret.New(scram(other.Password.Reveal(), newSalting(leastIterations)))
	r.set(other)
	if !r.opensDoor(r.former) {
		t.Fatal("the former password is not back")
	}
	if _, err := b.reach(r.former); err == nil {
		t.Fatal("PgBouncer gets in with another verifier than the server's: this test shows nothing")
	}
	r.set(r.former)
	if r.stored(r.former.User) != was {
		t.Error("the verifier is not the former one, bit for bit")
	}
	b.opensAgain(r.former)
}

// asksTheServer is auth_query: the password is the server's at once.
func asksTheServer(t *testing.T, r *rotated) {
	lookup := r.newRole("lookup", "LOGIN")
	r.exec(`CREATE OR REPLACE FUNCTION lookup(INOUT name text, OUT verifier text) LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
		AS 'SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = $1'`)
	b := newBouncer(t, r.url, "server_tls_sslmode = disable\nauth_user = "+lookup.User+"\nauth_query = SELECT name, verifier FROM lookup($1)", listed(lookup.User, lookup.Password))
	first := b.opens(r.former)
	r.set(r.next)
	b.refuses(r.former, byBouncer)
	if now := b.opens(r.next); now != first {
		t.Error("without RECONNECT the connection to the server is another one")
	}
	b.tell("RECONNECT")
	if now := b.opens(r.next); now == first {
		t.Error("RECONNECT has left the connection to the server")
	}
	r.set(r.former)
	b.refuses(r.next, byBouncer)
	b.opens(r.former)
}
