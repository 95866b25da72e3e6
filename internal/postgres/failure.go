package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Classes of failures that decide what a run does; no class means that the
// outcome is not known.
const (
	refused   = "refused"   // a definite no that changed nothing
	unhealthy = "unhealthy" // no password opens the role
	conflict  = "conflict"  // somebody else is changing the role
	lost      = "lost"      // the session that held the lock is gone
	busy      = "busy"      // somebody else holds the lock
)

// SQLSTATEs that have a meaning here, see
// https://www.postgresql.org/docs/current/errcodes-appendix.html.
const (
	codeProtocol         = "08P01" // protocol_violation: what PgBouncer calls a setting that it does not know
	codeNotPermitted     = "28000" // invalid_authorization_specification
	codeWrongPassword    = "28P01" // invalid_password
	codeNoDatabase       = "3D000" // invalid_catalog_name
	codeNoPrivilege      = "42501" // insufficient_privilege
	codeUndefined        = "42704" // undefined_object
	codeTooMany          = "53300" // too_many_connections
	codeLockTimeout      = "55P03" // lock_not_available
	codeReadOnly         = "25006" // read_only_sql_transaction
	codeInvalidParameter = "22023" // invalid_parameter_value: what password checkers raise
	codeInternal         = "XX000" // internal_error: tuple concurrently updated
)

// Error is a failure of one sub-operation. It holds no password, no verifier
// and no connection settings.
type Error struct {
	op    string // verb phrase
	cause error  // nil where op says it all
	class string
	hint  string
}

// Error tells what was being done and what PostgreSQL or the network said.
func (e *Error) Error() string {
	if e.cause == nil {
		return e.op
	}
	if p := serverError(e.cause); p != nil {
		return fmt.Sprintf("%s: %s (SQLSTATE %s)", e.op, p.Message, p.Code)
	}
	return e.op + ": " + e.cause.Error()
}

// Unwrap returns the cause, nil where there is none.
func (e *Error) Unwrap() error { return e.cause }

// Class is "refused", "unhealthy", "conflict", "lost", "busy", or "" where the
// outcome is not known.
func (e *Error) Class() string { return e.class }

// Hint is the remedy, or "" where none is known.
func (e *Error) Hint() string { return e.hint }

// unknown is a failure that says nothing about the outcome.
func unknown(op string, cause error) *Error { return &Error{op: op, cause: scrub(cause)} }

// no is a definite refusal by the rules of this program.
func no(op, hint string) *Error { return &Error{op: op, class: refused, hint: hint} }

// serverError returns the answer of the server inside err, or nil.
func serverError(err error) *pgconn.PgError {
	var p *pgconn.PgError
	if errors.As(err, &p) {
		return p
	}
	return nil
}

func hasCode(err error, code string) bool {
	p := serverError(err)
	return p != nil && p.Code == code
}

// scrub takes the connection settings, which hold the password, out of err.
func scrub(err error) error {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return connect.Unwrap()
	}
	return err
}

// connecting classifies a failed connection of the role admin, the
// administrator, to database.
func connecting(err error, admin, database string) error {
	e := unknown("connect to PostgreSQL as the administrator", err)
	var stranger x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid *tls.CertificateVerificationError
	var dial *net.OpError
	switch {
	case hasCode(err, codeWrongPassword):
		e.class, e.hint = refused, "check the user and the password of `postgres-url`, or `postgres-password`"
	case hasCode(err, codeNotPermitted):
		e.class, e.hint = refused, fmt.Sprintf("let the administrator in: a line for it in pg_hba.conf, or, as a superuser: ALTER ROLE %s LOGIN;", quote(admin))
	case hasCode(err, codeNoPrivilege):
		e.class, e.hint = refused, fmt.Sprintf("as a superuser: GRANT CONNECT ON DATABASE %s TO %s;", quote(database), quote(admin))
	case hasCode(err, codeNoDatabase):
		e.class, e.hint = refused, "name an existing database in `postgres-url`"
	case errors.Is(err, errNoTLS):
		e.class, e.hint = refused, "switch TLS on in the server, or say sslmode=disable in `postgres-url` where the network is trusted"
	case errors.As(err, &name):
		e.class, e.hint = refused, "use the host name that the server's certificate is for in `postgres-url`"
	case errors.As(err, &stranger), errors.As(err, &invalid):
		e.class, e.hint = refused, "give the authority that signed the server's certificate as `postgres-ca`"
	case hasCode(err, codeTooMany):
		e.hint = "end idle sessions, or raise max_connections and the administrator's CONNECTION LIMIT"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &dial) && dial.Op == "dial":
		e.hint = "PostgreSQL cannot be reached from here: check `postgres-url` and the firewall, or use `postgres-pod`"
	}
	return e
}

// without replaces text in what the server said: a password checker of the
// server may quote the verifier that it rejects.
func without(err error, text string) error {
	p := serverError(err)
	if p == nil || text == "" {
		return err
	}
	return &pgconn.PgError{Severity: p.Severity, Code: p.Code, Message: strings.ReplaceAll(p.Message, text, "[verifier]")}
}
