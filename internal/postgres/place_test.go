package postgres

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// greeter plays the start of a PostgreSQL server: it answers SSLRequest with
// answer, and speaks TLS where that is 'S'. It returns the certificate, which
// is for example.com and 127.0.0.1, as PEM.
func greeter(t *testing.T, answer byte) (dial func(context.Context, string, string) (net.Conn, error), certificate []byte) {
	https := httptest.NewTLSServer(nil)
	t.Cleanup(https.Close)
	serve := func(conn net.Conn) {
		defer conn.Close()
		if _, err := io.ReadFull(conn, make([]byte, 8)); err != nil {
			return
		}
		_, _ = conn.Write([]byte{answer})
		if answer == 'S' {
			conn = tls.Server(conn, https.TLS)
		}
		_, _ = io.Copy(conn, conn) // an echo shows that the way is open
	}
	dial = func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go serve(theirs)
		return ours, nil
	}
	return dial, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: https.Certificate().Raw})
}

func TestTLSRules(t *testing.T) {
	speaks, ca := greeter(t, 'S')
	mute, _ := greeter(t, 'N')
	for _, c := range []struct {
		name    string
		url     string
		ca      []byte
		dial    func(context.Context, string, string) (net.Conn, error)
		tunnel  bool
		secured bool // where there is no error
		fails   bool
	}{
		{name: "default is verify-full", url: "postgres://u@example.com", ca: ca, dial: speaks, secured: true},
		{name: "an address in the certificate", url: "postgres://u@127.0.0.1", ca: ca, dial: speaks, secured: true},
		{name: "another name", url: "postgres://u@other.org", ca: ca, dial: speaks, fails: true},
		{name: "another address", url: "postgres://u@127.0.0.2", ca: ca, dial: speaks, fails: true},
		{name: "an unknown authority", url: "postgres://u@example.com", dial: speaks, fails: true},
		{name: "no TLS on offer", url: "postgres://u@example.com", ca: ca, dial: mute, fails: true},
		{name: "require, anybody's", url: "postgres://u@other.org?sslmode=require", dial: speaks, secured: true},
		{name: "require with a CA looks at the chain", url: "postgres://u@other.org?sslmode=require", ca: ca, dial: speaks, secured: true},
		{name: "require, no TLS on offer", url: "postgres://u@example.com?sslmode=require", dial: mute, fails: true},
		{name: "require with the system's roots is verify-full", url: "postgres://u@example.com?sslmode=require&sslrootcert=system", dial: speaks, fails: true},
		{name: "verify-ca", url: "postgres://u@other.org?sslmode=verify-ca", ca: ca, dial: speaks, secured: true},
		{name: "verify-ca, an unknown authority", url: "postgres://u@other.org?sslmode=verify-ca", dial: speaks, fails: true},
		{name: "prefer", url: "postgres://u@other.org?sslmode=prefer", dial: speaks, secured: true},
		{name: "prefer, no TLS on offer", url: "postgres://u@other.org?sslmode=prefer", dial: mute},
		{name: "a tunnel with a CA", url: "postgres://u@example.com", ca: ca, dial: speaks, tunnel: true, secured: true},
		{name: "a tunnel with a CA, another name", url: "postgres://u@other.org", ca: ca, dial: speaks, tunnel: true, fails: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := Open(Config{URL: secret.New(c.url), CA: c.ca, Dial: c.dial, Tunnel: c.tunnel, Keep: secret.New})
			if err != nil {
				t.Fatal(err)
			}
			conn, err := d.place.dial(t.Context(), "")
			if (err != nil) != c.fails {
				t.Fatalf("dial: %v, want failure %v", err, c.fails)
			}
			if err != nil {
				return
			}
			defer conn.Close()
			if _, secured := conn.(*tls.Conn); secured != c.secured {
				t.Errorf("secured = %v", secured)
			}
			echoes(t, conn)
		})
	}
}

func echoes(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4)
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != "ping" {
		t.Errorf("echo %q, %v", got, err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	silent := func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		return ours, nil
	}
	d, err := open(t, "postgres://u@h", func(c *Config) { c.Dial = silent })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.place.dial(ctx, ""); err == nil {
		t.Error("dial succeeds on a server that never answers")
	}
}

// TestClearTextIsForTheServerOnly: an administrator whose password is asked for in
// clear text, as LDAP needs it, tells it to nobody who may stand in for the server.
func TestClearTextIsForTheServerOnly(t *testing.T) {
	for url, tells := range map[string]bool{
		"postgres://app:hunter2@db.example.com/db?sslmode=disable": false,
		"postgres://app:hunter2@127.0.0.1/db?sslmode=disable":      true, // a proxy of this machine
	} {
		told := false
		d, err := open(t, url, func(c *Config) {
			c.Dial = func(context.Context, string, string) (net.Conn, error) {
				return overheard{scripted(t, []pgproto3.BackendMessage{&pgproto3.AuthenticationCleartextPassword{}}), &told}, nil
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = d.Plan(t.Context(), "app")
		if told != tells || err == nil || strings.Contains(err.Error(), "in clear text") == tells {
			t.Errorf("%s: the password was sent: %v; %v", url, told, err)
		}
	}
}

// TestProvenPlaces: where the password may be told in clear text.
func TestProvenPlaces(t *testing.T) {
	_, ca := greeter(t, 'S')
	for _, c := range []struct {
		config Config
		proven bool
	}{
		{Config{URL: secret.New("postgres://u@db.example.com")}, true},
		{Config{URL: secret.New("postgres://u@db.example.com?sslmode=verify-ca"), CA: ca}, true},
		{Config{URL: secret.New("postgres://u@db.example.com?sslmode=require"), CA: ca}, true},
		{Config{URL: secret.New("postgres://u@db.example.com?sslmode=require")}, false},
		{Config{URL: secret.New("postgres://u@db.example.com?sslmode=prefer"), CA: ca}, false},
		{Config{URL: secret.New("postgres://u@/?host=/run/postgresql")}, true},
		{Config{Tunnel: true}, true},
	} {
		c.config.Keep = secret.New
		d, err := Open(c.config)
		if err != nil {
			t.Fatal(err)
		}
		if d.place.proven != c.proven {
			t.Errorf("%s: proven %t", c.config.URL.Reveal(), d.place.proven)
		}
	}
}

// overheard notices whether the password is sent.
type overheard struct {
	net.Conn
	told *bool
}

func (o overheard) Write(p []byte) (int, error) {
	*o.told = *o.told || bytes.Contains(p, []byte("hunter2"))
	return o.Conn.Write(p)
}

func TestConnectingTellsTheRemedy(t *testing.T) {
	speaks, ca := greeter(t, 'S')
	mute, _ := greeter(t, 'N')
	for _, c := range []struct {
		url  string
		ca   []byte
		dial func(context.Context, string, string) (net.Conn, error)
		hint string
	}{
		{"postgres://u:hunter2@example.com", nil, speaks, "give the authority that signed the server's certificate as `postgres-ca`"},
		{"postgres://u:hunter2@other.org", ca, speaks, "use the host name that the server's certificate is for in `postgres-url`"},
		{"postgres://u:hunter2@other.org", ca, mute, "switch TLS on in the server, or say sslmode=disable in `postgres-url` where the network is trusted"},
	} {
		d, err := Open(Config{URL: secret.New(c.url), CA: c.ca, Dial: c.dial, Keep: secret.New})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = d.Plan(t.Context(), "app")
		var e *Error
		if !errors.As(err, &e) || e.Hint() != c.hint || e.Class() != "refused" {
			t.Errorf("%s: %v, hint %q", c.url, err, e.Hint())
		}
		leaksNothing(t, err, "hunter2")
	}
}
