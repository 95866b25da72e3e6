package kube

import (
	"errors"
	"strings"
)

// keyValueForm is libpq's "key=value key='value'" form. A backslash escapes the
// next character, inside quotes and outside.
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE
func keyValueForm() form { return form{find: findInKeyValue, write: quote} }

var (
	errNotKeyValue = errors.New("it is not of the form key=value")
	errOpenQuote   = errors.New("it has a quote that is not closed")
)

func findInKeyValue(text string) (found, error) {
	var at found
	pos := skip(text, 0)
	for pos < len(text) {
		name, start, err := keyword(text, pos)
		if err != nil {
			return found{}, err
		}
		value, err := valueAt(text, start)
		if err != nil {
			return found{}, err
		}
		switch name {
		case "user":
			at.users = append(at.users, value)
		case "password":
			at.passwords = append(at.passwords, value)
		}
		pos = skip(text, value.end)
	}
	return at, nil
}

// keyword reads a name and its "=" and returns where the value starts.
func keyword(text string, pos int) (name string, start int, err error) {
	end := pos + until(text[pos:], "= \t\r\n\f\v")
	equals := skip(text, end)
	if end == pos || equals == len(text) || text[equals] != '=' {
		return "", 0, errNotKeyValue
	}
	return text[pos:end], skip(text, equals+1), nil
}

// valueAt reads the value that starts at pos; its span includes the quotes.
func valueAt(text string, pos int) (span, error) {
	quoted := pos < len(text) && text[pos] == '\''
	i := pos
	if quoted {
		i++
	}
	var value strings.Builder
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			if i++; i < len(text) {
				value.WriteByte(text[i])
			}
		case quoted && c == '\'':
			return span{pos, i + 1, value.String()}, nil
		case !quoted && isSpace(c):
			return span{pos, i, value.String()}, nil
		default:
			value.WriteByte(c)
		}
	}
	if quoted {
		return span{}, errOpenQuote
	}
	return span{pos, len(text), value.String()}, nil
}

// quote writes value as it must stand in a key=value text, in quotes where it
// stood in quotes or needs them.
func quote(former, value string) string {
	if former != "" && former[0] != '\'' && value != "" && !strings.ContainsAny(value, "' \\\t\r\n\f\v") {
		return value
	}
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

func skip(text string, pos int) int {
	for pos < len(text) && isSpace(text[pos]) {
		pos++
	}
	return pos
}

// isSpace is C's isspace for ASCII, which is what libpq asks.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
