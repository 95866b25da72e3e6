package rotation

import (
	"testing"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Whoever writes the journal cannot have another role closed than that which the
// inputs, the names or this run itself know of.
func TestOnlyThePairThatTheJournalAloneNamesIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		what, role, alternate, served, replaced, closes string
		roles                                           pair
		want                                            string
	}{
		{what: "named by the suffix", roles: pair{"app", "app_alt"}, served: "app_alt", closes: "app"},
		{what: "the twin by the suffix", roles: pair{"app", "app_alt"}, served: "app", closes: "app_alt"},
		{what: "named by the inputs", roles: pair{"app", "blue"}, role: "app", alternate: "blue", served: "blue", closes: "app"},
		{what: "the twin by the inputs", roles: pair{"app", "blue"}, alternate: "blue", served: "app", closes: "blue"},
		{what: "served until now", roles: pair{"app", "blue"}, served: "blue", replaced: "app", closes: "app"},
		{what: "the twin by the journal", roles: pair{"app", "payroll"}, served: "app", closes: "payroll", want: "app"},
		{what: "the base by the journal", roles: pair{"payroll", "blue"}, alternate: "blue", served: "blue", closes: "payroll", want: "blue"},
		{what: "a pair that is not served", roles: pair{"payroll", "payroll_alt"}, served: "app", closes: "payroll", want: "app"},
		{what: "none of the pair", roles: pair{"app", "app_alt"}, served: "app", closes: "payroll", want: "app"},
	} {
		r := &run{Rotation: &Rotation{Role: c.role, AlternateRole: c.alternate}, roles: c.roles}
		r.served.Credential, r.replaced = secret.Credential{User: c.served}, secret.Credential{User: c.replaced}
		if got := r.unproven(c.closes); got != c.want {
			t.Errorf("%s: the database is asked about %q, want %q", c.what, got, c.want)
		}
	}
}
