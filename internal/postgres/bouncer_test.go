package postgres

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// bouncer is a PgBouncer with its console.
type bouncer struct {
	*testing.T
	labtest.Pooler
	console secret.Credential // of whoever may give it commands
}

// newBouncer starts PgBouncer before a server until the test has ended. Its user
// list has those who are listed, and its own administrator.
func newBouncer(t *testing.T, server *url.URL, settings string, users ...string) *bouncer {
	t.Helper()
	b := &bouncer{T: t, console: secret.Credential{User: "console", Password: secret.New("console")}}
	settings = "server_login_retry = 1\nadmin_users = " + b.console.User + "\n" + settings
	b.Pooler = labtest.StartPooler(t, server, settings, b.users(users))
	return b
}

func (b *bouncer) users(named []string) string {
	return strings.Join(append(named, listed(b.console.User, b.console.Password)), "")
}

// list replaces the user list by another file, as the kubelet does with the
// files of a Secret. One that is rewritten within a second, at the same length,
// PgBouncer takes for the same even when it is told to RELOAD.
func (b *bouncer) list(users ...string) {
	b.Helper()
	written := b.Write(b.T, "users.new", b.users(users))
	if err := os.Rename(written, filepath.Join(b.Folder, "users")); err != nil {
		b.Fatal(err)
	}
}

// listed is a line of the user list, with a password or a verifier.
func listed(user string, what secret.Value) string {
	return fmt.Sprintf("%q %q\n", user, what.Reveal())
}

// tell gives PgBouncer a command on its console.
func (b *bouncer) tell(command string) {
	b.Helper()
	conn, err := b.connect("pgbouncer", b.console)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(b.Context()))
	if _, err := conn.Exec(b.Context(), command, pgx.QueryExecModeSimpleProtocol); err != nil {
		b.Fatalf("%s: %v", command, err)
	}
}

func (b *bouncer) connect(database string, c secret.Credential) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	place := url.URL{Scheme: "postgres", User: url.UserPassword(c.User, c.Password.Reveal()), Host: net.JoinHostPort("127.0.0.1", b.Port), Path: database, RawQuery: "sslmode=disable"}
	return pgx.Connect(ctx, place.String())
}

// reach logs in through PgBouncer and returns the process of the server that answers.
func (b *bouncer) reach(c secret.Credential) (pid int, err error) {
	conn, err := b.connect("postgres", c)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(b.Context()))
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Second)
	defer cancel()
	return pid, conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid)
}

// opens is reach for a login that must succeed.
func (b *bouncer) opens(c secret.Credential) (pid int) {
	b.Helper()
	pid, err := b.reach(c)
	if err != nil {
		b.Fatal(err)
	}
	return pid
}

// Who refuses a login, by what the client is told.
const (
	byBouncer = "SASL authentication failed"
	byServer  = "password authentication failed"
)

func (b *bouncer) refuses(c secret.Credential, by string) {
	b.Helper()
	if _, err := b.reach(c); err == nil || !strings.Contains(err.Error(), by) {
		b.Fatalf("want %q: %v", by, err)
	}
}

// opensAgain waits until PgBouncer tries the server again that has refused it.
func (b *bouncer) opensAgain(c secret.Credential) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(100 * time.Millisecond) {
		_, err := b.reach(c)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			b.Fatal(err)
		}
	}
}
