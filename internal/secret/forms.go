package secret

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// shortestForm keeps derived forms that are too short to mean anything (base64
// of two characters) from tearing holes into ordinary text.
const shortestForm = 6

// forms returns the ways in which s may appear in text: itself, each of its
// lines, base64 (both alphabets, at the three alignments it has inside a
// longer text), hex, and its URL, JSON, Go, HTML, XML, SQL and backslash escapes.
func forms(s string) []string {
	if s == "" {
		return nil
	}
	all := []string{s}
	for _, line := range strings.Split(s, "\n") {
		if line = strings.TrimSpace(line); len(line) >= shortestForm {
			all = append(all, line)
		}
	}
	derived := append(base64Forms(s), hexForms(s)...)
	derived = append(derived, escapes(s)...)
	for _, form := range derived {
		if len(form) >= shortestForm {
			all = append(all, form)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// base64Forms returns the characters of s's base64 that do not depend on what
// stands before or after it, for the offsets 0, 1 and 2.
func base64Forms(s string) []string {
	var out []string
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for offset := range 3 {
			bits := 8 * (offset + len(s))
			text := enc.EncodeToString([]byte(strings.Repeat("\x00", offset) + s))
			first := (8*offset + 5) / 6 // the first character made of s's bits only
			if last := bits / 6; first < last {
				out = append(out, text[first:last])
			}
		}
		out = append(out, enc.EncodeToString([]byte(s)))
	}
	return out
}

func hexForms(s string) []string {
	low := hex.EncodeToString([]byte(s))
	return []string{low, strings.ToUpper(low)}
}

func escapes(s string) []string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return nil
	}
	plain := strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(string(quoted))
	markup := html.EscapeString(s)
	user := url.UserPassword("", s).String() // ":escaped"
	return []string{
		unquoted(string(quoted)), unquoted(plain), unquoted(strconv.Quote(s)), unquoted(strconv.QuoteToASCII(s)),
		url.QueryEscape(s), url.PathEscape(s), strings.TrimPrefix(user, ":"),
		markup, strings.ReplaceAll(markup, "\x00", "\uFFFD"), // as html/template's functions do
		strings.NewReplacer("\x00", "\uFFFD", "+", "&#43;").Replace(markup), // as its templates do
		strings.NewReplacer("&#34;", "&quot;", "&#39;", "&apos;").Replace(markup),
		strings.ReplaceAll(s, `'`, `''`),
		strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s),
		strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s),
	}
}

// unquoted leaves out the quotes around.
func unquoted(s string) string { return s[1 : len(s)-1] }
