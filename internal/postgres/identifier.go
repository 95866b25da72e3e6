package postgres

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// longestName is NAMEDATALEN-1: PostgreSQL cuts longer names off without an
// error, and would change another role.
const longestName = 63

// quote returns role as a quoted SQL identifier, see
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS.
func quote(role string) string { return `"` + strings.ReplaceAll(role, `"`, `""`) + `"` }

// nameable refuses what cannot be the name of a role.
func nameable(role string) error {
	switch {
	case role == "":
		return no("name the role: its name is empty", "set `postgres-role`, or the user name in the served Secret")
	case len(role) > longestName:
		return no(fmt.Sprintf("name the role %q: it has %d bytes, PostgreSQL knows %d", role, len(role), longestName),
			"correct `postgres-role` and the user name in the served Secret, or give the role a shorter name")
	case strings.ContainsRune(role, 0) || !utf8.ValidString(role):
		return no(fmt.Sprintf("name the role %q: no name may hold these bytes", role), "correct `postgres-role` and the user name in the served Secret")
	}
	return nil
}
