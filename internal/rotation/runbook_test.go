package rotation

import (
	"slices"
	"testing"
)

func TestClosedRoleTellsItsSQL(t *testing.T) {
	for role, want := range map[string]string{
		"app":         `if the role is meant to log in: ALTER ROLE "app" LOGIN;`,
		`Ann "a\b" Ü`: `if the role is meant to log in: ALTER ROLE "Ann ""a\b"" Ü" LOGIN;`,
	} {
		if got := Hints(noLogin(role)); !slices.Equal(got, []string{want}) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
