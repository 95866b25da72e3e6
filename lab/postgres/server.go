// Package postgres runs PostgreSQL servers, Debian's or another, as an
// unprivileged user, on 127.0.0.1 only.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/lab/cgroup"
	"github.com/pgrotate/pgrotate/lab/pki"
	"github.com/pgrotate/pgrotate/lab/process"
)

// Programs is the folder of PostgreSQL 15's programs in Debian.
const Programs = "/usr/lib/postgresql/15/bin"

// The contents of pg_hba.conf, see "The pg_hba.conf File" in PostgreSQL's manual.
const (
	// Scram asks everyone for a password.
	Scram = `
host all         all all scram-sha-256
host replication all all scram-sha-256
`
	// Trust is what the official container image has: nobody on 127.0.0.1 is
	// asked, and that is where a tunnel into the pod comes out.
	Trust = `
host all         all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
host all         all all          scram-sha-256
`
)

// Server is the part that runs one server.
type Server struct {
	Name      string         // required
	Folder    string         // required
	Port      int            // required
	HBA       string         // required
	Authority *pki.Authority // required; signs the server's certificate
	Programs  string         // folder of its programs; empty: Debian's
}

func (s Server) process(as *syscall.Credential) process.Process {
	return process.Process{
		Name: s.Name, Folder: s.Folder, Dir: s.data(), As: as, Ports: []int{s.Port},
		Args: []string{s.program("postgres"), "-D", s.data()},
		Env:  []string{"LD_BIND_NOW=1"}, // every login is a fork: symbols are looked up once
		Quit: syscall.SIGINT,            // a fast shutdown, which waits for no client
	}
}

// Start starts the server, with a new data folder where there is none.
func (s Server) Start(ctx context.Context) error {
	as, err := unprivileged()
	if err != nil {
		return err
	}
	if err := s.initialize(ctx, as); err != nil {
		return err
	}
	if err := s.process(as).Start(ctx); err != nil {
		return err
	}
	s.stepBack()
	return nil
}

// stepBack leaves the processor to others who want it: every login is a process
// and a session of its own, and weighs as much as a whole kubelet, see autogroup
// in sched(7). Without control groups, as in most containers, it remains so.
func (s Server) stepBack() {
	pid, ok := s.process(nil).Pid()
	if ok && s.group().Make() == nil {
		_ = s.group().Weigh(pid, 25)
	}
}

// Ready logs in as the superuser.
func (s Server) Ready(ctx context.Context) error {
	if err := s.process(nil).Alive(); err != nil {
		return err
	}
	address, err := s.URL()
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return errors.New("log in as the superuser: no answer yet") // the error of pgx may show the address
	}
	return conn.Close(ctx)
}

// Stop ends the server.
func (s Server) Stop(ctx context.Context) error {
	err := s.process(nil).Stop(ctx)
	_ = s.group().Remove()
	return err
}

// LogFile returns the path of the server's log.
func (s Server) LogFile() string { return s.process(nil).LogFile() }

// URL returns the superuser's connection URL, with the password in it.
func (s Server) URL() (string, error) {
	password, err := os.ReadFile(s.passwordFile())
	if err != nil {
		return "", fmt.Errorf("read the superuser's password: %w", err)
	}
	u := url.URL{
		Scheme: "postgres", Host: fmt.Sprintf("127.0.0.1:%d", s.Port), Path: "/postgres",
		User:     url.UserPassword("postgres", strings.TrimSpace(string(password))),
		RawQuery: url.Values{"sslmode": {"verify-full"}, "sslrootcert": {s.Authority.CA()}}.Encode(),
	}
	return u.String(), nil
}

func (s Server) group() cgroup.Group { return cgroup.Group("/pgrotate-lab-" + s.Name) }

func (s Server) program(name string) string {
	return filepath.Join(cmp.Or(s.Programs, Programs), name)
}

func (s Server) data() string { return filepath.Join(s.Folder, "data") }

func (s Server) passwordFile() string { return filepath.Join(s.Folder, "superuser.password") }
