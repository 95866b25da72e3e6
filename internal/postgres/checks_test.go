package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExempted(t *testing.T) {
	for list, want := range map[string]bool{
		"": false, "app": true, "APP": true, `"App"`: true, "other, app": true, "app,other": true, ` other , "app" `: true,
		"other": false, "application": false, "other app": false, `"other,app"`: false, "app_alt, my_app": false,
	} {
		if got := exempted("app", list); got != want {
			t.Errorf("%q: %v", list, got)
		}
	}
	if !exempted("App", "app") {
		t.Error("credcheck compares names whatever their case")
	}
}

func TestChecks(t *testing.T) {
	const history, interval = "password of role \"app\" for the second time: credcheck refuses what it remembers (credcheck.password_reuse_history = 5)", "(credcheck.password_reuse_interval = 365)"
	const banned, warned = "try a wrong password of role \"app\": credcheck bans it after one", "bans role \"app\" after 2 refused logins in a row"
	const azure, rds = "accepts no login with SCRAM (azure.accepted_password_auth_method = md5)", "(rds.accepted_password_auth_method = md5)"
	for _, c := range []struct {
		checks  checks
		want    string // of what is said
		remedy  string
		refuses bool
	}{
		{checks: nil},
		{checks: checks{reuseHistory: "0", reuseInterval: "0", mostFailures: "0", azureMethods: "md5,scram-sha-256", rdsMethods: "md5+scram"}},
		{checks{reuseHistory: "5"}, history, `ALTER ROLE "rotator" SET credcheck.password_reuse_history = 0; ALTER ROLE "rotator" SET credcheck.password_reuse_interval = 0; or add "app" to credcheck.whitelist`, true},
		{checks{reuseInterval: "365", unchecked: "other"}, interval, "credcheck.password_reuse_interval = 0", true},
		{checks: checks{reuseHistory: "5", reuseInterval: "365", unchecked: "other, app"}},
		{checks{reuseHistory: "5", neverBanned: "app"}, history, "credcheck.whitelist", true},
		{checks{mostFailures: "1"}, banned, `add "app" to credcheck.whitelist_auth_failure`, true},
		{checks{mostFailures: "1", unchecked: "app"}, banned, "credcheck.max_auth_failure to 0", true},
		{checks: checks{mostFailures: "1", neverBanned: "app"}},
		{checks{mostFailures: "2"}, warned, "", false},
		{checks: checks{mostFailures: "2", neverBanned: "app"}},
		{checks: checks{mostFailures: "some"}},
		{checks{azureMethods: "md5"}, azure, "set azure.accepted_password_auth_method = md5,scram-sha-256 in the server parameters", true},
		{checks: checks{azureMethods: "SCRAM-SHA-256"}},
		{checks{rdsMethods: "md5"}, rds, "set rds.accepted_password_auth_method = md5+scram in the parameter group", true},
	} {
		var said, hints []string
		for _, err := range []error{c.checks.scram(), c.checks.reuse("app", "rotator"), c.checks.unforgiving("app")} {
			if err != nil {
				said, hints = append(said, err.Error()), append(hints, hintOf(err))
			}
		}
		if refuses := len(said) > 0; refuses != c.refuses {
			t.Errorf("%v: refused: %q", c.checks, said)
		}
		said = append(said, c.checks.strict("app")...)
		if text := strings.Join(said, "\n"); len(said) > 1 || !strings.Contains(text, c.want) || (c.want == "") != (text == "") {
			t.Errorf("%v: %q, want %q", c.checks, text, c.want)
		}
		contains(t, fmt.Sprint(c.checks), strings.Join(hints, "\n"), []string{c.remedy})
	}
}

// TestReadChecks: a setting that others may see hides none of the rest.
func TestReadChecks(t *testing.T) {
	f := newFixture(t)
	f.exec("ALTER ROLE " + quote(f.admin.User) + " SET credcheck.max_auth_failure = 3")
	err := f.open(f.admin).with(t.Context(), func(s *session) error {
		got, err := s.readChecks(t.Context())
		want := checks{reuseHistory: "", reuseInterval: "", unchecked: "", mostFailures: "3", neverBanned: "", azureMethods: "", rdsMethods: ""}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		shown, err := s.shown(t.Context(), "data_directory", mostFailures) // the first is for superusers
		if diff := cmp.Diff(map[string]string{mostFailures: "3"}, shown); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.readChecks(ctx); err == nil || !strings.Contains(err.Error(), "read the settings of password checkers") {
			t.Errorf("%v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// setting has the administrator's sessions see it, as a server with the extension
// would show it.
func (f *fixture) setting(name, value string) {
	f.Helper()
	f.exec("ALTER ROLE " + quote(f.admin.User) + " RESET ALL; ALTER ROLE " + quote(f.admin.User) + " SET " + name + " = '" + value + "'")
}

// TestPlanHeedsPasswordCheckers counts what such a checker would have counted and
// remembered for good: refused logins, and passwords of a statement that is rolled back.
func TestPlanHeedsPasswordCheckers(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	const remembers, bans, noSCRAM = "credcheck refuses what it remembers", "credcheck bans it after one", "accepts no login with SCRAM"
	for _, c := range []struct {
		name, value   string
		refusal       string // of each plan; empty: none
		warning       string // of each plan; empty: none
		login, alters bool   // a wrong password and ALTER ROLE are tried
	}{
		{"credcheck.max_auth_failure", "0", "", "", true, true},
		{"credcheck.max_auth_failure", "1", bans, "", false, true},
		{"credcheck.max_auth_failure", "2", "", "refused logins in a row", true, true},
		{"credcheck.password_reuse_history", "5", remembers, "", true, false},
		{"credcheck.password_reuse_interval", "365", remembers, "", true, false},
		{"azure.accepted_password_auth_method", "md5", noSCRAM, "", false, false},
		{"azure.accepted_password_auth_method", "md5,scram-sha-256", "", "", true, true},
	} {
		f.setting(c.name, c.value)
		for mode, plan := range map[string]func(*Database) (string, []string, error){
			"planned":   func(d *Database) (string, []string, error) { return d.Plan(t.Context(), f.app.User) },
			"emergency": func(d *Database) (string, []string, error) { return d.PlanLockout(t.Context(), f.app.User, f.app.User) },
		} {
			what := fmt.Sprintf("%s, %s = %s", mode, c.name, c.value)
			from := f.logEnd()
			change, warnings, err := plan(f.open(f.admin))
			if (change == "") != (c.refusal != "") || (err != nil) != (c.refusal != "") || err != nil && (!strings.Contains(err.Error(), c.refusal) || strings.Contains(err.Error(), "\n")) {
				t.Errorf("%s: %q, %v", what, change, err)
			}
			if text := strings.Join(warnings, "\n"); !strings.Contains(text, c.warning) || (c.warning == "") != (text == "") {
				t.Errorf("%s: %q", what, text)
			}
			log := f.logged(from)
			if login := strings.Contains(log, `password authentication failed for user "`+f.app.User); login != c.login {
				t.Errorf("%s: a wrong password was tried: %v", what, login)
			}
			if alters := strings.Contains(log, "ALTER ROLE "+quote(f.app.User)); alters != c.alters {
				t.Errorf("%s: ALTER ROLE was tried: %v", what, alters)
			}
		}
	}
}

// TestTurnsSetNoPasswordTwice: two login roles get fresh passwords only, so that
// a policy against reuse stands in the way of nothing but a later rollback.
func TestTurnsSetNoPasswordTwice(t *testing.T) {
	f := newFixture(t)
	twin := f.twin()
	f.setting("credcheck.password_reuse_history", "5")
	d := f.open(f.admin)
	if change, warnings, err := d.PlanFormer(t.Context(), f.app.User); change == "" || len(warnings) > 0 || err != nil {
		t.Errorf("the former role: %q, %q, %v", change, warnings, err)
	}
	_, warnings, err := d.PlanTwin(t.Context(), f.app.User, twin, twin)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], fmt.Sprintf("remembers the passwords of role %q", twin)) {
		t.Errorf("the twin: %q, %v", warnings, err)
	}
	f.mayEnd()
	if _, _, err := d.PlanLockout(t.Context(), f.app.User, twin); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("set a password of role %q for the second time", twin)) {
		t.Errorf("an emergency that gives the twin its password: %v", err)
	}
	f.exec("ALTER ROLE " + quote(f.admin.User) + " SET credcheck.whitelist = " + quote(twin))
	from := f.logEnd()
	if _, _, err := f.open(f.admin).PlanLockout(t.Context(), f.app.User, twin); err != nil || strings.Contains(f.logged(from), "SCRAM-SHA-256$") {
		t.Errorf("the twin is exempted, and the former role only loses its password: %v", err)
	}
	f.setting("rds.accepted_password_auth_method", "md5")
	if _, _, err := f.open(f.admin).PlanTwin(t.Context(), f.app.User, twin, twin); classOf(err) != "refused" || !strings.Contains(err.Error(), "accepts no login with SCRAM") {
		t.Errorf("the twin where only md5 opens a door: %v", err)
	}
}

// TestEmergencySetsItsPasswordTwice: so a policy against reuse would leave the
// role closed, and is refused in an emergency, too.
func TestEmergencySetsItsPasswordTwice(t *testing.T) {
	f := newFixture(t)
	d, next, from := f.locked(f.admin), f.fresh(), f.logEnd()
	if _, err := d.Close(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(f.logged(from), "PASSWORD '"+next.Verifier.Reveal()); n < 2 {
		t.Errorf("the verifier is sent %d times: there is nothing to refuse", n)
	}
}
