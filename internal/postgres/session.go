package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/secret"
)

const (
	answerTimeout = 10 * time.Second // for a statement that has nothing to wait for
	alterTimeout  = 30 * time.Second // for ALTER ROLE, whose commit may wait for a standby
	lockTimeout   = "5s"             // for the locks that other statements hold
	hangUpTimeout = 3 * time.Second
)

// session is one connection of the administrator. Probes and logins go to the
// very server that it is connected to, whatever its name resolves to meanwhile.
type session struct {
	db       *Database
	conn     *pgx.Conn
	address  string        // of that server; empty where only the tunnel knows
	server   string        // the IP address of the server by its own word; empty on a local socket
	database string        // the connected one
	done     chan struct{} // closed when the session is closed on purpose
}

// open connects the administrator and makes sure that what answers is a server
// and not a pooler, on which neither a session lock nor a setting would hold.
func (d *Database) open(ctx context.Context) (*session, error) {
	conn, err := d.administer(ctx)
	if err != nil {
		return nil, err
	}
	s := &session{db: d, conn: conn, done: make(chan struct{})}
	if d.place.direct && d.place.network == "tcp" {
		s.address = conn.PgConn().Conn().RemoteAddr().String()
	}
	if err := s.prepare(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// administer logs the administrator in. Whoever may stand in for the server is
// told no password in clear text.
func (d *Database) administer(ctx context.Context) (*pgx.Conn, error) {
	w := way{options: d.options, start: settled(), heard: &listener{}}
	if !d.place.proven {
		w.accept = "!" + methodPassword
	}
	conn, err := d.connect(ctx, d.admin, w)
	switch {
	case err == nil:
		return conn, nil
	case hasCode(err, codeProtocol): // a pooler that lets a client set nothing
		return nil, pooled()
	case w.accept != "" && w.heard.asked.method == methodPassword:
		return nil, no("connect to PostgreSQL as the administrator: the server asks for the password in clear text, and nothing proves that it is the server",
			"let `postgres-url` say sslmode=verify-full, with `postgres-ca` where the authority is not a public one; or let pg_hba.conf ask for scram-sha-256")
	}
	return nil, connecting(err, d.admin.User, d.base.Database)
}

// settled are the settings that the session starts with: what a client asks for
// then goes before what the role or the database says.
// https://www.postgresql.org/docs/current/config-setting.html
func settled() map[string]string {
	return map[string]string{"search_path": "pg_catalog", "statement_timeout": "0", "lock_timeout": lockTimeout,
		"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
}

// versioned are settings that not every version has, and the process that answers
// with its address and the database that it is connected to.
// The timeouts, of PostgreSQL 14 and 17, would end the session while it holds the
// lock or waits for it; createrole_self_grant, of 16, would open the data of the
// role to the administrator who makes it a twin.
// https://www.postgresql.org/docs/current/runtime-config-client.html
const versioned = `SELECT pg_backend_pid(), current_database()::text, coalesce(host(inet_server_addr()), ''), (SELECT count(set_config(name, value, false)) FROM pg_settings JOIN (VALUES
	('idle_session_timeout', '0'), ('transaction_timeout', '0'), ('createrole_self_grant', '')) AS wanted (name, value) USING (name))`

func (s *session) prepare(ctx context.Context) error {
	var pid uint32
	if err := s.row(ctx, versioned, nil, &pid, &s.database, &s.server, nil); err != nil {
		return unknown("prepare the session", err)
	}
	if pid != s.conn.PgConn().PID() {
		return pooled()
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	// So that the server notices a client that died inside a statement. Older
	// servers and some systems do not have it.
	if _, err := s.conn.Exec(ctx, "SET client_connection_check_interval = '2s'"); serverError(err) == nil && err != nil {
		return unknown("prepare the session", err)
	}
	return nil
}

func pooled() error {
	return no("connect to PostgreSQL: a connection pooler answers, on which no lock holds",
		"let `postgres-url` name PostgreSQL itself, not PgBouncer or another pooler")
}

// close ends the session, and with it whatever pg_stat_activity shows of it.
func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), hangUpTimeout)
	defer cancel()
	close(s.done)
	_ = s.conn.Close(ctx) // it is gone either way
}

func (s *session) isLost() bool { return s.conn.IsClosed() }

// with lends use the session that holds the lock, or one without it, which is kept
// until Acquire takes it or Release ends it.
func (d *Database) with(ctx context.Context, use func(*session) error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != nil && !d.held.isLost() {
		return use(d.held)
	}
	s, err := d.unlocked(ctx)
	if err != nil {
		return err
	}
	defer func() { d.spare, d.spared = s, time.Now() }()
	return use(s)
}

// unlocked takes the session that is spare, or opens one: nobody keeps a spare one awake.
func (d *Database) unlocked(ctx context.Context) (*session, error) {
	s := d.spare
	d.spare = nil
	switch {
	case s == nil:
	case !s.isLost() && time.Since(d.spared) < keepAwake:
		return s, nil
	default:
		s.close()
	}
	return d.open(ctx)
}

// row asks one question that a healthy server answers at once.
func (s *session) row(ctx context.Context, sql string, args []any, into ...any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return s.conn.QueryRow(ctx, sql, args...).Scan(into...)
}

// list asks one question that has many answers.
func list[T any](ctx context.Context, s *session, each pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	rows, err := s.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, each)
}

// facts are what the server says of itself and of the administrator.
type facts struct {
	standby    bool
	admin      string // current_user
	login      string // session_user: another one after SET ROLE
	iterations int    // of a new verifier
	readable   bool   // the administrator may read the stored verifiers
	checks     checks // of passwords and logins; a preflight asks for them
}

// factColumns are the facts; $1 is leastIterations.
const factColumns = `pg_is_in_recovery(), current_user::text, session_user::text, greatest($1::int, current_setting('scram_iterations', true)::int),
	has_column_privilege('pg_authid', 'rolname', 'SELECT') AND has_column_privilege('pg_authid', 'rolpassword', 'SELECT')`

func (f *facts) columns() []any {
	return []any{&f.standby, &f.admin, &f.login, &f.iterations, &f.readable}
}

func (s *session) facts(ctx context.Context) (facts, error) {
	var f facts
	if err := s.row(ctx, "SELECT "+factColumns, []any{leastIterations}, f.columns()...); err != nil {
		return f, unknown("ask PostgreSQL about itself", err)
	}
	return f, nil
}

// major is the server's version, 16 for 16.14; 0 where it says nothing legible.
func (s *session) major() int {
	var n int
	_, _ = fmt.Sscanf(s.conn.PgConn().ParameterStatus("server_version"), "%d", &n)
	return n
}

// stored reads the verifier of role; zero: it has none. The administrator must
// be allowed to.
func (s *session) stored(ctx context.Context, role string) (secret.Value, error) {
	var text string
	if err := s.row(ctx, "SELECT coalesce(rolpassword, '') FROM pg_authid WHERE rolname = $1", []any{role}, &text); err != nil {
		return secret.Value{}, unknown("read the stored verifier of role "+quote(role), err)
	}
	return s.db.keep(text), nil
}
