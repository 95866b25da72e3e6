package secret

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Keeper knows every secret of the process. A secret that passes through it is
// announced to the mask before anything else can see it, and Scrub and Writer
// take all its encodings out of text on its way to a person. Safe for
// concurrent use.
type Keeper struct {
	mask  func(form string)
	mu    sync.RWMutex
	forms []string // every encoding of every secret, longest first
}

// NewKeeper returns a Keeper that calls mask once for each form of each new
// secret. mask may be nil.
func NewKeeper(mask func(form string)) *Keeper {
	if mask == nil {
		mask = func(string) {}
	}
	return &Keeper{mask: mask}
}

// Keep turns s into a Value, after masking it.
func (k *Keeper) Keep(s string) Value {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, form := range forms(s) {
		if !slices.Contains(k.forms, form) {
			k.forms = append(k.forms, form)
			k.mask(form)
		}
	}
	slices.SortStableFunc(k.forms, func(a, b string) int { return len(b) - len(a) })
	return New(s)
}

const (
	letters  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	alphabet = letters + "0123456789"
)

// Generate makes a password of length characters from crypto/rand: letters and
// digits, the first a letter, so that it is the same in a URL, a DSN, a shell
// and a YAML file. Each character but the first carries 5.95 bits.
func (k *Keeper) Generate(length int) Value {
	var b strings.Builder
	b.WriteByte(pick(letters))
	for b.Len() < length {
		b.WriteByte(pick(alphabet))
	}
	return k.Keep(b.String())
}

// pick draws one character without bias: bytes past the largest multiple of
// len(from) are drawn again.
func pick(from string) byte {
	limit := 256 - 256%len(from)
	var b [1]byte
	for {
		rand.Read(b[:]) // never returns an error, see crypto/rand
		if int(b[0]) < limit {
			return from[int(b[0])%len(from)]
		}
	}
}

// Scrub returns s with every form of every secret replaced by "***", and the
// password of every URL, which may be one that nobody has announced: an input in
// the wrong place, a proxy's address.
func (k *Keeper) Scrub(s string) string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, form := range k.forms {
		s = strings.ReplaceAll(s, form, "***")
	}
	if strings.ContainsAny(s, "\n\r") {
		s = k.scrubRests(k.scrubWrapped(s))
	}
	return withoutPasswords(s) // last: a secret may hold a URL, and is to go as a whole
}

// withoutPasswords takes the password out of every URL, see "Userinfo" in RFC 3986.
// One with white space or quotes is no URL.
func withoutPasswords(s string) string {
	if !strings.Contains(s, "://") {
		return s
	}
	return regexp.MustCompile(`(://[^\s/?#:@"'<>]*):[^\s"'<>]*@`).ReplaceAllString(s, "$1:***@")
}

// String, and with it every verb, shows nothing.
func (k *Keeper) String() string { return "secret.Keeper" }

// Format shows nothing, whatever the verb.
func (k *Keeper) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, k.String()) }

// Writer returns a writer that scrubs whole lines before they reach w. A
// secret that spans two writes is found, also where it is wrapped: a line that
// may end with the beginning of one is kept back until the next comes. Close
// writes what is left.
func (k *Keeper) Writer(w io.Writer) io.WriteCloser { return &scrubber{keeper: k, w: w} }

type scrubber struct {
	keeper *Keeper
	w      io.Writer
	mu     sync.Mutex
	rest   []byte
}

func (s *scrubber) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest = append(s.rest, p...)
	end := bytes.LastIndexByte(s.rest, '\n') + 1
	if err := s.flush(s.keeper.whole(string(s.rest[:end]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *scrubber) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flush(len(s.rest))
}

func (s *scrubber) flush(end int) error {
	if end == 0 {
		return nil
	}
	text := s.keeper.Scrub(string(s.rest[:end]))
	s.rest = append(s.rest[:0], s.rest[end:]...)
	_, err := io.WriteString(s.w, text)
	return err
}
