package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// setting is one of ALTER ROLE ... [IN DATABASE ...] SET.
type setting struct {
	Database string // empty: in all
	Name     string
	Value    string // as pg_db_role_setting holds it
}

// settings are those of a role, but for the role that it acts as. Everybody may
// read them.
func (s *session) settings(ctx context.Context, name string) ([]setting, error) {
	found, err := list(ctx, s, pgx.RowToStructByPos[setting], `SELECT coalesce(datname, ''), split_part(line, '=', 1), substr(line, strpos(line, '=') + 1)
		FROM pg_db_role_setting JOIN pg_roles r ON r.oid = setrole LEFT JOIN pg_database d ON d.oid = setdatabase, unnest(setconfig) AS line
		WHERE rolname = $1 AND line NOT LIKE 'role=%' ORDER BY 1, 2`, name)
	if err != nil {
		return nil, s.failed(fmt.Sprintf("read the settings of role %q", name), err)
	}
	return found, nil
}

func (o setting) place() string {
	if o.Database == "" {
		return ""
	}
	return " IN DATABASE " + quote(o.Database)
}

// name is quoted part by part: a custom one has a dot.
func (o setting) name() string {
	parts := strings.Split(o.Name, ".")
	for i, part := range parts {
		parts[i] = quote(part)
	}
	return strings.Join(parts, ".")
}

// lists are the settings whose value PostgreSQL keeps as a list of quoted names
// (GUC_LIST_QUOTE): as one constant it would become a list of one name.
// https://www.postgresql.org/docs/current/runtime-config-client.html
var lists = []string{"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"}

// values is the value as SQL. What a role has set for itself is not to be trusted:
// it is taken apart and quoted anew.
func (o setting) values() (string, error) {
	if !slices.Contains(lists, strings.ToLower(o.Name)) {
		return constant(o.Value), nil
	}
	var all []string
	for rest := o.Value; ; {
		name, left, ok := cutName(rest)
		if !ok {
			return "", no(fmt.Sprintf("copy the setting %q%s: its value is not a list of names", o.Name, o.place()), "set it anew with ALTER ROLE")
		}
		all = append(all, constant(name))
		if rest, ok = strings.CutPrefix(left, ","); !ok {
			return strings.Join(all, ", "), nil
		}
	}
}

// cutName takes the first name off a list, as PostgreSQL does: quoted, with quotes
// doubled inside, or plain up to a comma or a space, where case does not count.
func cutName(list string) (name, rest string, ok bool) {
	list = strings.TrimSpace(list)
	if !strings.HasPrefix(list, `"`) {
		end := strings.IndexAny(list+",", ", \t\n\r\f\v")
		name, rest = strings.ToLower(list[:end]), strings.TrimSpace(list[end:])
		return name, rest, name != "" && (rest == "" || rest[0] == ',')
	}
	var b strings.Builder
	for i := 1; i < len(list); i++ {
		switch {
		case list[i] != '"':
			b.WriteByte(list[i])
		case strings.HasPrefix(list[i+1:], `"`):
			b.WriteByte('"')
			i++
		default:
			rest = strings.TrimSpace(list[i+1:])
			return b.String(), rest, rest == "" || rest[0] == ','
		}
	}
	return "", "", false
}

// constant is text as an SQL string constant, also where the session reads
// backslashes as escapes (standard_conforming_strings = off).
// https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-CONSTANTS
func constant(text string) string {
	quoted := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(text, `\`) {
		return "E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
