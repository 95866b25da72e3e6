package postgres

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// acted is one SET role, of a role or of all roles, that counts for a role's
// sessions: ALTER ROLE or ALTER DATABASE with SET, ALTER ROLE ALL SET.
type acted struct {
	Database string // empty: in all
	Own      bool   // of the role itself, not of all roles
	As       string // empty: none, the role itself
	Possible bool   // a session of the role may become it; where not PostgreSQL warns and goes on
}

// acting is the role that sessions of a role work as and that owns what they
// make, by database; under "" it is that of the databases that are not named.
type acting map[string]string

func (a acting) in(database string) string {
	if as, ok := a[database]; ok {
		return as
	}
	return a[""]
}

// actingOf puts together what counts for sessions of name. The most specific
// SET that is possible wins: of the role in the database, of the role, of the
// database, of all, see
// https://www.postgresql.org/docs/current/view-pg-db-role-setting.html and
// process_settings in PostgreSQL's postinit.c.
func actingOf(name string, all []acted) acting {
	a := acting{}
	for _, place := range append(slices.Clone(all), acted{}) {
		a[place.Database] = name
		most := -1
		for _, one := range all {
			if weight := one.weight(); one.Possible && weight > most && (one.Database == "" || one.Database == place.Database) {
				a[place.Database], most = cmp.Or(one.As, name), weight
			}
		}
	}
	return a
}

func (o acted) weight() (n int) {
	if o.Own {
		n += 2
	}
	if o.Database != "" {
		n++
	}
	return n
}

// acting asks what sessions of name work as. Everybody may.
func (s *session) acting(ctx context.Context, name string) (acting, error) {
	found, err := list(ctx, s, pgx.RowToStructByPos[acted], `SELECT coalesce(datname, ''), setrole <> 0, coalesce(nullif(substr(line, 6), 'none'), ''),
		line = 'role=none' OR coalesce((SELECT pg_has_role(r.oid, o.oid, $2) FROM pg_roles o WHERE o.rolname = substr(line, 6)), false)
		FROM pg_roles r JOIN pg_db_role_setting ON setrole IN (0, r.oid) LEFT JOIN pg_database d ON d.oid = setdatabase, unnest(setconfig) AS line
		WHERE r.rolname = $1 AND line LIKE 'role=%'`, name, becoming(s.major()))
	if err != nil {
		return nil, s.failed(fmt.Sprintf("read what role %q works as", name), err)
	}
	return actingOf(name, found), nil
}

// becoming is the privilege on a role that SET ROLE takes: since PostgreSQL 16
// a membership may be without it.
// https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-ACCESS
func becoming(major int) string {
	if major < 16 {
		return "MEMBER"
	}
	return "SET"
}

// statements make twin work as a in every database, where it works as now.
func (a acting) statements(twin string, now acting) (all []string) {
	for _, database := range places(a, now) {
		as := a.in(database)
		if database == "" || as != a[""] || as != now.in(database) {
			all = append(all, "ALTER ROLE "+quote(twin)+setting{Database: database}.place()+" SET role = "+constant(as))
		}
	}
	return all
}

// unlike tells where now works as another role than a.
func (a acting) unlike(now acting) (all []string) {
	for _, database := range places(a, now) {
		if as, other := a.in(database), now.in(database); as != other {
			all = append(all, strings.TrimSuffix(fmt.Sprintf("%q, not %q, in database %q", other, as, database), `, in database ""`))
		}
	}
	return all
}

// places are the databases that one of the two names, "" first.
func places(a, b acting) []string {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return slices.Sorted(maps.Keys(both))
}

// roles are those that sessions become.
func (a acting) roles() []string { return slices.Compact(slices.Sorted(maps.Values(a))) }
