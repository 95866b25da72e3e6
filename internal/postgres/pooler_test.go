package postgres

import (
	"bufio"
	"fmt"
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
	port := bouncer(t, f)
	return func(c *Config) {
		place, err := url.Parse(c.URL.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		place.Host, place.RawQuery = "127.0.0.1:"+port, "sslmode=disable"
		c.URL = secret.New(place.String())
	}
}

// bouncer starts PgBouncer before the server and returns its port.
func bouncer(t *testing.T, f *fixture) string {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Fatalf("the lab needs PgBouncer: %v", err)
	}
	folder, identity := unprivileged(t)
	port := freePort(t)
	super := f.superuser()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	users := write("users", fmt.Sprintf("%q %q\n", super.User, super.Password.Reveal()))
	settings := write("bouncer.ini", fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %s\nauth_type = scram-sha-256\nauth_file = %s\n"+
		"unix_socket_dir =\npool_mode = transaction\nserver_tls_sslmode = prefer\n", f.url.Hostname(), f.url.Port(), port, users))
	command := exec.Command(program, settings)
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
			return port
		}
	}
	t.Fatal("PgBouncer did not come up")
	return ""
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

// freePort is a port of 127.0.0.1 that nothing listens on.
func freePort(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
