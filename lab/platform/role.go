package platform

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// quiet keeps the password out of the server's log and statistics.
const quiet = `SET log_statement = 'none'; SET log_min_error_statement = 'panic';
SET log_min_duration_statement = -1; SET pg_stat_statements.track_utility = off`

// provide makes the server have Role with password, and Database that belongs
// to it. password must consist of letters and digits.
func provide(ctx context.Context, server, password string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return errors.New("log in to the server as its superuser") // the error may show the address
	}
	defer conn.Close(ctx)
	for _, statement := range []struct {
		sql  string
		have string // SQLSTATE that says that it is there already
	}{
		{quiet, ""},
		{"CREATE ROLE " + Role + " LOGIN", "42710"},
		{"ALTER ROLE " + Role + " PASSWORD '" + password + "'", ""},
		{"CREATE DATABASE " + Database + " OWNER " + Role, "42P04"},
	} {
		_, err := conn.Exec(ctx, statement.sql)
		var refusal *pgconn.PgError
		if errors.As(err, &refusal) && refusal.Code == statement.have {
			continue
		}
		if err != nil {
			return fmt.Errorf("make the role %q and its database: %w", Role, err)
		}
	}
	return nil
}
