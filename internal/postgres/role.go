package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// role is what pg_roles, which everybody may read, says of the rotated role.
type role struct {
	name      string
	oid       uint32
	bootstrap bool // made by initdb
	super     bool
	copies    bool // REPLICATION
	canLogin  bool
	expired   bool   // VALID UNTIL is over
	expiring  bool   // VALID UNTIL is less than a day away
	until     string // VALID UNTIL
	limit     int    // of connections, or unlimited
}

// unlimited is how PostgreSQL keeps that there is no CONNECTION LIMIT.
const unlimited = -1

func (s *session) role(ctx context.Context, name string) (role, error) {
	r := role{name: name}
	if err := nameable(name); err != nil {
		return r, err
	}
	err := s.row(ctx, `SELECT oid, oid = 10, rolsuper, rolreplication, rolcanlogin, coalesce(rolvaliduntil <= clock_timestamp(), false),
		coalesce(rolvaliduntil <= clock_timestamp() + interval '1 day', false), coalesce(rolvaliduntil::text, ''), rolconnlimit
		FROM pg_roles WHERE rolname = $1`, []any{name},
		&r.oid, &r.bootstrap, &r.super, &r.copies, &r.canLogin, &r.expired, &r.expiring, &r.until, &r.limit)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, no(fmt.Sprintf("look up role %q: it does not exist", name),
			"check the user name in the served Secret and `postgres-role`")
	}
	if err != nil {
		return r, unknown(fmt.Sprintf("look up role %q", name), err)
	}
	return r, nil
}

// streams tells whether the role may open replication connections, which
// PostgreSQL asks of the role that logs in.
func (r role) streams() bool { return r.copies || r.super }

// expiry refuses a role whose password is about to be useless: changing it does
// not move VALID UNTIL.
func (r role) expiry() error {
	if !r.expiring {
		return nil
	}
	verb := "ends"
	if r.expired {
		verb = "ended"
	}
	return no(fmt.Sprintf("judge role %q: its VALID UNTIL %s at %s, no password opens after that", r.name, verb, r.until),
		fmt.Sprintf("ALTER ROLE %s VALID UNTIL 'infinity';", quote(r.name)))
}

// crowded warns where the pods of two revisions, which a restart has at the same
// time, may not all get a connection.
func (s *session) crowded(ctx context.Context, r role) (warnings []string, err error) {
	if r.limit == unlimited {
		return nil, nil
	}
	var open int
	if err := s.row(ctx, "SELECT count(*) FROM pg_stat_activity WHERE usesysid = $1", []any{r.oid}, &open); err != nil {
		return nil, s.failed(fmt.Sprintf("count the sessions of role %q", r.name), err)
	}
	if r.limit >= 2*max(open, 1) {
		return nil, nil
	}
	return []string{fmt.Sprintf("role %q has CONNECTION LIMIT %d and %d sessions: while pods are restarted the old and the new ones log in at the same time, and some may be refused; raise the limit with ALTER ROLE", r.name, r.limit, open)}, nil
}
