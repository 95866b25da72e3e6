package kube

import (
	"errors"
	"strings"
)

// span is a part of a text with what it means once decoded.
type span struct {
	start, end int
	value      string
}

// found is where a connection string holds user and password. The same may
// stand there more than once: all of it is changed, the last one counts.
type found struct {
	users, passwords []span
}

func (f found) user() string     { return last(f.users) }
func (f found) password() string { return last(f.passwords) }

func last(spans []span) string {
	if len(spans) == 0 {
		return ""
	}
	return spans[len(spans)-1].value
}

// form is a way to write connection parameters in one text.
type form struct {
	find  func(text string) (found, error)
	write func(former, value string) string // encodes value where former stood
}

var (
	errNoUser     = errors.New("it holds no user name")
	errNoPassword = errors.New("it holds no password")
	errUneditable = errors.New("user and password cannot be replaced in it")
)

// read returns the user and password in text. Errors never quote it.
func (f form) read(text string) (user, password string, err error) {
	at, err := f.find(text)
	switch {
	case err != nil:
		return "", "", err
	case len(at.users) == 0:
		return "", "", errNoUser
	case len(at.passwords) == 0:
		return "", "", errNoPassword
	}
	return at.user(), at.password(), nil
}

// edit replaces user and password in text and no other byte; where they are
// there already their bytes stay too. What it returns was read back.
func (f form) edit(text, user, password string) (string, error) {
	if _, _, err := f.read(text); err != nil {
		return "", err
	}
	at, err := f.find(text)
	if err != nil {
		return "", err
	}
	edited := f.replace(text, at, user, password)
	u, p, err := f.read(edited)
	if err != nil || u != user || p != password {
		return "", errUneditable
	}
	return edited, nil
}

func (f form) replace(text string, at found, user, password string) string {
	var b strings.Builder
	rest := 0
	for _, change := range merge(at, user, password) {
		b.WriteString(text[rest:change.start])
		former := text[change.start:change.end]
		b.WriteString(f.write(former, change.value))
		rest = change.end
	}
	return b.String() + text[rest:]
}

// merge lists the spans to change, first to last, with their new values.
func merge(at found, user, password string) []span {
	var changes []span
	users, passwords := at.users, at.passwords
	for len(users)+len(passwords) > 0 {
		next, value := &users, user
		if len(users) == 0 || len(passwords) > 0 && passwords[0].start < users[0].start {
			next, value = &passwords, password
		}
		if s := (*next)[0]; s.value != value {
			changes = append(changes, span{s.start, s.end, value})
		}
		*next = (*next)[1:]
	}
	return changes
}
