package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"html/template"
	"math"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// awkward has what every kind of escaping changes.
const awkward = `p'a"s\s w&<o>/rd?+é%#` + "\t1"

// encodings are how a secret gets into text.
var encodings = map[string]func(s string) string{
	"raw":           func(s string) string { return s },
	"hex":           func(s string) string { return hex.EncodeToString([]byte(s)) },
	"HEX":           func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"base64":        func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64 URL":    func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"URL query":     url.QueryEscape,
	"URL path":      url.PathEscape,
	"URL user":      func(s string) string { return strings.TrimPrefix(url.UserPassword("", s).String(), ":") },
	"JSON":          func(s string) string { return unquoted(encoded(s, true)) },
	"JSON for HTML": func(s string) string { return unquoted(encoded(s, false)) },
	"Go":            func(s string) string { return unquoted(fmt.Sprintf("%q", s)) },
	"Go in ASCII":   func(s string) string { return unquoted(fmt.Sprintf("%+q", s)) },
	"HTML":          html.EscapeString,
	"HTML template": template.HTMLEscapeString,
	"HTML by html/template": func(s string) string {
		var out bytes.Buffer
		_ = template.Must(template.New("").Parse("{{.}}")).Execute(&out, s) // writing to memory
		return out.String()
	},
	"XML": func(s string) string {
		return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace(s)
	},
	"SQL":   func(s string) string { return strings.ReplaceAll(s, `'`, `''`) },
	"libpq": func(s string) string { return strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) },
	"shell": func(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) },
}

func unquoted(s string) string { return s[1 : len(s)-1] }

func encoded(s string, plain bool) string {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(!plain)
	_ = e.Encode(s) // a string always encodes
	return strings.TrimSpace(out.String())
}

func TestScrubFindsEveryEncoding(t *testing.T) {
	for _, s := range []string{hidden, awkward, "x", "ünïcödé", `"quoted"`, "b\aell \x7f \u200bé\u2028", "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"} {
		k := secret.NewKeeper(nil)
		k.Keep(s)
		for name, encode := range encodings {
			text := encode(s)
			if len(text) < 6 && text != s {
				continue // too short to mean anything
			}
			if got := k.Scrub("<<" + text + ">>"); got != "<<***>>" {
				t.Errorf("%s of %q: %q", name, s, got)
			}
		}
	}
}

// TestScrubFindsBase64InLongerText tries every alignment of the secret in what
// was encoded. Only what shares a character with its neighbours may stay.
func TestScrubFindsBase64InLongerText(t *testing.T) {
	for _, s := range []string{hidden, awkward, "~~~???>>>~~~???>>>"} {
		k := secret.NewKeeper(nil)
		k.Keep(s)
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
			for before := range 7 {
				for after := range 4 {
					text := enc.EncodeToString([]byte("user:ab"[7-before:] + s + "@db"[:after]))
					scrubbed := k.Scrub(text)
					left := len(scrubbed) - len("***")
					if allowed := len(text) - (8*len(s)-10)/6; !strings.Contains(scrubbed, "***") || left > allowed {
						t.Errorf("%d bytes before, %d after: %q became %q, which is %d characters too many", before, after, text, scrubbed, left-allowed)
					}
				}
			}
		}
	}
}

func TestScrubFindsTheLinesOfASecret(t *testing.T) {
	k := secret.NewKeeper(nil)
	k.Keep("-----BEGIN KEY-----\n  bGluZTE=secret\nshort\r\nlast line of it\n")
	text := k.Scrub("a: bGluZTE=secret\nb: short\nc: last line of it")
	if want := "a: ***\nb: short\nc: ***"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

func TestScrubTakesPasswordsOutOfURLs(t *testing.T) {
	keeper := secret.NewKeeper(nil)
	for text, want := range map[string]string{
		`"postgres://app:hunter2@db.internal:5432/app" is not host:port`: `"postgres://app:***@db.internal:5432/app" is not host:port`,
		"http://user:p@ss/w:rd@proxy:3128, then":                         "http://user:***@proxy:3128, then",
		"https://:tok-en@github.internal":                                "https://:***@github.internal",
		"see https://docs.github.com:443/en and a@b":                     "see https://docs.github.com:443/en and a@b",
		"https://user@host/a:b":                                          "https://user@host/a:b",
	} {
		if got := keeper.Scrub(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func TestScrubTakesASecretThatHoldsAURLAsAWhole(t *testing.T) {
	keeper := secret.NewKeeper(nil)
	keeper.Keep("postgres://admin:hunter2@db.internal/app")
	keeper.Keep("p://q:r@tail-of-a-password")
	if got := keeper.Scrub("postgres://admin:hunter2@db.internal/app and p://q:r@tail-of-a-password"); got != "*** and ***" {
		t.Errorf("it became %q", got)
	}
}

func TestKeeperShowsNothing(t *testing.T) {
	keeper := secret.NewKeeper(nil)
	keeper.Keep("hunter2hunter2")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		if got := fmt.Sprintf(verb, keeper); got != "secret.Keeper" {
			t.Errorf("%s shows %q", verb, got)
		}
	}
}

func TestScrubLeavesOtherText(t *testing.T) {
	k := secret.NewKeeper(nil)
	const text = "role \"alfred_user\": rotated at 2026-03-01\n"
	k.Keep("")
	k.Keep(hidden)
	k.Keep("ab") // whose base64 and hex stand in many words
	if got := k.Scrub(text); got != text {
		t.Errorf("%q became %q", text, got)
	}
}

func TestScrubTakesTheLongerSecretFirst(t *testing.T) {
	for _, order := range [][]string{{"password", "password-and-more"}, {"password-and-more", "password"}} {
		k := secret.NewKeeper(nil)
		for _, s := range order {
			k.Keep(s)
		}
		if got := k.Scrub("is password-and-more, was password"); got != "is ***, was ***" {
			t.Errorf("%q", got)
		}
	}
}

func TestKeepMasksBeforeAnybodySeesIt(t *testing.T) {
	var masked []string
	k := secret.NewKeeper(func(form string) { masked = append(masked, form) })
	v := k.Keep(awkward)
	if v.Reveal() != awkward {
		t.Error("the Value is not what was kept")
	}
	for name, encode := range encodings {
		if !slices.Contains(masked, encode(awkward)) {
			t.Errorf("%s is not masked", name)
		}
	}
	once := len(masked)
	if k.Keep(awkward); len(masked) != once {
		t.Errorf("kept twice, masked %d forms and then %d more", once, len(masked)-once)
	}
	if k.Keep(""); len(masked) != once || slices.Contains(masked, "") {
		t.Error("the empty string was masked")
	}
}

func TestGenerate(t *testing.T) {
	masked := map[string]bool{}
	seen := map[string]bool{}
	for _, length := range []int{24, 36, 128} {
		k := secret.NewKeeper(func(form string) { masked[form] = true })
		for range 50 {
			s := k.Generate(length).Reveal()
			if len(s) != length || strings.Trim(s, alphabet) != "" || !strings.Contains(alphabet[:52], s[:1]) {
				t.Fatalf("%d characters, asked for %d: %q", len(s), length, s)
			}
			if seen[s] || !masked[s] {
				t.Errorf("repeated: %v, masked at birth: %v", seen[s], masked[s])
			}
			seen[s] = true
		}
	}
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// TestGenerateHasNoBias would see the 25 % that a plain remainder of a byte
// gives to eight of the characters: more than 10 standard deviations.
func TestGenerateHasNoBias(t *testing.T) {
	const length = 200_000
	s := secret.NewKeeper(nil).Generate(length).Reveal()[1:]
	mean := float64(len(s)) / float64(len(alphabet))
	for _, c := range alphabet {
		if n := strings.Count(s, string(c)); math.Abs(float64(n)-mean) > 7*math.Sqrt(mean) {
			t.Errorf("%q comes %d times, expected %.0f", c, n, mean)
		}
	}
}

func TestWriterFindsASecretInTwoWrites(t *testing.T) {
	k := secret.NewKeeper(nil)
	k.Keep(hidden)
	line := "password is " + hidden + ", keep it\n"
	for cut := range len(line) + 1 {
		var out bytes.Buffer
		w := k.Writer(&out)
		for _, part := range []string{line[:cut], line[cut:]} {
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatalf("wrote %d of %d: %v", n, len(part), err)
			}
			wantHidden(t, "cut", out.String())
		}
		if want := "password is ***, keep it\n"; out.String() != want {
			t.Errorf("cut at %d: %q, want %q", cut, out.String(), want)
		}
	}
}

// TestWrappedFormsAreFound breaks every form at every place, as base64 -w, PEM
// and YAML do, and writes the text line by line.
func TestWrappedFormsAreFound(t *testing.T) {
	const s = "Wrapped4Password7Longer"
	for name, encode := range encodings {
		form := encode(s)
		for cut := 1; cut < len(form); cut++ {
			for _, between := range []string{"\n", "\r\n", "\n    "} {
				k := secret.NewKeeper(nil)
				k.Keep(s)
				var out bytes.Buffer
				w := k.Writer(&out)
				for line := range strings.Lines("key: " + form[:cut] + between + form[cut:] + "\nnext\n") {
					fmt.Fprint(w, line)
				}
				w.Close()
				if text := out.String(); longestShared(text, form) > 2 || !strings.HasSuffix(text, "\nnext\n") {
					t.Errorf("%s cut at %d by %q: %q", name, cut, between, text)
				}
			}
		}
	}
}

// longestShared is the length of the longest part of form that text holds.
func longestShared(text, form string) int {
	longest := 0
	for i := range form {
		for n := longest + 1; i+n <= len(form) && strings.Contains(text, form[i:i+n]); n++ {
			longest = n
		}
	}
	return longest
}

func TestFormsOverManyLinesAreFound(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 20)
	k := secret.NewKeeper(nil)
	k.Keep(long)
	var out bytes.Buffer
	w := k.Writer(&out)
	for i := 0; i < len(long); i += 64 {
		fmt.Fprintln(w, long[i:i+64])
	}
	fmt.Fprintln(w, "end")
	w.Close()
	if want := "***\n***\n***\n***\n***\nend\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// A secret of asterisks is found in what replaces it; that must come to an end.
func TestScrubEnds(t *testing.T) {
	k := secret.NewKeeper(nil)
	k.Keep("******")
	if got := k.Scrub("***\n***\n***"); strings.Count(got, "\n") != 2 {
		t.Errorf("%q", got)
	}
}

// A reader who watches must see a line when it is written.
func TestOrdinaryLinesAreNotKeptBack(t *testing.T) {
	k := secret.NewKeeper(nil)
	k.Keep(hidden)
	var out bytes.Buffer
	w := k.Writer(&out)
	for _, line := range []string{"ready\n", "it ends with Hi\n", "restart: 2 of 2 pods ready\n"} {
		out.Reset()
		if fmt.Fprint(w, line); out.String() != line {
			t.Errorf("%q was written as %q", line, out.String())
		}
	}
}

func TestWriterKeepsTheLastLineUntilItIsClosed(t *testing.T) {
	k := secret.NewKeeper(nil)
	k.Keep(hidden)
	var out bytes.Buffer
	w := k.Writer(&out)
	fmt.Fprint(w, "one\nthe last is ", hidden[:5])
	if out.String() != "one\n" {
		t.Errorf("before the end of the line: %q", out.String())
	}
	fmt.Fprint(w, hidden[5:])
	for range 2 {
		if err := w.Close(); err != nil || out.String() != "one\nthe last is ***" {
			t.Errorf("closed: %q, %v", out.String(), err)
		}
	}
}

var errFull = errors.New("no space left")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriterTellsWhatItCouldNotWrite(t *testing.T) {
	w := secret.NewKeeper(nil).Writer(full{})
	if n, err := fmt.Fprintln(w, "a line"); n != 0 || !errors.Is(err, errFull) {
		t.Errorf("wrote %d: %v", n, err)
	}
}

// TestKeeperIsUsedByManyAtOnce means something under the race detector; without
// it, it proves that no line is lost.
func TestKeeperIsUsedByManyAtOnce(t *testing.T) {
	k := secret.NewKeeper(nil)
	var out bytes.Buffer
	w := k.Writer(&out)
	var running sync.WaitGroup
	for i := range 8 {
		running.Go(func() {
			s := fmt.Sprintf("secret-number-%d", i)
			k.Keep(s)
			fmt.Fprintln(w, "it is", s)
		})
	}
	running.Wait()
	if want := strings.Repeat("it is ***\n", 8); out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// inPieces writes text in pieces of n bytes.
func inPieces(k *secret.Keeper, text string, n int) string {
	var out bytes.Buffer
	w := k.Writer(&out)
	for piece := range slices.Chunk([]byte(text), n) {
		_, _ = w.Write(piece)
	}
	_ = w.Close()
	return out.String()
}

// FuzzScrub puts a secret, encoded in each way, between two texts. A secret with
// an asterisk is left out: it can be part of the placeholder.
func FuzzScrub(f *testing.F) {
	f.Add("before ", hidden, " after")
	f.Add("{\"k\":\"", awkward, "\"}")
	f.Add("", "line one\nline two", "\n")
	f.Add("a", "aba", "ba")
	f.Add("\xff", "\xfe\x00bytes", "\x80")
	f.Fuzz(func(t *testing.T, before, s, after string) {
		if s == "" || strings.Contains(s, "*") {
			return
		}
		k := secret.NewKeeper(nil)
		k.Keep(s)
		for name, encode := range encodings {
			form := encode(s)
			if form != s && len(form) < 6 {
				continue
			}
			text := before + form + after
			for by, got := range map[string]string{"Scrub": k.Scrub(text), "Writer": inPieces(k, text, 1+len(before)%7)} {
				if strings.Contains(got, form) {
					t.Errorf("%s of %q by %s: %q still holds %q", name, s, by, got, form)
				}
			}
		}
	})
}
