package postgres

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/labtest"
)

// server is a PostgreSQL that one test has to itself: for what it must not do
// to a server that others use, such as giving it standbys.
type server struct {
	*testing.T
	folder string // of its data
	port   string
	owner  *syscall.Credential // whom it runs as
}

// binaries are where Debian installs PostgreSQL's programs, which the lab needs too.
func binaries(t *testing.T) string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		t.Fatal("PostgreSQL's programs are missing, Debian's package postgresql")
	}
	return filepath.Dir(found[len(found)-1])
}

// newServer makes an empty server that asks everybody for a SCRAM proof, and
// ends it after the test.
func newServer(t *testing.T) *server {
	t.Helper()
	s := prepare(t)
	s.do("initdb", "-D", s.folder, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
	s.write("pg_hba.conf", "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost replication postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
	s.start()
	return s
}

func prepare(t *testing.T) *server {
	t.Helper()
	if labtest.Open(t).PostgresLog == "" {
		t.Skip("needs a lab that runs PostgreSQL itself")
	}
	owner, err := user.Lookup("postgres")
	if err != nil || os.Getuid() != 0 {
		t.Fatal("root and the user postgres are missing: PostgreSQL does not run as root")
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	base, err := os.MkdirTemp("/tmp", "pgrotate-server-") // the folder of the test belongs to root
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	if err := os.Chown(base, uid, gid); err != nil {
		t.Fatal(err)
	}
	return &server{T: t, folder: filepath.Join(base, "data"), port: labtest.FreePort(t), owner: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func (s *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.WithoutCancel(s.Context()), filepath.Join(binaries(s.T), name), args...)
	cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Credential: s.owner}, "/tmp"
	return cmd
}

func (s *server) do(name string, args ...string) {
	s.Helper()
	if out, err := s.command(name, args...).CombinedOutput(); err != nil {
		s.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// write replaces a file of the data folder.
func (s *server) write(name, text string) {
	s.Helper()
	path := filepath.Join(s.folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
	if err := os.Chown(path, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
		s.Fatal(err)
	}
}

// start runs the server until the test has ended, and waits until it answers.
func (s *server) start(settings ...string) {
	s.Helper()
	args := []string{"-D", s.folder, "-p", s.port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + filepath.Dir(s.folder), "-c", "fsync=off"}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	cmd := s.command("postgres", args...)
	log, err := os.Create(s.folder + ".log")
	if err != nil {
		s.Fatal(err)
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	s.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		<-ended
	})
	for deadline := time.Now().Add(time.Minute); ; <-time.After(100 * time.Millisecond) {
		conn, err := pgx.Connect(s.Context(), s.url())
		if err == nil {
			_ = conn.Close(s.Context())
			return
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(s.folder + ".log")
			s.Fatalf("the server does not answer: %v\n%s", err, text)
		}
	}
}

// url reaches it as its superuser, whom it asks for no password.
func (s *server) url() string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", s.place())
}

// session executes statements as the superuser.
func (s *server) session() func(sql string) {
	s.Helper()
	conn, err := pgx.Connect(s.Context(), s.url())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = conn.Close(context.Background()) })
	return func(sql string) {
		s.Helper()
		if _, err := conn.Exec(s.Context(), sql); err != nil {
			s.Fatal(err)
		}
	}
}

// configure changes a setting for all sessions that begin from now on.
func (s *server) configure(name, value string) {
	s.Helper()
	do := s.session()
	do("ALTER SYSTEM SET " + name + " = " + constant(value))
	do("SELECT pg_reload_conf()")
	for now := ""; now != value; <-time.After(10 * time.Millisecond) {
		conn, err := pgx.Connect(s.Context(), s.url())
		if err == nil {
			err = conn.QueryRow(s.Context(), "SELECT current_setting($1)", name).Scan(&now)
			_ = conn.Close(s.Context())
		}
		if err != nil {
			s.Fatal(err)
		}
	}
}

func (s *server) place() string { return net.JoinHostPort("127.0.0.1", s.port) }

// standby makes a streaming standby of the server that replays late.
func (s *server) standby(name string, delay time.Duration) *server {
	s.Helper()
	b := prepare(s.T)
	b.do("pg_basebackup", "-h", "127.0.0.1", "-p", s.port, "-U", "postgres", "-D", b.folder, "-c", "fast", "-R", "--no-sync")
	b.start("hot_standby=on", "cluster_name="+name, fmt.Sprintf("recovery_min_apply_delay=%d", delay.Milliseconds()))
	return b
}
