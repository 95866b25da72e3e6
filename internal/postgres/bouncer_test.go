package postgres

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// bouncer is a PgBouncer that one test has to itself.
type bouncer struct {
	*testing.T
	folder, port string
	console      secret.Credential // of whoever may give it commands
}

// newBouncer starts PgBouncer before a server until the test has ended. Its user
// list has those who are listed, and its own administrator.
func newBouncer(t *testing.T, server *url.URL, settings string, users ...string) *bouncer {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Fatalf("PgBouncer is missing, Debian's package pgbouncer: %v", err)
	}
	folder, identity := unprivileged(t)
	b := &bouncer{T: t, folder: folder, port: freePort(t), console: secret.Credential{User: "console", Password: secret.New("console")}}
	b.list(users...)
	b.write("bouncer.ini", fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %s\nauth_type = scram-sha-256\nauth_file = %s\n"+
		"unix_socket_dir =\nserver_login_retry = 1\nadmin_users = %s\n%s\n", server.Hostname(), server.Port(), b.port, filepath.Join(folder, "users"), b.console.User, settings))
	command := exec.Command(program, filepath.Join(folder, "bouncer.ini"))
	command.SysProcAttr = &syscall.SysProcAttr{Credential: identity, Pdeathsig: syscall.SIGKILL}
	said, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if strings.Contains(lines.Text(), "process up") {
			go func() { _, _ = io.Copy(io.Discard, said) }() // so that the pipe does not fill
			return b
		}
	}
	t.Fatal("PgBouncer did not come up")
	return nil
}

func (b *bouncer) write(name, text string) {
	b.Helper()
	if err := os.WriteFile(filepath.Join(b.folder, name), []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

// list replaces the user list by another file, as the kubelet does with the
// files of a Secret. One that is rewritten within a second, at the same length,
// PgBouncer takes for the same even when it is told to RELOAD.
func (b *bouncer) list(users ...string) {
	b.Helper()
	b.write("users.new", strings.Join(append(users, listed(b.console.User, b.console.Password)), ""))
	if err := os.Rename(filepath.Join(b.folder, "users.new"), filepath.Join(b.folder, "users")); err != nil {
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
	place := url.URL{Scheme: "postgres", User: url.UserPassword(c.User, c.Password.Reveal()), Host: net.JoinHostPort("127.0.0.1", b.port), Path: database, RawQuery: "sslmode=disable"}
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

// unprivileged returns a folder of its own for a program that refuses to be root.
func unprivileged(t *testing.T) (folder string, identity *syscall.Credential) {
	folder = t.TempDir()
	if os.Getuid() != 0 {
		return folder, nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(nobody.Uid)
	gid, _ := strconv.Atoi(nobody.Gid)
	for path := folder; path != os.TempDir(); path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return folder, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
