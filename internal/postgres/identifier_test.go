package postgres

import (
	"strings"
	"testing"
)

func TestNameable(t *testing.T) {
	for name, ok := range map[string]bool{
		"app": true, `we"ird`: true, "Ü": true, strings.Repeat("a", 63): true,
		"": false, strings.Repeat("a", 64): false, strings.Repeat("ü", 32): false, "a\x00b": false, "a\xffb": false,
	} {
		if err := nameable(name); (err == nil) != ok {
			t.Errorf("nameable(%q) = %v", name, err)
		}
	}
}

// FuzzQuote reads the quoted name back as PostgreSQL's scanner does.
func FuzzQuote(f *testing.F) {
	for _, name := range []string{"app", `"`, `""`, `a"; DROP ROLE x; --`, "", "é"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		quoted := quote(name)
		inner := strings.TrimSuffix(strings.TrimPrefix(quoted, `"`), `"`)
		if len(inner) != len(quoted)-2 {
			t.Fatalf("%q is not between quotes", quoted)
		}
		if strings.Contains(strings.ReplaceAll(inner, `""`, ""), `"`) {
			t.Fatalf("%q ends before its end", quoted)
		}
		if got := strings.ReplaceAll(inner, `""`, `"`); got != name {
			t.Errorf("%q reads back as %q", name, got)
		}
	})
}
