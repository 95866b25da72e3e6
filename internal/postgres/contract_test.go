package postgres_test

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/postgres"
	"github.com/pgrotate/pgrotate/internal/rotation/rotationtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// contract is one server as its superuser sees it.
type contract struct {
	t     *testing.T
	place *url.URL
	super *pgx.Conn
}

// TestContract holds a Database to the promises of the runbook, in each way in
// which it can judge a password.
func TestContract(t *testing.T) {
	lab := labtest.Open(t)
	for _, c := range []struct{ name, server, administrator string }{
		{"ByLogin", lab.PostgresURL, "CREATEROLE NOINHERIT"},
		{"BySalt", lab.PostgresURL, "SUPERUSER"},
		{"ByStoredVerifier", lab.PostgresTrustURL, "SUPERUSER"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.server == "" {
				t.Fatal("the lab has no such server")
			}
			rotationtest.TestDatabase(t, func(t *testing.T) rotationtest.Database {
				return connect(t, c.server).database(c.administrator)
			})
		})
	}
}

// TestLockoutContract does the same for an emergency, with the rights that this
// takes.
func TestLockoutContract(t *testing.T) {
	lab := labtest.Open(t)
	for _, c := range []struct{ name, server, administrator string }{
		{"ByLogin", lab.PostgresURL, "CREATEROLE"},
		{"BySalt", lab.PostgresURL, "SUPERUSER"},
		{"ByStoredVerifier", lab.PostgresTrustURL, "SUPERUSER"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rotationtest.TestLockout(t, func(t *testing.T) rotationtest.Lockout {
				return connect(t, c.server).lockout(c.administrator)
			})
		})
	}
}

// TestTwinsContract does the same for two login roles that take turns.
func TestTwinsContract(t *testing.T) {
	lab := labtest.Open(t)
	for _, c := range []struct{ name, server, administrator string }{
		{"ByLogin", lab.PostgresURL, "CREATEROLE NOINHERIT"},
		{"BySalt", lab.PostgresURL, "SUPERUSER"},
		{"ByStoredVerifier", lab.PostgresTrustURL, "SUPERUSER"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rotationtest.TestTwins(t, func(t *testing.T) rotationtest.Twins {
				return connect(t, c.server).twins(c.administrator)
			})
		})
	}
}

func connect(t *testing.T, server string) *contract {
	place, err := url.Parse(server)
	if err != nil {
		t.Fatal("the lab's URL is none")
	}
	super, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = super.Close(context.Background()) })
	return &contract{t: t, place: place, super: super}
}

// database is a new role and a new administrator, in two processes.
func (c *contract) database(administrator string) rotationtest.Database {
	one, other, app, admin := c.processes(administrator)
	return c.described(one, other, app, admin)
}

func (c *contract) processes(administrator string) (one, other *postgres.Database, app, admin secret.Credential) {
	app, admin = c.role("contract_app", ""), c.role("contract_admin", administrator)
	if c.major() >= 16 {
		c.exec("GRANT " + name(app) + " TO " + name(admin) + " WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
	}
	return c.open(admin), c.open(admin), app, admin
}

func (c *contract) described(one, other *postgres.Database, app, admin secret.Credential) rotationtest.Database {
	return rotationtest.Database{Lock: one, Database: one, Other: other, Role: app.User, Current: app,
		Cut: func() { c.cut(admin) }, Keep: secret.New}
}

// lockout is database with the right to end sessions.
func (c *contract) lockout(administrator string) rotationtest.Lockout {
	one, other, app, admin := c.processes(administrator)
	c.exec("GRANT pg_signal_backend TO " + name(admin))
	return rotationtest.Lockout{Database: c.described(one, other, app, admin), Lockout: one, Breaker: other,
		Session:  func(as secret.Credential) func() bool { return c.session(as, "SELECT 1") },
		Stranger: func() func() bool { return c.session(app, lockOn(app.User)) }}
}

// twins is database with the name of a twin, which goes with its base.
func (c *contract) twins(administrator string) rotationtest.Twins {
	one, other, app, admin := c.processes(administrator)
	twin := secret.Credential{User: app.User + "_alt"}
	c.t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), c.place.String())
		if err != nil {
			c.t.Error(err)
			return
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), "DROP ROLE IF EXISTS "+name(twin)); err != nil {
			c.t.Errorf("drop role %q: %v", twin.User, err)
		}
	})
	return rotationtest.Twins{Database: c.described(one, other, app, admin), Twins: one, Retirement: one, Twin: twin.User,
		Session: func(as secret.Credential) func() bool { return c.session(as, "SELECT 1") }}
}

// lockOn takes the lock as pgrotate does: its key is the start of a SHA-256.
func lockOn(role string) string {
	return `SELECT pg_advisory_lock(('x' || left(encode(sha256('\x7067726f7461746500'::bytea || convert_to('` + role + `', 'UTF8')), 'hex'), 16))::bit(64)::bigint)`
}

// session opens one that does something first, and lives until the test ends.
func (c *contract) session(as secret.Credential, first string) (alive func() bool) {
	c.t.Helper()
	place := *c.place
	place.User = url.UserPassword(as.User, as.Password.Reveal())
	conn, err := pgx.Connect(c.t.Context(), place.String())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if _, err := conn.Exec(c.t.Context(), first); err != nil {
		c.t.Fatal(err)
	}
	return func() bool { return conn.Ping(c.t.Context()) == nil }
}

// open is what one process knows of the server.
func (c *contract) open(admin secret.Credential) *postgres.Database {
	c.t.Helper()
	place := *c.place
	place.User = url.User(admin.User)
	d, err := postgres.Open(postgres.Config{URL: secret.New(place.String()), Password: admin.Password, Keep: secret.New})
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

// role makes a role whose verifier the server itself computes.
func (c *contract) role(kind, attributes string) secret.Credential {
	c.t.Helper()
	made := secret.Credential{User: kind + "_" + strings.ToLower(rand.Text()), Password: secret.New(rand.Text())}
	c.exec("CREATE ROLE " + name(made) + " LOGIN " + attributes + " PASSWORD '" + made.Password.Reveal() + "'")
	c.t.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), c.place.String())
		if err != nil {
			c.t.Error(err)
			return
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), "DROP OWNED BY "+name(made)+"; DROP ROLE "+name(made), pgx.QueryExecModeSimpleProtocol); err != nil {
			c.t.Errorf("drop role %q: %v", made.User, err)
		}
	})
	return made
}

func name(c secret.Credential) string { return pgx.Identifier{c.User}.Sanitize() }

func (c *contract) exec(sql string) {
	c.t.Helper()
	if _, err := c.super.Exec(c.t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		c.t.Fatalf("%.40s...: %v", sql, err)
	}
}

func (c *contract) major() (version int) {
	c.t.Helper()
	if err := c.super.QueryRow(c.t.Context(), "SELECT current_setting('server_version_num')::int / 10000").Scan(&version); err != nil {
		c.t.Fatal(err)
	}
	return version
}

// cut ends the session in which the administrator holds the lock, and returns
// when it is gone. The session is found first and ended by a statement of its
// own: in one query the server may call pg_terminate_backend before it filters,
// and end the sessions of everybody.
func (c *contract) cut(admin secret.Credential) {
	c.t.Helper()
	rows, err := c.super.Query(c.t.Context(), `SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid
		WHERE a.usename = $1 AND l.locktype = 'advisory' AND l.granted`, admin.User)
	if err != nil {
		c.t.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil || len(pids) != 1 {
		c.t.Fatalf("%d sessions of %q hold a lock, want 1: %v", len(pids), admin.User, err)
	}
	var gone bool
	if err := c.super.QueryRow(c.t.Context(), "SELECT pg_terminate_backend($1, 60000)", pids[0]).Scan(&gone); err != nil || !gone {
		c.t.Fatalf("end the session that holds the lock: ended %v: %v", gone, err)
	}
}
