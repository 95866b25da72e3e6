package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// neutral gives pgx a value for everything that it would otherwise take from
// the environment, the home directory or the account of the process.
const neutral = "host=localhost port=5432 user=nobody password=none dbname=none passfile=none connect_timeout=0 sslmode=disable " +
	"sslkey='' sslcert='' sslcertmode=allow sslsni=1 sslrootcert='' sslpassword='' sslnegotiation='' target_session_attrs=any " +
	"min_protocol_version='' max_protocol_version='' channel_binding='' require_auth=''"

// common makes the settings that all connections share. No connection string
// with a password is ever built.
func common(settings map[string]string) (*pgx.ConnConfig, error) {
	base, err := pgx.ParseConfig(neutral)
	if err != nil { // the one variable that pgx lets nothing override
		return nil, errors.New("read `postgres-url`: unset PGSERVICE, no other source of settings is read")
	}
	base.User, base.Password, base.Database = "", "", settings["dbname"]
	if base.Database == "" {
		base.Database = settings["user"] // as libpq
	}
	base.ConnectTimeout = 0 // the context's
	base.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	base.DefaultQueryExecMode = pgx.QueryExecModeExec
	base.RuntimeParams = map[string]string{"application_name": ApplicationName, "client_encoding": "UTF8"}
	return base, nil
}

// way is how one connection is made.
type way struct {
	address string            // that place dials; empty: its own
	accept  string            // methods of authentication that may be answered, as libpq's require_auth; empty: all
	heard   *listener         // nil: nobody listens
	options string            // command-line options for the server
	start   map[string]string // settings that the session starts with
}

// connect opens a session for c in the administrator's database.
func (d *Database) connect(ctx context.Context, c secret.Credential, w way) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.place.timeout)
	defer cancel()
	config := d.base.Copy()
	config.Host, config.Port = d.place.host, d.place.port
	config.User, config.Password = c.User, c.Password.Reveal()
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) { return d.place.dial(ctx, w.address) }
	config.RequireAuth = w.accept
	maps.Copy(config.RuntimeParams, w.start)
	if w.options != "" {
		config.RuntimeParams["options"] = w.options
	}
	if w.heard != nil {
		config.BuildFrontend = w.heard.frontend
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	return conn, scrub(err)
}

// listener notices what the server asks for, and that it accepted the proof of the
// password. It says so before it looks at anything else, and some SQLSTATEs come
// both before and after: 53300 of a full server proves nothing, 53300 of a full
// role does.
type listener struct {
	asked    challenge // without a method: nothing was asked yet
	accepted bool
	rest     []byte // of a message that has not come as a whole
	deaf     bool   // there is no more to hear
}

func (l *listener) frontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	*l = listener{}
	return pgproto3.NewFrontend(io.TeeReader(r, l), w)
}

// Write hears what the server sends, up to the end of the authentication. See
// https://www.postgresql.org/docs/current/protocol-message-formats.html.
func (l *listener) Write(sent []byte) (int, error) {
	if l.deaf {
		return len(sent), nil
	}
	const head = 5 // a letter, and the length of the rest with itself
	for l.rest = append(l.rest, sent...); !l.deaf && len(l.rest) >= head; {
		end := 1 + int(binary.BigEndian.Uint32(l.rest[1:head]))
		switch {
		case end < head || end > longestGreeting:
			l.deaf = true
		case end > len(l.rest):
			return len(sent), nil
		default:
			l.hear(l.rest[0], l.rest[head:end])
			l.rest = l.rest[end:]
		}
	}
	if l.deaf {
		l.rest = nil
	}
	return len(sent), nil
}

// hear takes one message.
func (l *listener) hear(letter byte, body []byte) {
	const number = 4 // of the request for authentication
	if letter != 'R' || len(body) < number {
		return
	}
	method := methodOther
	switch binary.BigEndian.Uint32(body) {
	case pgproto3.AuthTypeOk:
		l.accepted, l.deaf, method = true, true, methodNone
	case pgproto3.AuthTypeCleartextPassword:
		method = methodPassword
	case pgproto3.AuthTypeMD5Password:
		method = methodMD5
	case pgproto3.AuthTypeSASL:
		method = methodSCRAM
	case pgproto3.AuthTypeSASLContinue:
		_, l.asked.salting, _ = readServerFirst(string(body[number:]))
	}
	if l.asked.method == "" {
		l.asked.method = method
	}
}
