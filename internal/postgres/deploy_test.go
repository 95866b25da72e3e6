package postgres

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// TestDeploy takes the rights that deploy/postgresql.sql gives, and no others,
// for a planned rotation and for an emergency.
func TestDeploy(t *testing.T) {
	f := newFixture(t)
	rotator := f.rotator()
	d := f.locked(rotator)
	if _, warnings, err := d.Plan(t.Context(), f.app.User); err != nil || len(warnings) > 0 {
		t.Errorf("plan: %q, %v", warnings, err)
	}
	if _, err := d.Set(t.Context(), f.fresh()); err != nil {
		t.Errorf("set: %v", err)
	}
	if _, warnings, err := d.PlanLockout(t.Context(), f.app.User); err != nil || len(warnings) > 0 {
		t.Errorf("plan of an emergency: %q, %v", warnings, err)
	}
	next := f.fresh()
	f.setVerifier(f.app.User, scram(f.app.Password.Reveal(), newSalting(4096)))
	conn := f.session(f.app, "CREATE TEMPORARY TABLE hers (id int)")
	if ended := f.emergency(d, next); ended != 1 || f.alive(conn) {
		t.Errorf("%d sessions ended", ended)
	}
	f.ownsTheRole(d, next, f.app)
	var acts bool
	err := f.super.QueryRow(t.Context(), "SELECT pg_has_role($1, $2, 'USAGE')", rotator.User, f.app.User).Scan(&acts)
	if err != nil || acts {
		t.Errorf("the administrator can act as the role: %v", err)
	}
}

// rotator runs the file with names of its own.
func (f *fixture) rotator() secret.Credential {
	f.Helper()
	file, err := os.ReadFile("../../deploy/postgresql.sql")
	if err != nil {
		f.Fatal(err)
	}
	text := string(file)
	if f.major() < 16 {
		text = strings.ReplaceAll(text, "\nGRANT", "\n-- ")
		text = regexp.MustCompile(`(?m)^-- ((?:ALTER|GRANT) .*;)$`).ReplaceAllString(text, "$1")
	}
	made := f.newRole("deployed", "NOLOGIN") // for its name and password, and so that it goes away
	f.exec("DROP ROLE " + quote(made.User))
	f.exec(strings.NewReplacer("rotator", quote(made.User), "alfred_user", quote(f.app.User)).Replace(text))
	f.setVerifier(made.User, scram(made.Password.Reveal(), newSalting(4096)))
	return made
}
