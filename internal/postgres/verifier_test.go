package postgres

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// The example of RFC 7677, section 3: user "user", password "pencil".
const (
	rfcPassword = "pencil"
	rfcSalt     = "W22ZaJ0SNY7soEsUEjb6gQ=="
	rfcAuth     = "n=user,r=rOprNGfwEbeRWgbNEkqO," +
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	rfcProof     = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	rfcSignature = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
)

func TestVerifierOfTheRFC(t *testing.T) {
	text := scram(rfcPassword, salting{salt: rfcSalt, iterations: 4096})
	keys, ok := strings.CutPrefix(text, "SCRAM-SHA-256$4096:"+rfcSalt+"$")
	if !ok {
		t.Fatalf("verifier %q does not begin with its salting", text)
	}
	stored, server, _ := strings.Cut(keys, ":")
	storedKey, serverKey := unbase64(t, stored), unbase64(t, server)
	if got := base64.StdEncoding.EncodeToString(mac(serverKey, rfcAuth)); got != rfcSignature {
		t.Errorf("server signature %s, the RFC has %s", got, rfcSignature)
	}
	client := unbase64(t, rfcProof)
	for i, b := range mac(storedKey, rfcAuth) {
		client[i] ^= b
	}
	if sum := sha256.Sum256(client); !hmac.Equal(sum[:], storedKey) {
		t.Error("the stored key does not accept the RFC's client proof")
	}
}

func unbase64(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestOpens(t *testing.T) {
	ours := secret.New(scram("correct horse", newSalting(4096)))
	md5 := secret.New(hashed("app", "correct horse"))
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

// TestHashed compares with what PostgreSQL 15 stores for this role and password.
func TestHashed(t *testing.T) {
	if got, want := hashed("app", "pencil"), "md506d701b4dd9f7cbb00816251a451b978"; got != want {
		t.Errorf("hashed = %s, want %s", got, want)
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
	if raw := unbase64(t, a.salt); len(raw) != saltLength {
		t.Errorf("the salt has %d bytes", len(raw))
	}
}
