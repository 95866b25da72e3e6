package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestExpelGoesByTheLogin: SET ROLE and SET SESSION AUTHORIZATION hide no session,
// and the sessions of others who act as the role are not this one's.
func TestExpelGoesByTheLogin(t *testing.T) {
	f := newFixture(t)
	f.exec("ALTER ROLE " + quote(f.app.User) + " SUPERUSER")
	other := f.newRole("other", "LOGIN")
	f.exec("GRANT " + quote(f.app.User) + " TO " + quote(other.User))
	hidden := []*pgx.Conn{
		f.session(f.app, "SET ROLE "+quote(other.User)),
		f.session(f.app, "SET SESSION AUTHORIZATION "+quote(other.User)),
		f.session(f.app, "SET application_name = 'pgrotate'"),
		f.session(f.app, "BEGIN"),
	}
	stays := f.session(other, "SET ROLE "+quote(f.app.User))
	ended, err := f.open(f.superuser()).Expel(t.Context(), f.app.User)
	if ended != len(hidden) || err != nil {
		t.Errorf("%d sessions ended, want %d: %v", ended, len(hidden), err)
	}
	for n, conn := range hidden {
		if f.alive(conn) {
			t.Errorf("session %d is alive", n)
		}
	}
	if !f.alive(stays) {
		t.Error("the session of another role was ended")
	}
}

// TestExpelEndsOtherKinds: replication connections, parallel workers.
func TestExpelEndsOtherKinds(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	f.exec("ALTER ROLE " + quote(f.app.User) + " REPLICATION")
	sender, err := f.client(f.app, func(c *pgx.ConnConfig) { c.RuntimeParams["replication"] = "database" })
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close(context.Background())
	setting := "force_parallel_mode"
	if f.major() >= 16 {
		setting = "debug_parallel_query"
	}
	leader := f.session(f.app, "SET "+setting+" = on")
	done := make(chan error, 1)
	go func() { _, err := leader.Exec(t.Context(), "SELECT pg_sleep(600)"); done <- err }()
	for _, kind := range []string{"parallel worker", "walsender"} {
		f.waitsFor("SELECT pg_stat_clear_snapshot() IS NOT NULL AND EXISTS (SELECT FROM pg_stat_activity WHERE usename = $1 AND backend_type = $2)", f.app.User, kind)
	}
	ended, err := f.open(f.admin).Expel(t.Context(), f.app.User)
	if ended != 3 || err != nil || f.sessions() != 0 {
		t.Errorf("%d ended, want leader, worker and walsender; %d left: %v", ended, f.sessions(), err)
	}
	if err := <-done; err == nil {
		t.Error("the leader went on")
	}
}

func TestExpelRefused(t *testing.T) {
	f := newFixture(t)
	super := f.newRole("super", "LOGIN SUPERUSER")
	apps, supers := f.session(f.app), f.session(super)
	grant := "GRANT pg_signal_backend TO " + quote(f.admin.User)
	for _, c := range []struct {
		name, role string
		before     func()
		hint       string
	}{
		{"without the right", f.app.User, func() {}, grant},
		{"a superuser's", super.User, f.mayEnd, "a superuser's sessions take a superuser"},
		{"its own", f.admin.User, func() {}, "CREATE ROLE rotator"},
		{"nobody's", "", func() {}, "postgres-role"},
	} {
		c.before()
		ended, err := f.open(f.admin).Expel(t.Context(), c.role)
		if ended != 0 || classOf(err) != "refused" || !strings.Contains(hintOf(err), c.hint) {
			t.Errorf("%s: %d, %v (class %q), hint %q", c.name, ended, err, classOf(err), hintOf(err))
		}
	}
	if !f.alive(apps) || !f.alive(supers) {
		t.Error("a session was ended")
	}
}

// TestExpelLeavesOthersAlone: the sessions of other roles, this program's included, stay.
func TestExpelLeavesOthersAlone(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	other := f.newRole("other", "LOGIN")
	conn, run := f.session(other), f.locked(f.admin)
	f.session(f.app)
	if ended, err := f.open(f.admin).Expel(t.Context(), f.app.User); ended != 1 || err != nil {
		t.Errorf("%d, %v", ended, err)
	}
	if _, err := run.Check(t.Context()); err != nil || !f.alive(conn) {
		t.Errorf("the session of another role was ended: %v", err)
	}
}

func TestExpelThatIsCancelled(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.open(f.admin).Expel(ctx, f.app.User); err == nil || classOf(err) != "" {
		t.Errorf("%v (class %q)", err, classOf(err))
	}
}

func TestBreakRefused(t *testing.T) {
	f := newFixture(t)
	super := f.locked(f.superuser())
	err := f.open(f.admin).Break(t.Context(), f.app.User)
	if classOf(err) != "refused" || !strings.Contains(hintOf(err), "take a superuser") {
		t.Errorf("a superuser's lock: %v, hint %q", err, hintOf(err))
	}
	super.Release()
	other := f.newRole("rotator", "LOGIN CREATEROLE")
	run := f.locked(other)
	err = f.open(f.admin).Break(t.Context(), f.app.User)
	if classOf(err) != "refused" || !strings.Contains(hintOf(err), "GRANT pg_signal_backend TO "+quote(f.admin.User)) {
		t.Errorf("another administrator's lock: %v, hint %q", err, hintOf(err))
	}
	if _, err := run.Check(t.Context()); err != nil {
		t.Error(err)
	}
	f.mayEnd()
	if err := f.open(f.admin).Break(t.Context(), f.app.User); err != nil {
		t.Errorf("with the right: %v", err)
	}
	if _, err := run.Check(t.Context()); classOf(err) != "lost" {
		t.Errorf("the other run: %v", err)
	}
}

// TestBreakSparesWhoIsNext: who waits for the lock gets it, and keeps it.
func TestBreakSparesWhoIsNext(t *testing.T) {
	f := newFixture(t)
	first, second := f.locked(f.admin), f.open(f.admin)
	got := make(chan error, 1)
	go func() { _, _, err := second.Acquire(t.Context(), f.app.User, 60e9); got <- err }()
	f.waitsFor("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND (classid::bigint << 32 | objid::bigint) = $1)", lockKey(f.app.User))
	if err := f.open(f.admin).Break(t.Context(), f.app.User); err != nil {
		t.Error(err)
	}
	if _, err := first.Check(t.Context()); classOf(err) != "lost" {
		t.Errorf("who held it: %v", err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	if _, err := second.Check(t.Context()); err != nil {
		t.Errorf("who waited for it: %v", err)
	}
}

// TestBreakAsksWhoHolds: a key that is the lock's in another database, or in
// another form, is none of its business.
func TestBreakAsksWhoHolds(t *testing.T) {
	f := newFixture(t)
	key := lockKey(f.app.User)
	halves := f.session(f.app)
	if _, err := halves.Exec(t.Context(), "SELECT pg_advisory_lock($1, $2)", int32(key>>32), int32(key)); err != nil {
		t.Fatal(err)
	}
	elsewhere, err := f.client(f.app, func(c *pgx.ConnConfig) { c.Database = f.newDatabase() })
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close(context.Background())
	if _, err := elsewhere.Exec(t.Context(), "SELECT pg_advisory_lock($1)", key); err != nil {
		t.Fatal(err)
	}
	if err := f.open(f.admin).Break(t.Context(), f.app.User); err != nil {
		t.Error(err)
	}
	stranger := f.session(f.newRole("stranger", "LOGIN"), "SET application_name = 'another'")
	if _, err := stranger.Exec(t.Context(), "SELECT pg_advisory_lock($1)", key); err != nil {
		t.Fatal(err)
	}
	err = f.open(f.admin).Break(t.Context(), f.app.User, f.app.User)
	if classOf(err) != "refused" || !strings.Contains(err.Error(), "calls itself \"another\"") {
		t.Errorf("%v", err)
	}
}

// TestBreakEndsWhoeverHasTheCompromisedPassword: one who holds the lock and one who
// waits for it, whatever they call themselves.
func TestBreakEndsWhoeverHasTheCompromisedPassword(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	key, waited := lockKey(f.app.User), make(chan error, 1)
	holder, next := f.session(f.app, "SET application_name = 'another'"), f.session(f.app)
	if _, err := holder.Exec(t.Context(), "SELECT pg_advisory_lock($1)", key); err != nil {
		t.Fatal(err)
	}
	go func() { _, err := next.Exec(t.Context(), "SELECT pg_advisory_lock($1)", key); waited <- err }()
	f.waitsFor("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND (classid::bigint << 32 | objid::bigint) = $1)", key)
	run := f.open(f.admin)
	if err := run.Break(t.Context(), f.app.User, f.app.User); err != nil {
		t.Error(err)
	}
	if err := errors.Join(<-waited, next.Ping(t.Context())); err == nil {
		t.Error("who waited for the lock goes on")
	}
	if _, _, err := run.Acquire(t.Context(), f.app.User, 1e9); err != nil {
		t.Error(err)
	}
}
