package labtest

import (
	"bufio"
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
)

// Pooler is a PgBouncer that one test has to itself.
type Pooler struct {
	Folder string // its user list is the file users there
	Port   string // of 127.0.0.1
}

// StartPooler starts PgBouncer before a server until the test has ended. users is
// its user list, settings are lines of its section [pgbouncer].
func StartPooler(t testing.TB, server *url.URL, settings, users string) Pooler {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Fatalf("PgBouncer is missing, Debian's package pgbouncer: %v", err)
	}
	folder, identity := unprivileged(t)
	p := Pooler{Folder: folder, Port: FreePort(t)}
	list := p.Write(t, "users", users)
	ini := p.Write(t, "bouncer.ini", fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %s\nauth_type = scram-sha-256\nauth_file = %s\n"+
		"unix_socket_dir =\n%s\n", server.Hostname(), server.Port(), p.Port, list, settings))
	command := exec.Command(program, ini)
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
			return p
		}
	}
	t.Fatal("PgBouncer did not come up")
	return p
}

// Write writes a file that PgBouncer may read, and returns its path.
func (p Pooler) Write(t testing.TB, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(p.Folder, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// unprivileged returns a folder of its own for a program that refuses to be root.
func unprivileged(t testing.TB) (folder string, identity *syscall.Credential) {
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

// FreePort is a port of 127.0.0.1 that nothing listens on.
func FreePort(t testing.TB) string {
	port, err := UnusedPort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// UnusedPort is FreePort outside of a test.
func UnusedPort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, err
}
