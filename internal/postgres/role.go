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
	r, found, err := s.find(ctx, name)
	if err == nil && !found {
		err = nobody(name)
	}
	return r, err
}

// find looks a role up that may be missing.
func (s *session) find(ctx context.Context, name string) (r role, found bool, err error) {
	r = role{name: name}
	if err := nameable(name); err != nil {
		return r, false, err
	}
	err = s.row(ctx, "SELECT "+roleColumns+" FROM pg_roles WHERE rolname = $1", []any{name}, r.columns()...)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return r, false, nil
	case err != nil:
		return r, false, s.failed(fmt.Sprintf("look up role %q", name), err)
	}
	return r, true, nil
}

// about asks for the facts and for the role in one round trip. Where the role is
// missing the facts come with the error.
func (s *session) about(ctx context.Context, name string) (f facts, r role, err error) {
	r = role{name: name}
	if err := nameable(name); err != nil {
		return f, r, err
	}
	err = s.row(ctx, "SELECT "+factColumns+", "+roleColumns+" FROM (SELECT) AS server LEFT JOIN pg_roles ON rolname = $2",
		[]any{leastIterations, name}, append(f.columns(), r.columns()...)...)
	switch {
	case err != nil:
		return f, r, unknown(fmt.Sprintf("ask PostgreSQL about itself and role %q", name), err)
	case r.oid == 0:
		return f, r, nobody(name)
	}
	return f, r, nil
}

func nobody(name string) error {
	return no(fmt.Sprintf("look up role %q: it does not exist", name), "check the user name in the served Secret and `postgres-role`")
}

// roleColumns are those of a row of pg_roles, or of none: no role has the oid 0.
const roleColumns = `coalesce(oid, 0), coalesce(oid = 10, false), coalesce(rolsuper, false), coalesce(rolreplication, false), coalesce(rolcanlogin, false),
	coalesce(rolvaliduntil <= clock_timestamp(), false), coalesce(rolvaliduntil <= clock_timestamp() + interval '1 day', false),
	coalesce(rolvaliduntil::text, ''), coalesce(rolconnlimit, 0)`

func (r *role) columns() []any {
	return []any{&r.oid, &r.bootstrap, &r.super, &r.copies, &r.canLogin, &r.expired, &r.expiring, &r.until, &r.limit}
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
