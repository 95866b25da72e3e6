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
	canLogin  bool
	expired   bool   // VALID UNTIL is over
	expiring  bool   // VALID UNTIL is less than a day away
	until     string // VALID UNTIL
}

func (s *session) role(ctx context.Context, name string) (role, error) {
	r := role{name: name}
	if err := nameable(name); err != nil {
		return r, err
	}
	err := s.row(ctx, `SELECT oid, oid = 10, rolsuper, rolcanlogin, coalesce(rolvaliduntil <= clock_timestamp(), false),
		coalesce(rolvaliduntil <= clock_timestamp() + interval '1 day', false), coalesce(rolvaliduntil::text, '')
		FROM pg_roles WHERE rolname = $1`, []any{name},
		&r.oid, &r.bootstrap, &r.super, &r.canLogin, &r.expired, &r.expiring, &r.until)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, no(fmt.Sprintf("look up role %q: it does not exist", name),
			"check the user name in the served Secret and `postgres-role`")
	}
	if err != nil {
		return r, unknown(fmt.Sprintf("look up role %q", name), err)
	}
	return r, nil
}

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
