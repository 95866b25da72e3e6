package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/secret"
)

const (
	// others are the sessions that clients have opened: not those of this program,
	// nor the server's own workers, which end with their leaders.
	others = `usename = ANY($1) AND application_name <> '` + ApplicationName + `' AND pid <> pg_backend_pid()
		AND coalesce(backend_type, 'client backend') IN ('client backend', 'walsender')`
	// endTimeout is for sessions that were told to end; one that does not listen
	// is no reason to wait for ever.
	endTimeout = 10 * time.Second
)

// PlanSessions finds out whether Opened will see when sessions of role were
// opened and where from. What is hidden is a warning: nothing depends on it.
// https://www.postgresql.org/docs/current/monitoring-stats.html
func (d *Database) PlanSessions(ctx context.Context, role string) (warnings []string, err error) {
	err = d.with(ctx, func(s *session) error {
		var may bool
		err := s.row(ctx, "SELECT pg_has_role('pg_read_all_stats', 'USAGE') OR coalesce((SELECT pg_has_role(oid, 'USAGE') FROM pg_roles WHERE rolname = $1), false)", []any{role}, &may)
		if err != nil {
			return s.failed("look up the right to see sessions", err)
		}
		if !may {
			warnings = append(warnings, fmt.Sprintf("who has sessions from before the change will not be seen: role %q may not look at those of role %q; %s",
				s.db.admin.User, role, s.grantStats()))
		}
		return nil
	})
	return warnings, err
}

// grantStats is the SQL that lets the administrator see the sessions of others.
func (s *session) grantStats() string {
	return strings.Replace(s.granting("pg_read_all_stats"), "as a superuser: ", "as a superuser, if it is wanted: ", 1)
}

// PlanTermination finds out whether Terminate will be allowed to end sessions of
// name. Class "refused": it will not; the hint is the GRANT.
func (d *Database) PlanTermination(ctx context.Context, name string) error {
	return d.with(ctx, func(s *session) error {
		f, r, err := s.about(ctx, name)
		if err != nil {
			return err
		}
		return s.mayEnd(ctx, r, f)
	})
}

// Opened returns the sessions on this server that were opened by logging in as
// one of roles, in whatever database, by role, application_name and address.
// Those that began before change, by the server's clock, are the former ones.
func (d *Database) Opened(ctx context.Context, roles []string, change time.Time) (found []secret.Sessions, err error) {
	err = d.with(ctx, func(s *session) error {
		found, err = list(ctx, s, toSessions, `SELECT usename::text, application_name, coalesce(host(client_addr), ''),
			count(*) FILTER (WHERE backend_start < $2), min(backend_start) FILTER (WHERE backend_start < $2),
			count(*) FILTER (WHERE backend_start >= $2), count(*) FILTER (WHERE backend_start IS NULL)
			FROM pg_stat_activity WHERE `+others+` GROUP BY 1, 2, 3 ORDER BY 5, 1, 2, 3`, roles, change)
		if err != nil {
			return s.failed("look at the open sessions", err)
		}
		return nil
	})
	return found, err
}

func toSessions(row pgx.CollectableRow) (of secret.Sessions, err error) {
	var since *time.Time
	err = row.Scan(&of.Role, &of.Application, &of.Address, &of.Former, &since, &of.Recent, &of.Hidden)
	if since != nil {
		of.Since = *since
	}
	return of, err
}

// Terminate ends the sessions of roles that were opened before change, and
// returns how many were told to end when none of them is left. It ends no other
// one, and none of this program. Class "refused": the administrator may not. No
// class: some are left after some seconds, or it is not known.
func (d *Database) Terminate(ctx context.Context, roles []string, change time.Time) (ended int, err error) {
	err = d.with(ctx, func(s *session) (err error) {
		ended, err = s.terminate(ctx, roles, change)
		return err
	})
	return ended, err
}

func (s *session) terminate(ctx context.Context, roles []string, change time.Time) (int, error) {
	ended := map[int32]bool{}
	for deadline := time.Now().Add(endTimeout); ; {
		told, err := s.endFormer(ctx, roles, change)
		if err != nil || len(told) == 0 {
			return len(ended), err
		}
		for _, t := range told {
			if t.Sent {
				ended[t.PID] = true
			}
		}
		if time.Now().After(deadline) {
			return len(ended), unknown("end the former sessions", fmt.Errorf("%d left after %s", len(told), endTimeout))
		}
		if err := pause(ctx); err != nil {
			return len(ended), unknown("end the former sessions", err)
		}
	}
}

// endFormer tells the former sessions to end, and does not wait until they have.
func (s *session) endFormer(ctx context.Context, roles []string, change time.Time) ([]told, error) {
	found, err := list(ctx, s, pgx.RowToStructByPos[told], `SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE `+others+` AND backend_start < $2`, roles, change)
	if err == nil {
		return found, nil
	}
	failed := s.failed("end the former sessions", err)
	if hasCode(err, codeNoPrivilege) {
		failed.class, failed.hint = refused, s.granting("pg_signal_backend")
	}
	return nil, failed
}
