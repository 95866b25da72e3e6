package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// Methods of authentication that the server may ask for, as libpq's
// require_auth names them.
const (
	methodSCRAM    = "scram-sha-256"
	methodMD5      = "md5"
	methodPassword = "password" // in clear text
	methodNone     = "none"     // it trusts whoever comes this way
	methodOther    = "other"
	methodHashed   = methodSCRAM + "," + methodMD5 // each proves the password
)

const (
	mechanism       = "SCRAM-SHA-256" // RFC 7677
	longestGreeting = 1 << 16         // of a message before authentication
)

// serverFirst is the SCRAM server-first-message (RFC 5802, section 7).
var serverFirst = regexp.MustCompile(`^r=([!-+\--~]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]{0,7})$`)

var errMalformed = errors.New("the server's first SCRAM message is malformed")

// challenge is what the server asks of whoever wants to log in as a role.
type challenge struct {
	method  string
	salting salting // with methodSCRAM; a role that has no SCRAM verifier shows a made-up one
}

// probe begins to log in as name, reads the challenge and hangs up. It proves
// nothing, needs no password and counts as no failed login.
func (s *session) probe(ctx context.Context, name string) (challenge, error) {
	ctx, cancel := context.WithTimeout(ctx, s.db.place.timeout)
	defer cancel()
	asked, err := s.db.place.challenge(ctx, s.address, name, s.db.base.Database)
	if err != nil {
		return challenge{}, probing(name, err)
	}
	return asked, nil
}

// challenge begins a login at address, or at the place itself where that is empty.
func (p place) challenge(ctx context.Context, address, name, database string) (challenge, error) {
	conn, err := p.dial(ctx, address)
	if err != nil {
		return challenge{}, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return greet(conn, name, database)
}

// probing is a failure before the server asked for anything.
func probing(name string, err error) error {
	e := unknown(fmt.Sprintf("begin to log in as role %q", name), err)
	switch {
	case hasCode(err, codeTooMany):
		e.hint = "the server has no connection left: raise max_connections or close idle sessions"
	case hasCode(err, codeNotPermitted):
		e.class, e.hint = refused, fmt.Sprintf("let role %q log in from here, to the database that `postgres-url` names: "+
			"pg_hba.conf needs a line for it with scram-sha-256, or `postgres-url` the database that the role may use", name)
	}
	return e
}

// greet speaks the start of the protocol up to the first challenge, see
// https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP.
func greet(conn net.Conn, name, database string) (challenge, error) {
	frontend := pgproto3.NewFrontend(conn, conn)
	frontend.SetMaxBodyLen(longestGreeting)
	frontend.Send(&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30,
		Parameters: map[string]string{"user": name, "database": database, "application_name": ApplicationName}})
	if err := frontend.Flush(); err != nil {
		return challenge{}, err
	}
	message, err := frontend.Receive()
	if err != nil {
		return challenge{}, err
	}
	switch m := message.(type) {
	case *pgproto3.AuthenticationSASL:
		return beginSCRAM(frontend)
	case *pgproto3.AuthenticationMD5Password:
		return challenge{method: methodMD5}, nil
	case *pgproto3.AuthenticationCleartextPassword:
		return challenge{method: methodPassword}, nil
	case *pgproto3.AuthenticationOk:
		frontend.Send(&pgproto3.Terminate{})
		return challenge{method: methodNone}, frontend.Flush()
	case *pgproto3.ErrorResponse:
		return challenge{}, pgconn.ErrorResponseToPgError(m)
	}
	return challenge{method: methodOther}, nil
}

// beginSCRAM sends the client-first-message (RFC 5802, section 5) without
// channel binding and reads salt and iterations from the answer.
func beginSCRAM(frontend *pgproto3.Frontend) (challenge, error) {
	nonce := rand.Text()
	frontend.Send(&pgproto3.SASLInitialResponse{AuthMechanism: mechanism, Data: []byte("n,,n=,r=" + nonce)})
	if err := frontend.Flush(); err != nil {
		return challenge{}, err
	}
	message, err := frontend.Receive()
	if err != nil {
		return challenge{}, err
	}
	switch m := message.(type) {
	case *pgproto3.AuthenticationSASLContinue:
		return readChallenge(string(m.Data), nonce)
	case *pgproto3.ErrorResponse:
		return challenge{}, pgconn.ErrorResponseToPgError(m)
	}
	return challenge{}, errors.New("the server answers SCRAM with something else")
}

func readChallenge(text, nonce string) (challenge, error) {
	longer, s, err := readServerFirst(text)
	switch {
	case err != nil:
		return challenge{}, err
	case !strings.HasPrefix(longer, nonce) || longer == nonce:
		return challenge{}, errMalformed
	}
	return challenge{method: methodSCRAM, salting: s}, nil
}

// readServerFirst returns what a server-first-message holds.
func readServerFirst(text string) (nonce string, s salting, err error) {
	m := serverFirst.FindStringSubmatch(text)
	if m == nil {
		return "", s, errMalformed
	}
	iterations, err := strconv.Atoi(m[3])
	s = salting{salt: m[2], iterations: iterations}
	if err != nil || !s.valid() {
		return "", salting{}, errors.New("the server's salt or iteration count is out of range")
	}
	return m[1], s, nil
}
