package labtest

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
)

// Pooler starts PgBouncer before the server of that URL, which it knows the user
// of, and returns its port.
func Pooler(t testing.TB, server string) (port string) {
	t.Helper()
	place, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		t.Fatalf("the lab needs PgBouncer: %v", err)
	}
	folder, identity := unprivileged(t)
	port = FreePort(t)
	password, _ := place.User.Password()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	users := write("users", fmt.Sprintf("%q %q\n", place.User.Username(), password))
	settings := write("bouncer.ini", fmt.Sprintf("[databases]\n* = host=%s port=%s\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %s\nauth_type = scram-sha-256\nauth_file = %s\n"+
		"unix_socket_dir =\npool_mode = transaction\nserver_tls_sslmode = prefer\n", place.Hostname(), place.Port(), port, users))
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
