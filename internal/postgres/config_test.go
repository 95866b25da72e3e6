package postgres

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

func open(t *testing.T, url string, change ...func(*Config)) (*Database, error) {
	t.Helper()
	c := Config{URL: secret.New(url), Keep: secret.New}
	for _, f := range change {
		f(&c)
	}
	return Open(c)
}

func tunnel(c *Config) { c.Tunnel = true }

func TestOpenReadsWhereAndAsWhom(t *testing.T) {
	d, err := open(t, "postgres://rotator:hunter2@db.example:6000/app?connect_timeout=3&options=-c%20geqo%3Doff&application_name=mine")
	if err != nil {
		t.Fatal(err)
	}
	if d.place.address != "db.example:6000" || d.place.network != "tcp" || d.place.timeout != 3*time.Second {
		t.Errorf("place %s %s, %s", d.place.network, d.place.address, d.place.timeout)
	}
	if d.admin.User != "rotator" || d.admin.Password.Reveal() != "hunter2" || d.base.Database != "app" || d.options != "-c geqo=off" {
		t.Errorf("administrator %q of database %q, options %q", d.admin.User, d.base.Database, d.options)
	}
	if got := d.base.RuntimeParams["application_name"]; got != "pgrotate" {
		t.Errorf("application name %q", got)
	}
}

func TestOpenDefaults(t *testing.T) {
	for _, c := range []struct {
		name, url     string
		change        func(*Config)
		address, user string
		database      string
		tls           bool
	}{
		{"a host and a user", "postgres://u@h", nil, "h:5432", "u", "u", true},
		{"keywords", "host=h user=u dbname=d", nil, "h:5432", "u", "d", true},
		{"an IPv6 address", "postgres://u@[::1]/d", nil, "[::1]:5432", "u", "d", true},
		{"a socket", "postgres:///d?host=/run/x&user=u", nil, "/run/x/.s.PGSQL.5432", "u", "d", false},
		{"a tunnel alone", "", tunnel, "localhost:5432", "postgres", "postgres", false},
		{"a tunnel and a user", "postgres://u@", tunnel, "localhost:5432", "u", "u", false},
		{"a tunnel and a host", "postgres://u@db/d", tunnel, "db:5432", "u", "d", false},
		{"a tunnel and sslmode", "postgres://u@db/d?sslmode=verify-full", tunnel, "db:5432", "u", "d", true},
	} {
		if c.change == nil {
			c.change = func(*Config) {}
		}
		d, err := open(t, c.url, c.change)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if d.place.address != c.address || d.admin.User != c.user || d.base.Database != c.database || (d.place.tls != nil) != c.tls {
			t.Errorf("%s: %s, %q, %q, TLS %v", c.name, d.place.address, d.admin.User, d.base.Database, d.place.tls != nil)
		}
	}
}

func TestOpenTakesThePasswordFromBesideTheURL(t *testing.T) {
	for url, want := range map[string]string{"postgres://u@h": "beside", "postgres://u:within@h": "within"} {
		d, err := open(t, url, func(c *Config) { c.Password = secret.New("beside") })
		if err != nil || d.admin.Password.Reveal() != want {
			t.Errorf("%s: %v, password is not %q", url, err, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hunter2.pem")
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"":                                             "read `postgres-url`: it is empty",
		"postgres://u:hunter2@":                        "read `postgres-url`: it names no host",
		"postgres://:hunter2@h":                        "read `postgres-url`: it names no user",
		"postgres://u:hunter2@h:0":                     "read `postgres-url`: the port is not a number from 1 to 65535",
		"postgres://u:hunter2@h:hunter2":               "read `postgres-url`: the port is not a number from 1 to 65535",
		"postgres://u:hunter2@a,b":                     "read `postgres-url`: it names several hosts: name the primary only",
		"postgres://u@h?connect_timeout=-1":            "read `postgres-url`: connect_timeout is not a number of seconds",
		"postgres://u@h?sslmode=hunter2":               "read `postgres-url`: sslmode is none of disable, allow, prefer, require, verify-ca, verify-full",
		"postgres://u@h?target_session_attrs=standby":  "read `postgres-url`: target_session_attrs asks for a standby: a password changes on the primary only",
		"postgres://u@h?sslrootcert=/none/hunter2":     "read sslrootcert of `postgres-url`: no such file or directory",
		"postgres://u@h?sslrootcert=" + file:           "read sslrootcert of `postgres-url`: it holds no certificate",
		"postgres://u@h?sslcert=/hunter2&sslkey=/none": "read sslcert and sslkey of `postgres-url`: no such file or directory",
		"postgres://:hunter2@a,b:0":                    "read `postgres-url`: it names several hosts: name the primary only\nread `postgres-url`: it names no user\nread `postgres-url`: the port is not a number from 1 to 65535",
	} {
		_, err := open(t, url)
		if err == nil || err.Error() != want {
			t.Errorf("Open(%q): %v, want %s", url, err, want)
		}
	}
	if _, err := open(t, "postgres://u@h", func(c *Config) { c.CA = []byte("x") }); err == nil || err.Error() != "read `postgres-ca`: it holds no certificate" {
		t.Errorf("a CA that is none: %v", err)
	}
}

func TestOpenIgnoresTheEnvironment(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".pgpass"), []byte("*:*:*:*:leaked\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	for _, name := range strings.Fields("PGHOST PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGAPPNAME PGCONNECT_TIMEOUT PGSSLMODE PGSSLKEY PGSSLCERT PGSSLCERTMODE PGSSLSNI " +
		"PGSSLROOTCERT PGSSLPASSWORD PGSSLNEGOTIATION PGTARGETSESSIONATTRS PGSERVICEFILE PGTZ PGOPTIONS PGMINPROTOCOLVERSION PGMAXPROTOCOLVERSION PGCHANNELBINDING PGREQUIREAUTH") {
		t.Setenv(name, "leaked")
	}
	d, err := open(t, "postgres://u@h/d")
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v %+v %+v", d.base.Config, d.place, d.options); strings.Contains(text, "leaked") || !d.admin.Password.IsZero() {
		t.Errorf("the environment got into the connection: %s", text)
	}
	t.Setenv("PGSERVICE", "leaked")
	if _, err := open(t, "postgres://u@h/d"); err == nil || !strings.Contains(err.Error(), "unset PGSERVICE") {
		t.Errorf("with PGSERVICE: %v", err)
	}
}

func TestDatabasePrintsNoSecret(t *testing.T) {
	d, err := open(t, "postgres://u:hunter2@h/d")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(verb+verb+verb, d, d.base.Config, d.admin); strings.Contains(text, "hunter2") {
			t.Errorf("%s shows the password: %s", verb, text)
		}
	}
}
