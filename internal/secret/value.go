// Package secret holds what must not be seen: Value carries a secret without
// letting anything print or encode it, and Keeper knows every secret of the
// process, masks it at birth and scrubs it from whatever leaves the process. What
// the packages beside it tell one another of a credential stands here, too.
package secret

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
)

// shown is what every printing verb and text encoder sees of a Value.
const shown = "[secret]"

// errEncoded is returned by every encoder that could store a Value. Storing a
// placeholder instead of the secret would destroy it without a word.
var errEncoded = errors.New("encode a secret: refused, use Reveal where it may be written")

// Value is one secret: a password, a verifier, a token, the bytes of a key.
// The zero Value is "no secret". It holds a closure because formatting and
// reflection show the fields of structs, and a closure has none.
type Value struct{ reveal func() string }

// New returns a Value that reveals s; the empty string makes the zero Value.
// Secrets of the process are made by Keeper, which masks them first.
func New(s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{reveal: func() string { return s }}
}

// Reveal returns the secret itself. Only the files listed in the project's
// Reveal table may call it.
func (v Value) Reveal() string {
	if v.reveal == nil {
		return ""
	}
	return v.reveal()
}

// IsZero tells whether v holds no secret.
func (v Value) IsZero() bool { return v.reveal == nil }

// Equal compares two secrets in time that depends on their lengths only.
func (v Value) Equal(w Value) bool {
	return subtle.ConstantTimeCompare([]byte(v.Reveal()), []byte(w.Reveal())) == 1
}

// Format prints "[secret]" for every verb and flag.
func (Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(shown)) }

// String returns "[secret]".
func (Value) String() string { return shown }

// GoString returns "[secret]".
func (Value) GoString() string { return shown }

// LogValue shows "[secret]" to log/slog.
func (Value) LogValue() slog.Value { return slog.StringValue(shown) }

// MarshalJSON refuses.
func (Value) MarshalJSON() ([]byte, error) { return nil, errEncoded }

// MarshalText refuses, and with it the encoders that ask for text: XML, YAML, TOML.
func (Value) MarshalText() ([]byte, error) { return nil, errEncoded }

// MarshalBinary refuses, and with it gob.
func (Value) MarshalBinary() ([]byte, error) { return nil, errEncoded }
