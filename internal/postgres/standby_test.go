package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/rotation/rotationtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// mayLook lets the administrator see other roles' sessions and the standbys.
func (f *fixture) mayLook() {
	f.exec("ALTER ROLE " + quote(f.admin.User) + " INHERIT")
	f.exec("GRANT pg_read_all_stats TO " + quote(f.admin.User))
}

func replicated(names ...string) func(*Config) {
	return func(c *Config) { c.Replicas = names }
}

// TestStandbyThatReplaysLate: it accepts the former password and is named, by the
// primary and by its own answer, until it has replayed the change.
func TestStandbyThatReplaysLate(t *testing.T) {
	t.Parallel()
	const delay = 4 * time.Second
	primary := labtest.NewServer(t)
	f := fixtureAt(t, primary.URL(), "")
	f.mayLook()
	standby := primary.Standby("two", delay)
	f.waitsFor("SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')")
	f.waitsFor("SELECT coalesce(bool_and(replay_lsn >= pg_current_wal_lsn()), false) FROM pg_stat_replication")
	d := f.locked(f.admin, replicated(standby.Place()))

	change, warnings, err := d.PlanStandbys(t.Context(), f.app.User)
	if err != nil || len(warnings) > 0 || change != "waits for 1 connected, and for 1 listed, before pods restart" {
		t.Fatalf("plan: %q, %q, %v", change, warnings, err)
	}
	next := f.fresh()
	if _, err := d.Set(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	changed := time.Now()
	position, err := d.Position(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := f.lagging(d, position, next)
	text := strings.Join(names, "; ")
	if len(names) != 2 || !strings.Contains(text, "standby two at 127.0.0.1 (replayed ") || !strings.Contains(text, "replica "+standby.Place()+" (it shows another password)") {
		t.Errorf("lagging: %q", names)
	}
	for len(names) > 0 {
		if time.Since(changed) > time.Minute {
			t.Fatalf("it never catches up: %q", names)
		}
		<-time.After(100 * time.Millisecond)
		names = f.lagging(d, position, next)
	}
	if took := time.Since(changed); took < delay-time.Second {
		t.Errorf("it is said to have the password after %v, %v before it had", took, delay-took)
	}
	there := f.open(f.admin, func(c *Config) {
		c.URL = secret.New(strings.Replace(c.URL.Reveal(), primary.Place(), standby.Place(), 1))
	})
	conn, err := there.connect(t.Context(), next, way{accept: methodSCRAM})
	if err != nil {
		t.Fatalf("the standby that caught up refuses the new password: %v", err)
	}
	_ = conn.Close(t.Context())
}

func (f *fixture) lagging(d *Database, position string, c secret.Credential) []string {
	f.Helper()
	names, err := d.Lagging(f.Context(), position, c)
	if err != nil {
		f.Fatal(err)
	}
	return names
}

func TestPlanStandbysRefuses(t *testing.T) {
	t.Parallel()
	primary, stranger := labtest.NewServer(t), labtest.NewServer(t)
	f := fixtureAt(t, primary.URL(), "")
	trusting := labtest.NewServer(t)
	trusting.Write("pg_hba.conf", "local all all trust\nhost all all 127.0.0.1/32 trust\n")
	fixtureAt(t, trusting.URL(), "").exec("SELECT pg_reload_conf()")
	fixtureAt(t, trusting.URL(), "").exec("CREATE ROLE " + quote(f.app.User) + " LOGIN")
	for _, test := range []struct{ replica, want string }{
		{"127.0.0.1:1", "connection refused"},
		{stranger.Place(), "it has another password than the primary"},
		{trusting.Place(), "it asks for no SCRAM proof"},
		{primary.Place(), ""},
	} {
		_, _, err := f.open(f.admin, replicated(test.replica)).PlanStandbys(t.Context(), f.app.User)
		if test.want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.replica) {
			t.Errorf("%s: %v, want %q", test.replica, err, test.want)
		}
	}
	if names := f.lagging(f.open(f.admin, replicated("127.0.0.1:1")), "0/0", f.fresh()); len(names) != 1 || !strings.Contains(names[0], "127.0.0.1:1") {
		t.Errorf("a replica that is away: %q", names)
	}
	if names := f.lagging(f.open(f.admin, replicated("127.0.0.1:1")), "0/0", secret.Credential{User: f.app.User}); len(names) != 0 {
		t.Errorf("a replica was asked about a password without a verifier: %q", names)
	}
}

// TestStandbysThatAreHidden: who may not look is told what is missing.
func TestStandbysThatAreHidden(t *testing.T) {
	t.Parallel()
	primary := labtest.NewServer(t)
	f := fixtureAt(t, primary.URL(), "")
	primary.Standby("two", 0)
	f.waitsFor("SELECT EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')")
	d := f.open(f.admin)
	change, warnings, err := d.PlanStandbys(t.Context(), f.app.User)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "GRANT pg_read_all_stats TO "+quote(f.admin.User)) || !strings.HasPrefix(change, "waits for 0 connected") {
		t.Errorf("%q, %q, %v", change, warnings, err)
	}
	if names := f.lagging(d, "FFFFFFFF/0", f.fresh()); len(names) != 0 {
		t.Errorf("what is hidden is said to lag: %q", names)
	}
}

func TestReplicasAreParsed(t *testing.T) {
	for _, name := range []string{"db", "db:", ":5432", "db:0", "db:99999", "a:b:c"} {
		config := Config{URL: secret.New("postgres://u@h/d"), Keep: secret.New, Replicas: []string{name}}
		if _, err := Open(config); err == nil || !strings.Contains(err.Error(), "`postgres-replicas`") {
			t.Errorf("%q: %v", name, err)
		}
	}
	d, err := Open(Config{URL: secret.New("postgres://u@h/d?sslmode=disable"), Keep: secret.New, Replicas: []string{"[::1]:5433"}})
	if err != nil || d.replicas[0].place.host != "::1" || d.replicas[0].place.port != 5433 || d.replicas[0].place.tls != nil {
		t.Errorf("%+v, %v", d, err)
	}
	behind, err := Open(Config{Tunnel: true, Keep: secret.New, Replicas: []string{"two.example:5432"}})
	if err != nil || behind.replicas[0].place.tls == nil || behind.replicas[0].place.tls.ServerName != "two.example" || !behind.replicas[0].place.direct {
		t.Errorf("a replica of a primary behind a tunnel is not reached and verified directly: %v", err)
	}
}

func TestStandbysContract(t *testing.T) {
	t.Parallel()
	primary := labtest.NewServer(t)
	f := fixtureAt(t, primary.URL(), "")
	f.mayLook()
	standby := primary.Standby("two", 0)
	there := standby.Session()
	f.waitsFor("SELECT coalesce(bool_and(replay_lsn >= pg_current_wal_lsn()), false) FROM pg_stat_replication WHERE state = 'streaming'")
	d := f.locked(f.admin, replicated(standby.Place()))
	rotationtest.TestStandbys(t, rotationtest.Standbys{Standbys: d, Role: f.app.User, Names: []string{"standby two", "replica " + standby.Place()},
		Hold:    func() { there("SELECT pg_wal_replay_pause()") },
		Release: func() { there("SELECT pg_wal_replay_resume()") },
		Change: func() secret.Credential {
			next := f.fresh()
			if _, err := d.Set(t.Context(), next); err != nil {
				t.Fatal(err)
			}
			return next
		},
	})
}
