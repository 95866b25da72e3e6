package postgres

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/labtest"
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
	if _, warnings, err := d.PlanLockout(t.Context(), f.app.User, f.app.User); err != nil || len(warnings) > 0 {
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

// deployed is the file, with the names of this fixture and for its server.
func (f *fixture) deployed(rotator string) string {
	f.Helper()
	text, err := labtest.RotatorSQL(f.major(), quote(rotator), quote(f.app.User))
	if err != nil {
		f.Fatal(err)
	}
	return text
}

// rotator runs the file.
func (f *fixture) rotator() secret.Credential {
	f.Helper()
	made := f.newRole("deployed", "NOLOGIN") // for its name and password, and so that it goes away
	f.exec("DROP ROLE " + quote(made.User))
	f.exec(f.deployed(made.User))
	f.setVerifier(made.User, scram(made.Password.Reveal(), newSalting(4096)))
	return made
}

// TestEveryDeployedRightIsNeeded takes the rights of the file away one at a time:
// the plans say so, and the SQL that they print gives it back.
func TestEveryDeployedRightIsNeeded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	rotator := f.rotator()
	if says := f.objections(rotator); len(says) > 0 {
		t.Fatalf("with all rights: %q", says)
	}
	for _, taken := range f.takings(rotator.User) {
		f.exec(taken)
		says := f.objections(rotator)
		remedies := regexp.MustCompile(`as a superuser[^:]*: (.*;)`).FindAllStringSubmatch(strings.Join(says, "\n"), -1)
		if len(remedies) == 0 {
			t.Fatalf("after %s: no SQL in %q", taken, says)
		}
		for _, remedy := range remedies {
			f.exec(remedy[1])
		}
		if says := f.objections(rotator); len(says) > 0 {
			t.Fatalf("after %s and %q: %q", taken, remedies, says)
		}
	}
}

// takings are the statements that take back, each one right, what the file gives.
func (f *fixture) takings(rotator string) (all []string) {
	f.Helper()
	who := quote(rotator)
	for line := range strings.SplitSeq(f.deployed(rotator), "\n") {
		line, isStatement := strings.CutSuffix(line, ";")
		if !isStatement || strings.HasPrefix(line, "--") {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		switch granted, _, _ := strings.Cut(rest, " TO "); {
		case verb == "GRANT":
			all = append(all, "REVOKE "+granted+" FROM "+who)
		default:
			for _, attribute := range strings.Fields(strings.TrimPrefix(rest, "ROLE "+who)) {
				if !strings.HasPrefix(attribute, "NO") {
					all = append(all, "ALTER ROLE "+who+" NO"+attribute)
				}
			}
		}
	}
	if len(all) < 5 {
		f.Fatalf("only %q is read", all)
	}
	return all
}

// objections are what a run as rotator would hear against a planned rotation, an
// emergency, and what it does about sessions, hints included.
func (f *fixture) objections(rotator secret.Credential) (says []string) {
	f.Helper()
	ctx, role, d := f.Context(), f.app.User, f.open(rotator)
	defer d.Release()
	_, planned, err := d.Plan(ctx, role)
	_, lockout, lockoutErr := d.PlanLockout(ctx, role, role)
	sessions, sessionsErr := d.PlanSessions(ctx, role)
	says = slices.Concat(planned, lockout, sessions)
	for _, err := range []error{err, lockoutErr, sessionsErr, d.PlanTermination(ctx, role)} {
		if err != nil {
			says = append(says, err.Error()+"; "+hintOf(err))
		}
	}
	return says
}
