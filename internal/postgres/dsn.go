package postgres

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// accepted are the parameters that `postgres-url` may hold; the ones that mean
// nothing here are listed because tools write them into URLs.
var accepted = []string{
	"host", "port", "user", "password", "dbname", "sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "options",
	"target_session_attrs", "application_name", "fallback_application_name", "client_encoding", "gssencmode", "sslsni",
	"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout",
}

// The errors about a connection string quote nothing of it: in a malformed one
// any part may be the password.
var (
	errSyntax    = errors.New("neither a URL (postgres://user@host:port/database) nor a list of keyword=value")
	errEscape    = errors.New("a % does not begin an escape of two hexadecimal digits: write a literal % as %25")
	errStrayAt   = errors.New("it has an unescaped @ or / in the user name or password: write @ as %40 and / as %2F")
	errParameter = errors.New("it has a parameter that is not supported; these are: " + strings.Join(accepted, " "))
)

// parseDSN splits a connection string by libpq's rules, see
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING.
func parseDSN(text string) (map[string]string, error) {
	settings, err := keywords(text)
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		if rest, ok := strings.CutPrefix(text, scheme); ok {
			settings, err = parseURL(rest)
		}
	}
	if err != nil {
		return nil, err
	}
	if strings.ContainsRune(text, 0) {
		return nil, errSyntax
	}
	for key := range settings {
		if !slices.Contains(accepted, key) {
			return nil, errParameter
		}
	}
	return settings, nil
}

// parseURL reads what follows the scheme. net/url is no help: it refuses raw
// characters in passwords that libpq takes.
func parseURL(rest string) (map[string]string, error) {
	var pairs [][2]string
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		user, password, _ := strings.Cut(rest[:i], ":")
		pairs = append(pairs, [2]string{"user", user}, [2]string{"password", password})
		rest = rest[i+1:]
	}
	rest, query, _ := strings.Cut(rest, "?")
	place, database, _ := strings.Cut(rest, "/")
	if strings.Contains(rest, "@") {
		return nil, errStrayAt
	}
	host, port, err := splitPlace(place)
	if err != nil {
		return nil, err
	}
	pairs = append(pairs, [2]string{"host", host}, [2]string{"port", port}, [2]string{"dbname", database})
	for pair := range strings.SplitSeq(query, "&") {
		key, value, found := strings.Cut(pair, "=")
		if pair == "" {
			continue
		}
		if !found || strings.Contains(value, "=") {
			return nil, errSyntax
		}
		pairs = append(pairs, [2]string{key, value})
	}
	return decode(pairs)
}

// splitPlace separates host and port; an IPv6 address stands in brackets.
func splitPlace(place string) (host, port string, err error) {
	if after, ok := strings.CutPrefix(place, "["); ok {
		host, port, ok = strings.Cut(after, "]")
		if !ok || port != "" && port[0] != ':' {
			return "", "", errSyntax
		}
		return host, strings.TrimPrefix(port, ":"), nil
	}
	host, port, _ = strings.Cut(place, ":")
	return host, port, nil
}

func decode(pairs [][2]string) (map[string]string, error) {
	settings := map[string]string{}
	for _, pair := range pairs {
		key, err := url.PathUnescape(pair[0])
		if err != nil {
			return nil, errEscape
		}
		value, err := url.PathUnescape(pair[1])
		if err != nil {
			return nil, errEscape
		}
		if strings.ContainsRune(key+value, 0) {
			return nil, errSyntax
		}
		if value == "" {
			continue
		}
		if key == "ssl" && value == "true" { // as JDBC writes it, and as libpq reads it
			key, value = "sslmode", "require"
		}
		settings[key] = value
	}
	return settings, nil
}

// keywords reads the form "host=h password='p w'". A backslash takes the
// following character as it is.
func keywords(text string) (map[string]string, error) {
	const space = " \t\n\r\v\f"
	settings := map[string]string{}
	for text = strings.TrimLeft(text, space); text != ""; text = strings.TrimLeft(text, space) {
		key, rest, found := strings.Cut(text, "=")
		key = strings.TrimRight(key, space)
		if !found || key == "" || strings.ContainsAny(key, space) {
			return nil, errSyntax
		}
		value, after, ok := word(strings.TrimLeft(rest, space))
		if !ok {
			return nil, errSyntax
		}
		text = after
		if value != "" {
			settings[key] = value
		}
	}
	return settings, nil
}

// word takes one value, quoted or not, off the front of s.
func word(s string) (value, rest string, ok bool) {
	quoted := strings.HasPrefix(s, "'")
	if quoted {
		s = s[1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\'':
			return b.String(), s[i+1:], true
		case !quoted && strings.IndexByte(" \t\n\r\v\f", c) >= 0:
			return b.String(), s[i:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case c != '\\':
			b.WriteByte(c)
		}
	}
	return b.String(), "", !quoted
}
