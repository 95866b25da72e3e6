package main

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// patience is how long the server may take to answer a login.
const patience = 5 * time.Second

// outcome is how one login went.
type outcome struct {
	at time.Time
	// sqlstate of the server's refusal, "00000" for a login that was accepted,
	// empty when no answer came (PostgreSQL's manual, appendix A).
	sqlstate string
	message  string // of the refusal or the failed connection
}

const accepted = "00000"

// login is the credential that the service was started with.
type login struct{ config *pgconn.Config }

func newLogin(getenv func(string) string) (login, error) {
	config, err := pgconn.ParseConfig(address(getenv))
	if err != nil {
		return login{}, errors.New("read the credential: it makes no connection string") // the error may quote it
	}
	config.ConnectTimeout = patience
	return login{config}, nil
}

// address makes a connection URL out of the environment.
func address(getenv func(string) string) string {
	if u := getenv("DATABASE_URL"); u != "" {
		return u
	}
	property := func(name string) string {
		return cmp.Or(getenv("POSTGRES_"+strings.ToUpper(name)), getenv(name))
	}
	u := url.URL{
		Scheme: "postgres",
		User:   url.UserPassword(property("username"), property("password")),
		Host:   cmp.Or(getenv("POSTGRES_HOST"), "127.0.0.1") + ":" + cmp.Or(getenv("POSTGRES_PORT"), "5432"),
		Path:   "/" + property("database"),
	}
	if mode := getenv("POSTGRES_SSLMODE"); mode != "" {
		u.RawQuery = url.Values{"sslmode": {mode}}.Encode()
	}
	return u.String()
}

// attempt logs in and hangs up.
func (l login) attempt(ctx context.Context) outcome {
	o := outcome{at: time.Now().UTC()}
	conn, err := pgconn.ConnectConfig(ctx, l.config)
	if err == nil {
		o.sqlstate = accepted
		_ = conn.Close(ctx)
		return o
	}
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) {
		o.sqlstate, o.message = refusal.Code, refusal.Error()
		return o
	}
	o.message = err.Error()
	return o
}
