package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/text/secure/precis"

	"github.com/pgrotate/pgrotate/internal/secret"
)

const (
	saltLength        = 16         // as pg_be_scram_build_secret takes
	leastIterations   = 4096       // RFC 7677, section 4
	highestIterations = 10_000_000 // more would only keep this process busy
)

var (
	// scramForm is RFC 5803 as PostgreSQL stores it: what does not match it
	// exactly is silently taken for a plain-text password by ALTER ROLE.
	scramForm = regexp.MustCompile(`^SCRAM-SHA-256\$([1-9][0-9]{0,7}):([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]{43}=):([A-Za-z0-9+/]{43}=)$`)
	// md5Form is the older hash, md5 of password and role name.
	md5Form = regexp.MustCompile(`^md5[0-9a-f]{32}$`)
)

// salting is the part of a SCRAM verifier that the server tells everybody who
// begins to log in.
type salting struct {
	salt       string // base64, as stored
	iterations int
}

// newSalting draws a salt.
func newSalting(iterations int) salting {
	salt := make([]byte, saltLength)
	rand.Read(salt) // never returns an error, see crypto/rand
	return salting{salt: base64.StdEncoding.EncodeToString(salt), iterations: iterations}
}

func (s salting) valid() bool {
	raw, err := base64.StdEncoding.Strict().DecodeString(s.salt)
	return err == nil && len(raw) > 0 && s.iterations > 0 && s.iterations <= highestIterations
}

// Verifier makes a new SCRAM-SHA-256 verifier of password, with a fresh salt of
// 16 bytes and as many iterations as the server's scram_iterations asks for,
// 4096 at least (RFC 7677, section 4).
func (d *Database) Verifier(ctx context.Context, password secret.Value) (secret.Value, error) {
	if password.IsZero() {
		return secret.Value{}, no("compute a verifier: the password is empty", "")
	}
	var made secret.Value
	err := d.with(ctx, func(s *session) error {
		f, err := s.facts(ctx)
		if err != nil {
			return err
		}
		if made = d.derive(normal(password)[0], newSalting(f.iterations)); !opens(made, "", password) {
			return no("compute a verifier: it does not pass its own check", "")
		}
		return nil
	})
	return made, err
}

// derive computes the verifier of a normalised password.
func (d *Database) derive(password string, s salting) secret.Value {
	return d.keep(scram(password, s))
}

func scram(password string, s salting) string { return secret.SCRAM(password, s.salt, s.iterations) }

// parse returns how a SCRAM verifier is salted, and false for anything that
// PostgreSQL would not recognise as one.
func parse(verifier secret.Value) (salting, bool) {
	m := scramForm.FindStringSubmatch(verifier.Reveal())
	if m == nil {
		return salting{}, false
	}
	iterations, err := strconv.Atoi(m[1])
	s := salting{salt: m[2], iterations: iterations}
	for _, key := range m[3:] {
		if raw, err := base64.StdEncoding.Strict().DecodeString(key); err != nil || len(raw) != sha256.Size {
			return salting{}, false
		}
	}
	return s, err == nil && s.valid()
}

// isMD5 tells whether verifier is the older hash.
func isMD5(verifier secret.Value) bool { return md5Form.MatchString(verifier.Reveal()) }

// opens tells whether verifier, SCRAM or md5, is one of password.
func opens(verifier secret.Value, role string, password secret.Value) bool {
	if password.IsZero() {
		return false
	}
	if isMD5(verifier) {
		return verifier.Equal(secret.New(secret.MD5(role, password.Reveal())))
	}
	s, ok := parse(verifier)
	if !ok {
		return false
	}
	for _, form := range normal(password) {
		if verifier.Equal(secret.New(scram(form, s))) {
			return true
		}
	}
	return false
}

// normal returns the forms that PostgreSQL may have hashed for a password, the
// likeliest first: SASLprep where it applies, else the bytes as they are. PRECIS
// OpaqueString (RFC 8265) stands in for SASLprep (RFC 4013), as in pgx; for
// ASCII all are the same.
func normal(password secret.Value) []string {
	raw := password.Reveal()
	prepared, err := precis.OpaqueString.String(raw)
	if err != nil || prepared == raw {
		return []string{raw}
	}
	return []string{prepared, raw}
}

// throwaway is a well-formed verifier that no password opens.
func throwaway(iterations int) secret.Value {
	key := func() string {
		raw := make([]byte, sha256.Size)
		rand.Read(raw) // never returns an error, see crypto/rand
		return base64.StdEncoding.EncodeToString(raw)
	}
	s := newSalting(iterations)
	return secret.New(strings.Join([]string{"SCRAM-SHA-256$" + strconv.Itoa(iterations) + ":" + s.salt, key() + ":" + key()}, "$"))
}

// forms are c with each form of its password.
func (d *Database) forms(c secret.Credential) (all []secret.Credential) {
	for _, form := range normal(c.Password) {
		all = append(all, secret.Credential{User: c.User, Password: d.keep(form)})
	}
	return all
}

// remake makes the verifier of c, in a form of its password, that shows the challenge.
func (d *Database) remake(c secret.Credential, asked challenge) secret.Value {
	if asked.method == methodMD5 {
		return d.keep(secret.MD5(c.User, c.Password.Reveal()))
	}
	return d.derive(c.Password.Reveal(), asked.salting)
}
