package postgres

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// rfcSalt is the one of the example in RFC 7677, section 3.
const rfcSalt = "W22ZaJ0SNY7soEsUEjb6gQ=="

func TestOpens(t *testing.T) {
	ours := secret.New(scram("correct horse", newSalting(4096)))
	md5 := secret.New(secret.MD5("app", "correct horse"))
	for _, c := range []struct {
		name     string
		verifier secret.Value
		role     string
		password string
		want     bool
	}{
		{"scram", ours, "app", "correct horse", true},
		{"scram, wrong password", ours, "app", "correct horsf", false},
		{"scram, no password", ours, "app", "", false},
		{"scram of the empty password", secret.New(scram("", newSalting(4096))), "app", "", false},
		{"scram as PostgreSQL normalises", secret.New(scram("I\u0301", newSalting(4096))), "app", "I\u0301", true},
		{"scram of the composed form", secret.New(scram("\u00cd", newSalting(4096))), "app", "I\u0301", true},
		{"md5", md5, "app", "correct horse", true},
		{"md5 of another role", md5, "app2", "correct horse", false},
		{"md5, wrong password", md5, "app", "x", false},
		{"plain text", secret.New("correct horse"), "app", "correct horse", false},
		{"none", secret.Value{}, "app", "correct horse", false},
	} {
		if got := opens(c.verifier, c.role, secret.New(c.password)); got != c.want {
			t.Errorf("%s: opens = %v, want %v", c.name, got, c.want)
		}
	}
}

func malformed() map[string]string {
	good := scram("x", newSalting(4096))
	head, keys, _ := strings.Cut(good[len("SCRAM-SHA-256$"):], "$")
	stored, server, _ := strings.Cut(keys, ":")
	join := func(head, stored, server string) string { return "SCRAM-SHA-256$" + head + "$" + stored + ":" + server }
	return map[string]string{
		"empty":                    "",
		"space before":             " " + good,
		"newline after":            good + "\n",
		"quote after":              good + "'",
		"lower case":               strings.ToLower(good),
		"no server key":            "SCRAM-SHA-256$" + head + "$" + stored,
		"short stored key":         join(head, stored[4:], server),
		"server key not canonical": join(head, stored, server[:42]+"/="),
		"zero iterations":          join("0:"+rfcSalt, stored, server),
		"negative iterations":      join("-1:"+rfcSalt, stored, server),
		"too many iterations":      join("99999999:"+rfcSalt, stored, server),
		"no salt":                  join("4096:", stored, server),
		"salt not base64":          join("4096:===", stored, server),
		"salt cut":                 join("4096:W22ZaJ0SNY7soEsUEjb6gQ", stored, server),
		"SHA-1":                    strings.Replace(good, "256", "1", 1),
		"two":                      good + good,
	}
}

func TestParseRefusesWhatPostgreSQLTakesForPlainText(t *testing.T) {
	for name, text := range malformed() {
		if _, ok := parse(secret.New(text)); ok {
			t.Errorf("%s: parse accepts %q", name, text)
		}
	}
	if s, ok := parse(throwaway(4096)); !ok || s.iterations != 4096 {
		t.Error("parse refuses a throw-away verifier")
	}
	if opens(throwaway(4096), "app", secret.New("x")) {
		t.Error("a password opens a throw-away verifier")
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range malformed() {
		f.Add(text)
	}
	f.Add(scram("x", newSalting(4096)))
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := parse(secret.New(text))
		if !ok {
			return
		}
		if strings.ContainsAny(text, "'\\\x00 \n") {
			t.Errorf("%q would end the SQL literal that it stands in", text)
		}
		if !s.valid() || !strings.HasPrefix(text, "SCRAM-SHA-256$") {
			t.Errorf("%q is taken for a verifier salted with %v", text, s)
		}
	})
}

func TestNewSaltingIsFresh(t *testing.T) {
	a, b := newSalting(4096), newSalting(4096)
	if a == b {
		t.Errorf("two saltings are the same: %v", a)
	}
	if raw, err := base64.StdEncoding.DecodeString(a.salt); err != nil || len(raw) != saltLength {
		t.Errorf("the salt has %d bytes", len(raw))
	}
}
