package kube

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// urlForm is a connection URI as libpq reads it: user and password stand before
// the "@" or are parameters, which count more. Several hosts are allowed, which
// is why net/url cannot read it.
// https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
func urlForm() form {
	return form{find: findInURL, write: func(_, value string) string { return escape(value) }}
}

var (
	urlScheme = regexp.MustCompile(`^\s*postgres(ql)?://`)

	errNotURL   = errors.New("it is no postgres:// or postgresql:// URL")
	errURLRaw   = errors.New("user or password in it have an unescaped \"@\", \"/\", \"?\" or \"#\" (write %40, %2F, %3F, %23): where they end cannot be told")
	errURLBytes = errors.New("user or password in it have a broken %-escape")
)

func findInURL(text string) (found, error) {
	start := len(urlScheme.FindString(text))
	if start == 0 {
		return found{}, errNotURL
	}
	end := len(strings.TrimRight(text, " \t\r\n"))
	var at found
	hosts := start + until(text[start:end], "/?#")
	if err := at.userinfo(text, start, hosts); err != nil {
		return found{}, err
	}
	if query := strings.IndexByte(text[start:end], '?'); query >= 0 {
		return at, at.parameters(text, start+query+1, end)
	}
	return at, nil
}

// userinfo finds user and password before the hosts, which end at end.
func (at *found) userinfo(text string, start, end int) error {
	stop := strings.IndexByte(text[start:end], '@')
	if ambiguous(text[start:end], text[end:]) {
		return errURLRaw
	}
	if stop < 0 {
		return nil
	}
	user, _, ok := strings.Cut(text[start:start+stop], ":")
	if err := add(&at.users, text, start, start+len(user)); err != nil || !ok {
		return err
	}
	return add(&at.passwords, text, start+len(user)+1, start+stop)
}

// ambiguous tells whether an "@" stands where one parser takes it for the end of
// the password and another does not. Behind a "?" all of them agree, if the
// hosts have one.
func ambiguous(hosts, rest string) bool {
	path := rest[:until(rest, "?#")]
	return strings.Count(hosts, "@") > 1 || strings.Contains(path, "@") ||
		!strings.Contains(hosts, "@") && strings.Contains(rest, "@")
}

// parameters finds user and password in the query of a URL.
func (at *found) parameters(text string, start, end int) error {
	for start < end {
		stop := start + until(text[start:end], "&")
		key, value, _ := strings.Cut(text[start:stop], "=")
		var err error
		switch key {
		case "user":
			err = add(&at.users, text, stop-len(value), stop)
		case "password":
			err = add(&at.passwords, text, stop-len(value), stop)
		}
		if err != nil {
			return err
		}
		start = stop + 1
	}
	return nil
}

func add(spans *[]span, text string, start, end int) error {
	value, err := url.PathUnescape(text[start:end])
	if err != nil {
		return errURLBytes
	}
	if value != "" {
		*spans = append(*spans, span{start, end, value})
	}
	return nil
}

// until is the length of text up to the first of the stops.
func until(text, stops string) int {
	if i := strings.IndexAny(text, stops); i >= 0 {
		return i
	}
	return len(text)
}

// escape writes value with the unreserved characters of RFC 3986 only, so that
// every parser reads it the same wherever it stands.
func escape(value string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; unreserved(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
