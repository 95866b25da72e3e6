package postgres

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

func TestParseDSN(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"postgres://u:p@h:5433/db?sslmode=require": {"user": "u", "password": "p", "host": "h", "port": "5433", "dbname": "db", "sslmode": "require"},
		"postgresql://h":                          {"host": "h"},
		"postgres://u@h":                          {"user": "u", "host": "h"},
		"postgres://u:p%40%2F%3A%25x@h/d":         {"user": "u", "password": "p@/:%x", "host": "h", "dbname": "d"},
		"postgres://u:p?#&=+x@h/d":                {"user": "u", "password": "p?#&=+x", "host": "h", "dbname": "d"},
		"postgres://u:p:q@h":                      {"user": "u", "password": "p:q", "host": "h"},
		"postgres://[::1]:5433/d":                 {"host": "::1", "port": "5433", "dbname": "d"},
		"postgres:///d?host=/run/postgresql":      {"host": "/run/postgresql", "dbname": "d"},
		"postgres://h?user=a%40b&password=x%26y&": {"host": "h", "user": "a@b", "password": "x&y"},
		"postgres://h1,h2:1/d":                    {"host": "h1,h2", "port": "1", "dbname": "d"},
		"postgres://h/d?ssl=true":                 {"host": "h", "dbname": "d", "sslmode": "require"},
		"host=h user=u":                           {"host": "h", "user": "u"},
		"  host = h\tuser='u v'  ":                {"host": "h", "user": "u v"},
		`password='it\'s \\' host=h`:              {"password": `it's \`, "host": "h"},
		`password=a\ b\'c host=h`:                 {"password": "a b'c", "host": "h"},
		"password='' host=h":                      {"host": "h"},
		"password=p@/:w host=h":                   {"password": "p@/:w", "host": "h"},
	} {
		got, err := parseDSN(text)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("parseDSN(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
}

// malformedURLs hold the password hunter2 where it can end up by mistake.
var malformedURLs = map[string]error{
	"postgres://u:hunter2/x@h/d":           errStrayAt,
	"postgres://u:1/hunter2@h/d":           errStrayAt,
	"postgres://u:x@hunter2@h/d":           errStrayAt,
	"postgres://u:hunter2%zz@h/d":          errEscape,
	"postgres://u:hunter2%4@h/d":           errEscape,
	"postgres://u:a/b?hunter2=x@h/d":       errParameter,
	"postgres://h/d?hunter2":               errSyntax,
	"postgres://h/d?password=hunter2=x":    errSyntax,
	"postgres://h/d?service=hunter2":       errParameter,
	"postgres://h/d?passfile=hunter2":      errParameter,
	"postgres://h/d?servicefile=hunter2":   errParameter,
	"postgres://h/d?hostaddr=hunter2":      errParameter,
	"postgres://u:hunter2\x00@h/d":         errSyntax,
	"postgres://u:hunter2%00@h/d":          errSyntax,
	"postgres://[hunter2/d":                errSyntax,
	"postgres://[::1]hunter2/d":            errSyntax,
	"mysql://u:hunter2@h/d":                errSyntax,
	"hunter2":                              errSyntax,
	"host=h password=hunter2 hunter2":      errSyntax,
	"host=h password='hunter2":             errSyntax,
	"host=h password=a hunter2=b":          errParameter,
	"host=h password=a hunter2 hunter2 =b": errSyntax,
	"=hunter2":                             errSyntax,
}

func TestMalformedDSNIsRefusedWithoutQuotingIt(t *testing.T) {
	for text, want := range malformedURLs {
		_, err := parseDSN(text)
		if !errors.Is(err, want) {
			t.Errorf("parseDSN(%q): %v, want %v", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("parseDSN(%q) quotes the password: %v", text, err)
		}
	}
}

func FuzzParseDSN(f *testing.F) {
	for text := range malformedURLs {
		f.Add(text)
	}
	f.Add("postgres://u:p@h:5433/db?sslmode=require")
	f.Add(`host=h password='it\'s'`)
	f.Fuzz(func(t *testing.T, text string) {
		settings, err := parseDSN(text)
		known := errors.Is(err, errSyntax) || errors.Is(err, errEscape) || errors.Is(err, errStrayAt) || errors.Is(err, errParameter)
		if err != nil && (!known || settings != nil) {
			t.Errorf("parseDSN(%q) = %v, %v: an error that may quote its input", text, settings, err)
		}
		for key, value := range settings {
			if value == "" || strings.Contains(value, "\x00") {
				t.Errorf("parseDSN(%q)[%q] = %q", text, key, value)
			}
		}
	})
}
