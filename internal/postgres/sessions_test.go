package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/rotation/rotationtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// now is the server's clock.
func (f *fixture) now() (at time.Time) {
	f.Helper()
	if err := f.super.QueryRow(f.Context(), "SELECT clock_timestamp()").Scan(&at); err != nil {
		f.Fatal(err)
	}
	return at
}

func (f *fixture) named(c secret.Credential, application string) *pgx.Conn {
	f.Helper()
	conn, err := f.client(c, func(config *pgx.ConnConfig) { config.RuntimeParams["application_name"] = application })
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestSessions(t *testing.T) {
	t.Parallel()
	f := fixtureAt(t, labtest.NewServer(t).URL(), "")
	f.mayLook()
	other := f.newRole("other", "LOGIN")
	before := f.now()
	first, second := f.named(f.app, "shop"), f.named(f.app, "shop")
	hidden := f.named(f.app, "job")
	if _, err := hidden.Exec(t.Context(), "SET application_name = 'job'; BEGIN"); err != nil {
		t.Fatal(err)
	}
	own, foreign := f.named(f.app, ApplicationName), f.named(other, "shop")
	change := f.now()
	recent := f.named(f.app, "shop")
	d := f.locked(f.admin)

	found, err := d.Opened(t.Context(), []string{f.app.User, "nobody"}, change)
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, s := range found {
		want := secret.Sessions{Role: f.app.User, Application: "shop", Address: "127.0.0.1", Former: 2, Recent: 1, Since: s.Since}
		if s.Application == "job" {
			want = secret.Sessions{Role: f.app.User, Application: "job", Address: "127.0.0.1", Former: 1, Since: s.Since}
		}
		if s != want || s.Since.Before(before) || s.Since.After(change) {
			t.Errorf("%+v, want %+v", s, want)
		}
	}

	f.mayEnd()
	ended, err := d.Terminate(t.Context(), []string{f.app.User}, change)
	if ended != 3 || err != nil {
		t.Errorf("%d ended, want 3: %v", ended, err)
	}
	for _, c := range []struct {
		name  string
		conn  *pgx.Conn
		alive bool
	}{{"first", first, false}, {"second", second, false}, {"in a transaction", hidden, false}, {"pgrotate's", own, true}, {"another role's", foreign, true}, {"recent", recent, true}} {
		if f.alive(c.conn) != c.alive {
			t.Errorf("%s: alive %v", c.name, !c.alive)
		}
	}
	if ended, err := d.Terminate(t.Context(), []string{f.app.User}, change); ended != 0 || err != nil {
		t.Errorf("again: %d, %v", ended, err)
	}
	if _, err := d.Check(t.Context()); err != nil {
		t.Errorf("the lock's session: %v", err)
	}
}

// TestSessionsWithoutRights: what may not be seen is counted, what may not be
// ended is refused with the GRANT.
func TestSessionsWithoutRights(t *testing.T) {
	t.Parallel()
	f := fixtureAt(t, labtest.NewServer(t).URL(), "")
	conn := f.named(f.app, "shop")
	change := f.now()
	d := f.open(f.admin)
	warnings, err := d.PlanSessions(t.Context(), f.app.User)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "GRANT pg_read_all_stats TO "+quote(f.admin.User)) {
		t.Errorf("plan: %q, %v", warnings, err)
	}
	found, err := d.Opened(t.Context(), []string{f.app.User}, change)
	if err != nil || len(found) != 1 || found[0] != (secret.Sessions{Role: f.app.User, Application: "shop", Hidden: 1}) {
		t.Errorf("%+v, %v", found, err)
	}
	if ended, err := d.Terminate(t.Context(), []string{f.app.User}, change); ended != 0 || err != nil {
		t.Errorf("what cannot be judged was ended: %d, %v", ended, err)
	}
	if err := d.PlanTermination(t.Context(), f.app.User); classOf(err) != "refused" || !strings.Contains(hintOf(err), "GRANT pg_signal_backend") {
		t.Errorf("%v, hint %q", err, hintOf(err))
	}
	f.mayLook()
	if _, err := d.Terminate(t.Context(), []string{f.app.User}, change); classOf(err) != "refused" || !strings.Contains(hintOf(err), "GRANT pg_signal_backend") {
		t.Errorf("%v, hint %q", err, hintOf(err))
	}
	if warnings, err := d.PlanSessions(t.Context(), f.app.User); err != nil || len(warnings) > 0 {
		t.Errorf("plan with the right: %q, %v", warnings, err)
	}
	f.mayEnd()
	if err := d.PlanTermination(t.Context(), f.app.User); err != nil {
		t.Errorf("%v", err)
	}
	if !f.alive(conn) {
		t.Error("the session was ended")
	}
}

func TestSessionsContract(t *testing.T) {
	t.Parallel()
	url := labtest.NewServer(t).URL()
	rotationtest.TestSessions(t, func(t *testing.T) rotationtest.Sessions {
		f := fixtureAt(t, url, "")
		f.mayLook()
		f.mayEnd()
		return rotationtest.Sessions{Sessions: f.open(f.admin), Role: f.app.User, Now: f.now, Own: ApplicationName,
			Open: func(application string) func() bool {
				conn := f.named(f.app, application)
				return func() bool { return f.alive(conn) }
			}}
	})
}
