package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// settings override those of initdb. Every statement is logged
// so that tests can look for secrets in the log; nothing has to survive the
// machine.
const settings = `
port = %d
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 300
shared_buffers = 64MB
fsync = off
synchronous_commit = off
full_page_writes = off
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
password_encryption = 'scram-sha-256'
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.track = 'all'
log_statement = 'all'
max_prepared_transactions = 4
log_line_prefix = '%%m [%%p] %%q%%u@%%d %%a %%h '
log_checkpoints = off
`

// unprivileged returns the user of Debian's package, or nil where this process
// is not root and PostgreSQL can run as its user. The server refuses to run as root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	owner, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("find the user that runs PostgreSQL: %w", err)
	}
	uid, err := strconv.ParseUint(owner.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("read the uid of PostgreSQL's user: %w", err)
	}
	gid, err := strconv.ParseUint(owner.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("read the gid of PostgreSQL's user: %w", err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// initialize makes the data folder, unless it was made to the end before.
func (s Server) initialize(ctx context.Context, as *syscall.Credential) error {
	done := filepath.Join(s.Folder, "initialized")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	if err := s.makeFolder(as); err != nil {
		return err
	}
	if err := s.write(s.passwordFile(), rand.Text()+"\n", as); err != nil {
		return err
	}
	if err := s.initdb(ctx, as); err != nil {
		return err
	}
	if err := s.configure(as); err != nil {
		return err
	}
	return s.write(done, "", as)
}

func (s Server) makeFolder(as *syscall.Credential) error {
	if err := os.MkdirAll(s.Folder, 0o700); err != nil {
		return fmt.Errorf("make the folder of %s: %w", s.Name, err)
	}
	return give(s.Folder, as)
}

func (s Server) initdb(ctx context.Context, as *syscall.Credential) error {
	cmd := exec.CommandContext(ctx, s.program("initdb"), "--pgdata", s.data(), "--username=postgres",
		"--auth=scram-sha-256", "--pwfile="+s.passwordFile(), "--encoding=UTF8", "--no-locale", "--no-sync")
	cmd.Dir = s.Folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL} // no writer is left behind
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run initdb: %w\n%s", err, out)
	}
	return nil
}

// configure adds the settings, the certificate and the rules for logging in.
func (s Server) configure(as *syscall.Credential) error {
	if err := s.Authority.Issue(s.Name, "localhost"); err != nil {
		return err
	}
	for from, to := range map[string]string{
		s.Authority.Cert(s.Name): "server.crt", s.Authority.Key(s.Name): "server.key",
	} {
		text, err := os.ReadFile(from)
		if err != nil {
			return fmt.Errorf("read the certificate of %s: %w", s.Name, err)
		}
		if err := s.write(filepath.Join(s.data(), to), string(text), as); err != nil {
			return err
		}
	}
	auto := filepath.Join(s.data(), "postgresql.auto.conf") // read after postgresql.conf, and wins
	if err := s.write(auto, fmt.Sprintf(settings, s.Port), as); err != nil {
		return err
	}
	return s.write(filepath.Join(s.data(), "pg_hba.conf"), s.HBA, as)
}

// write makes a file that belongs to the server's user and that no one else reads.
func (s Server) write(path, text string, as *syscall.Credential) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("configure %s: %w", s.Name, err)
	}
	return give(path, as)
}

func give(path string, to *syscall.Credential) error {
	if to == nil {
		return nil
	}
	if err := os.Chown(path, int(to.Uid), int(to.Gid)); err != nil {
		return fmt.Errorf("hand %q to PostgreSQL's user: %w", path, err)
	}
	return nil
}
