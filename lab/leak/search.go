package leak

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Search knows secrets and finds every form of them. The zero value knows none.
type Search struct {
	known  map[string]bool
	forms  map[uint64][]form // by their first eight bytes
	filter [1 << 16]bool     // by the lowest two of these: most text is passed over quickly
}

type form struct{ text, secret, encoding string }

const prefix = 8 // bytes; what is shorter occurs by chance

// Add makes a secret known by a name; it must have at least eight bytes. One
// that is known already changes nothing.
func (s *Search) Add(name, value string) {
	if s.known == nil {
		s.known, s.forms = map[string]bool{}, map[uint64][]form{}
	}
	if s.known[value] || len(value) < prefix {
		return
	}
	s.known[value] = true
	seen := map[string]bool{} // forms that are the same as an earlier one
	for _, e := range Encodings() {
		text := e.Encode(value)
		if seen[text] {
			continue
		}
		seen[text] = true
		key := binary.LittleEndian.Uint64([]byte(text))
		s.forms[key] = append(s.forms[key], form{text, name, e.Name})
		s.filter[uint16(key)] = true
	}
}

// In returns a line for each secret and form that the text holds. It quotes
// nothing of the secret.
func (s *Search) In(place, text string) (hits []string) {
	seen := map[form]bool{}
	for i := 0; i+prefix <= len(text); i++ {
		if !s.filter[uint16(text[i])|uint16(text[i+1])<<8] {
			continue
		}
		for _, f := range s.forms[binary.LittleEndian.Uint64([]byte(text[i:i+prefix]))] {
			if !seen[f] && strings.HasPrefix(text[i:], f.text) {
				seen[f] = true
				hits = append(hits, fmt.Sprintf("%s holds %s (%s)", place, f.secret, f.encoding))
			}
		}
	}
	return hits
}
