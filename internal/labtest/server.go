package labtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
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
)

// Server is a PostgreSQL that one test has to itself: for what it must not do
// to a server that others use, such as giving it standbys.
type Server struct {
	*testing.T
	folder string // of its data
	port   string
	owner  *syscall.Credential // whom it runs as
}

// binaries are those that the lab names, or where Debian installs PostgreSQL's
// programs, which the lab needs too.
func binaries(t *testing.T) string {
	if named := Open(t).PostgresPrograms; named != "" {
		return named
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		t.Fatal("PostgreSQL's programs are missing, Debian's package postgresql")
	}
	return filepath.Dir(found[len(found)-1])
}

// NewServer makes an empty server that asks everybody for a SCRAM proof, and
// ends it after the test.
func NewServer(t *testing.T) *Server {
	t.Helper()
	s := prepare(t)
	s.do("initdb", "-D", s.folder, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
	s.Write("pg_hba.conf", "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost replication postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
	s.start()
	return s
}

func prepare(t *testing.T) *Server {
	t.Helper()
	OwnServer(t)
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
	return &Server{T: t, folder: filepath.Join(base, "data"), port: FreePort(t), owner: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.WithoutCancel(s.Context()), filepath.Join(binaries(s.T), name), args...)
	cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Credential: s.owner}, "/tmp"
	return cmd
}

func (s *Server) do(name string, args ...string) {
	s.Helper()
	if out, err := s.command(name, args...).CombinedOutput(); err != nil {
		s.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// Write replaces a file of the data folder.
func (s *Server) Write(name, text string) {
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
func (s *Server) start(settings ...string) {
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
		conn, err := pgx.Connect(s.Context(), s.URL())
		if err == nil {
			_ = conn.Close(s.Context())
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("the server does not answer: %v\n%s", err, s.Logged())
		}
	}
}

// URL reaches it as its superuser, whom it asks for no password.
func (s *Server) URL() string {
	return fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", s.Place())
}

// Session executes statements as the superuser.
func (s *Server) Session() func(sql string) {
	s.Helper()
	conn, err := pgx.Connect(s.Context(), s.URL())
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

// Configure changes a setting for all sessions that begin from now on.
func (s *Server) Configure(name, value string) {
	s.Helper()
	do := s.Session()
	do("ALTER SYSTEM SET " + name + " = " + "'" + strings.ReplaceAll(value, "'", "''") + "'")
	do("SELECT pg_reload_conf()")
	for now := ""; now != value; <-time.After(10 * time.Millisecond) {
		conn, err := pgx.Connect(s.Context(), s.URL())
		if err == nil {
			err = conn.QueryRow(s.Context(), "SELECT current_setting($1)", name).Scan(&now)
			_ = conn.Close(s.Context())
		}
		if err != nil {
			s.Fatal(err)
		}
	}
}

// Logged is what the server has written to its standard error so far.
func (s *Server) Logged() string {
	s.Helper()
	text, err := os.ReadFile(s.folder + ".log")
	if err != nil {
		s.Fatal(err)
	}
	return string(text)
}

// Place is its host and port.
func (s *Server) Place() string { return net.JoinHostPort("127.0.0.1", s.port) }

// Standby makes a streaming standby of the server that replays late.
func (s *Server) Standby(name string, delay time.Duration) *Server {
	s.Helper()
	b := prepare(s.T)
	s.backUp(b)
	b.Write("standby.signal", "")
	b.start("hot_standby=on", "cluster_name="+name, fmt.Sprintf("recovery_min_apply_delay=%d", delay.Milliseconds()),
		fmt.Sprintf("primary_conninfo=host=127.0.0.1 port=%s user=postgres", s.port))
	return b
}

// backUp makes b's data folder of the running server's, see "Making a Base Backup
// Using the Low Level API" in PostgreSQL's manual: pg_basebackup takes no server
// that is newer than itself, and not every package of PostgreSQL has it.
func (s *Server) backUp(b *Server) {
	s.Helper()
	conn, err := pgx.Connect(s.Context(), s.URL())
	if err != nil {
		s.Fatal(err)
	}
	defer conn.Close(context.Background())
	begin, end := "SELECT pg_backup_start('standby', true)", "SELECT labelfile FROM pg_backup_stop()"
	if strings.HasPrefix(conn.PgConn().ParameterStatus("server_version"), "14.") {
		begin, end = "SELECT pg_start_backup('standby', true, false)", "SELECT labelfile FROM pg_stop_backup(false)"
	}
	if _, err := conn.Exec(s.Context(), begin); err != nil {
		s.Fatal(err)
	}
	if err := filepath.WalkDir(s.folder, b.copyFrom(s.folder)); err != nil {
		s.Fatal(err)
	}
	var label string
	if err := conn.QueryRow(s.Context(), end).Scan(&label); err != nil {
		s.Fatal(err)
	}
	b.Write("backup_label", label)
}

// copyFrom copies what it visits of a data folder in use, without the WAL, which
// a standby streams. Files come and go meanwhile.
func (s *Server) copyFrom(folder string) fs.WalkDirFunc {
	return func(path string, entry fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, folder)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case entry.IsDir():
			to := filepath.Join(s.folder, name)
			return errors.Join(os.MkdirAll(to, 0o700), os.Chown(to, int(s.owner.Uid), int(s.owner.Gid)))
		case name == "/postmaster.pid" || strings.HasPrefix(name, "/pg_wal/"):
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			s.Write(name, string(text))
		}
		return err
	}
}
