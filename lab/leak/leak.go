// Package leak looks for secrets where they must not be, in every form that an
// encoding on the way there could give them.
package leak

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"strconv"
	"strings"
)

// Encoding is a form in which a secret may appear in text.
type Encoding struct {
	Name   string
	Encode func(string) string
}

// Encodings are all that are looked for. Those of base64 leave out the
// characters that depend on what stands before or after.
func Encodings() []Encoding {
	return []Encoding{
		{"plain", func(s string) string { return s }},
		{"base64", func(s string) string { return aligned(base64.RawStdEncoding, s, 0) }},
		{"base64 after one byte", func(s string) string { return aligned(base64.RawStdEncoding, s, 1) }},
		{"base64 after two bytes", func(s string) string { return aligned(base64.RawStdEncoding, s, 2) }},
		{"base64url", func(s string) string { return aligned(base64.RawURLEncoding, s, 0) }},
		{"URL query", url.QueryEscape},
		{"URL password", func(s string) string { return strings.TrimPrefix(url.UserPassword("", s).String(), ":") }},
		{"JSON", inJSON},
		{"Go string", func(s string) string { q := strconv.Quote(s); return q[1 : len(q)-1] }},
		{"lower hexadecimal", func(s string) string { return hex.EncodeToString([]byte(s)) }},
		{"upper hexadecimal", func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) }},
		{"HTML", html.EscapeString},
	}
}

func aligned(e *base64.Encoding, s string, offset int) string {
	text := e.EncodeToString([]byte(strings.Repeat("\x00", offset) + s))
	return text[(8*offset+5)/6 : 8*(offset+len(s))/6]
}

func inJSON(s string) string {
	q, _ := json.Marshal(s) // a string cannot fail
	return string(q[1 : len(q)-1])
}
