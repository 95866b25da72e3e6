package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestLockKey(t *testing.T) {
	// The first 8 bytes of the output of: printf 'pgrotate\0alfred_user' | sha256sum
	if got := uint64(lockKey("alfred_user")); got != 0xb418ac0e3b0abbea {
		t.Errorf("%#x", got)
	}
	if lockKey("a") == lockKey("b") {
		t.Error("two roles share a lock")
	}
}

func TestAcquireTellsWhereTheLockIs(t *testing.T) {
	f := newFixture(t)
	var wantSystem, wantDatabase string
	if err := f.super.QueryRow(t.Context(), "SELECT system_identifier::text, current_database()::text FROM pg_control_system()").Scan(&wantSystem, &wantDatabase); err != nil {
		t.Fatal(err)
	}
	d := f.open(f.admin)
	for range 2 { // the second finds the lock held by itself
		system, database, err := d.Acquire(t.Context(), f.app.User, time.Minute)
		if err != nil || system != wantSystem || database != wantDatabase {
			t.Errorf("%q, %q, %v, want %q, %q", system, database, err, wantSystem, wantDatabase)
		}
	}
	held := d.held
	if f.acquire(d); d.held != held {
		t.Error("the lock was let go to be taken again")
	}
	at, err := d.Check(t.Context())
	if err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("Check: %v, %v", at, err)
	}
}

// TestChecksShareRoundTrips asks from many workloads at once over a slow way: one
// after the other, the last would have to wait for a hundred round trips.
func TestChecksShareRoundTrips(t *testing.T) {
	const callers = 100
	f := newFixture(t)
	way := &slowWay{}
	d := f.locked(f.admin, func(c *Config) { c.Dial = way.dial })
	way.sent.Store(0)
	way.delay.Store(int64(20 * time.Millisecond))
	errs := make([]error, callers)
	var running sync.WaitGroup
	for i := range callers {
		running.Go(func() { _, errs[i] = d.Check(t.Context()) })
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := way.sent.Load(); n > callers/10 {
		t.Errorf("%d callers made %d round trips", callers, n)
	}
}

// TestAStoppedCheckStopsNobodyElse lets the caller that makes the round trip be
// stopped while another waits for its answer: that one asks for itself, and learns
// here that there is no session.
func TestAStoppedCheckStopsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Database{}
		l, _ := d.join()
		other := make(chan error)
		go func() {
			_, err := d.Check(t.Context())
			other <- err
		}()
		synctest.Wait()
		l.err, l.cut, d.next = context.Canceled, true, nil
		close(l.done)
		if err := <-other; classOf(err) != "lost" {
			t.Errorf("the one that waited: %v", err)
		}
	})
}

// slowWay counts what is sent and holds it up.
type slowWay struct {
	sent, delay atomic.Int64
}

func (w *slowWay) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return slowConn{conn, w}, err
}

type slowConn struct {
	net.Conn
	way *slowWay
}

func (c slowConn) Write(b []byte) (int, error) {
	c.way.sent.Add(1)
	time.Sleep(time.Duration(c.way.delay.Load()))
	return c.Conn.Write(b)
}

func TestAcquireWithoutTheSystemIdentifier(t *testing.T) {
	f := newFixture(t)
	name := quote("db_" + strings.ToLower(rand.Text()))
	f.exec("CREATE DATABASE " + name)
	defer f.exec("DROP DATABASE " + name)
	there := *f
	place := *f.url
	place.Path = "/" + strings.Trim(name, `"`)
	there.url = &place
	revoking := there.open(f.superuser())
	if err := revoking.with(t.Context(), func(s *session) error {
		return s.exec(t.Context(), "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
	}); err != nil {
		t.Fatal(err)
	}
	revoking.Release()
	d := there.open(f.admin)
	defer d.Release()
	system, database, err := d.Acquire(t.Context(), f.app.User, time.Minute)
	if err != nil || system != "" || database != strings.Trim(name, `"`) {
		t.Errorf("%q, %q, %v", system, database, err)
	}
}

func TestLockIsExclusive(t *testing.T) {
	f := newFixture(t)
	first, second := f.locked(f.admin), f.open(f.superuser())
	if _, _, err := second.Acquire(t.Context(), f.app.User, 50*time.Millisecond); classOf(err) != "busy" {
		t.Errorf("while it is held: %v (class %q)", err, classOf(err))
	}
	if _, err := second.Check(t.Context()); classOf(err) != "lost" {
		t.Errorf("Check without the lock: %v", err)
	}
	if _, _, err := second.Acquire(t.Context(), "other_"+f.app.User[:20], time.Millisecond); err != nil {
		t.Errorf("the lock of another role: %v", err)
	}
	done := make(chan error)
	go func() { _, _, err := second.Acquire(t.Context(), f.app.User, time.Minute); done <- err }()
	f.waitsFor("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND (classid::bigint << 32 | objid::bigint) = $1)", lockKey(f.app.User))
	first.Release()
	if err := <-done; err != nil {
		t.Errorf("after the release: %v", err)
	}
	if _, _, err := first.Acquire(t.Context(), f.app.User, time.Millisecond); classOf(err) != "busy" {
		t.Errorf("the first again: %v", err)
	}
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	f := newFixture(t)
	f.locked(f.admin)
	ctx, cancel := context.WithCancel(t.Context())
	second := f.open(f.admin)
	done := make(chan error)
	go func() { _, _, err := second.Acquire(ctx, f.app.User, time.Hour); done <- err }()
	f.waitsFor("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND (classid::bigint << 32 | objid::bigint) = $1)", lockKey(f.app.User))
	cancel()
	if err := <-done; err == nil || classOf(err) == "busy" {
		t.Errorf("%v (class %q)", err, classOf(err))
	}
}

func TestOneSessionServesAll(t *testing.T) {
	f := newFixture(t)
	d := f.locked(f.admin)
	if err := d.with(t.Context(), func(s *session) error {
		if s != d.held {
			t.Error("another session is opened beside the one that holds the lock")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestReleaseClosesTheSession(t *testing.T) {
	f := newFixture(t)
	d := f.locked(f.admin)
	f.waitsFor("SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = $1 AND application_name = 'pgrotate'", f.admin.User)
	d.Release()
	d.Release()
	f.waitsFor("SELECT count(*) = 0 FROM pg_stat_activity WHERE usename = $1", f.admin.User)
}

func TestSessionSettings(t *testing.T) {
	f := newFixture(t)
	f.exec("ALTER ROLE " + quote(f.admin.User) + " SET statement_timeout = '1ms'")
	f.exec("ALTER ROLE " + quote(f.admin.User) + " SET search_path = public")
	f.exec("ALTER ROLE " + quote(f.admin.User) + " SET idle_session_timeout = '1h'")
	wanted := map[string]string{"statement_timeout": "0", "lock_timeout": "5s", "search_path": "pg_catalog", "tcp_keepalives_idle": "10",
		"client_connection_check_interval": "2s", "idle_session_timeout": "0", "application_name": "pgrotate", "client_encoding": "UTF8"}
	if f.major() >= 16 {
		f.exec("ALTER ROLE " + quote(f.admin.User) + " SET createrole_self_grant = 'set, inherit'")
		wanted["createrole_self_grant"] = ""
	}
	if f.major() >= 17 {
		f.exec("ALTER ROLE " + quote(f.admin.User) + " SET transaction_timeout = '1h'")
		wanted["transaction_timeout"] = "0"
	}
	d := f.locked(f.admin)
	for name, want := range wanted {
		var got string
		if err := d.held.row(t.Context(), "SELECT current_setting($1)", []any{name}, &got); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", name, got, err, want)
		}
	}
}

// TestSpareSession: the session that is kept for the lock is not used when it may have
// been dropped on the way meanwhile, nor when it is known to be lost.
func TestSpareSession(t *testing.T) {
	f := newFixture(t)
	d := f.open(f.admin)
	use := func() (uint32, error) {
		_, err := d.Verifier(t.Context(), secret.New("any"))
		return d.spare.conn.PgConn().PID(), err
	}
	first, err := use()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := use(); err != nil || again != first {
		t.Errorf("the session %d was not kept but %d opened: %v", first, again, err)
	}
	d.spared = time.Now().Add(-keepAwake)
	second, err := use()
	if err != nil || second == first {
		t.Errorf("nobody has kept the session awake, and it is used: %v", err)
	}
	f.terminate()
	if _, err := use(); err == nil {
		t.Error("a session that was ended answers")
	}
	f.acquire(d)
	if d.spare != nil || d.held.conn.PgConn().PID() == second {
		t.Error("the lock is held by a session that was lost, or a spare one is left beside it")
	}
}

func TestLostSession(t *testing.T) {
	f := newFixture(t)
	d := f.locked(f.admin)
	f.terminate()
	if _, err := d.Check(t.Context()); classOf(err) != "lost" {
		t.Errorf("Check: %v (class %q)", err, classOf(err))
	}
	next := f.fresh()
	if _, err := d.Set(t.Context(), next); classOf(err) != "lost" {
		t.Errorf("Set: %v (class %q)", err, classOf(err))
	}
	if got, err := d.Holds(t.Context(), f.app); got != secret.Yes || err != nil {
		t.Errorf("Holds without the session: %v, %v", got, err)
	}
	f.acquire(d)
	if _, err := d.Set(t.Context(), next); err != nil {
		t.Errorf("Set after Acquire: %v", err)
	}
	f.terminate()
	if _, err := d.Set(t.Context(), next); classOf(err) != "lost" {
		t.Errorf("Set on a session that was ended: %v (class %q)", err, classOf(err))
	}
}

// terminate ends every session of the administrator and waits until they are gone.
func (f *fixture) terminate() {
	f.Helper()
	f.waitsFor("SELECT coalesce(bool_and(pg_terminate_backend(pid, 60000)), true) FROM pg_stat_activity WHERE usename = $1", f.admin.User)
}

// counter counts the keep-alives among what is sent.
type counter struct {
	net.Conn
	sent *atomic.Int32
}

func (c counter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("SELECT 1\x00")) {
		c.sent.Add(1)
	}
	return c.Conn.Write(p)
}

func TestKeepAlive(t *testing.T) {
	f := newFixture(t)
	var sent atomic.Int32
	d := f.open(f.admin, f.plainly(func(conn net.Conn) net.Conn { return counter{conn, &sent} }))
	ticks, stopped := make(chan time.Time), make(chan struct{})
	var interval time.Duration
	d.ticker = func(every time.Duration) (<-chan time.Time, func()) {
		interval = every
		return ticks, func() { close(stopped) }
	}
	f.acquire(d)
	if sent.Load() != 0 {
		t.Errorf("%d keep-alives before the first tick", sent.Load())
	}
	ticks <- time.Time{}
	ticks <- time.Time{} // is received only after the first was answered
	ticks <- time.Time{}
	if n := sent.Load(); n < 2 || n > 3 || interval != 15*time.Second {
		t.Errorf("%d keep-alives after three ticks, every %s", n, interval)
	}
	d.Release()
	<-stopped
}

// TestReleaseDoesNotWaitForASilentServer: a run that is told to stop has few seconds.
func TestReleaseDoesNotWaitForASilentServer(t *testing.T) {
	f := newFixture(t)
	var hole silence
	d := f.open(f.admin, f.plainly(func(conn net.Conn) net.Conn { return deafened{conn, &hole} }))
	ticks, stopped := make(chan time.Time), make(chan struct{})
	d.ticker = func(time.Duration) (<-chan time.Time, func()) { return ticks, func() { close(stopped) } }
	f.acquire(d)
	hole.asked = make(chan struct{})
	ticks <- time.Time{}
	<-hole.asked
	began := time.Now()
	d.Release()
	<-stopped
	if took := time.Since(began); took > answerTimeout/2 {
		t.Errorf("it took %v", took)
	}
}

// silence swallows what is sent once there is a channel, which it closes then.
type silence struct{ asked chan struct{} }

type deafened struct {
	net.Conn
	hole *silence
}

func (d deafened) Write(p []byte) (int, error) {
	if d.hole.asked == nil {
		return d.Conn.Write(p)
	}
	if bytes.Contains(p, []byte("SELECT 1\x00")) {
		close(d.hole.asked)
	}
	return len(p), nil
}

func TestKeepAliveNoticesALostSession(t *testing.T) {
	f := newFixture(t)
	d := f.open(f.admin)
	ticks, stopped := make(chan time.Time), make(chan struct{})
	d.ticker = func(time.Duration) (<-chan time.Time, func()) { return ticks, func() { close(stopped) } }
	f.acquire(d)
	f.terminate()
	ticks <- time.Time{}
	<-stopped
	if _, err := d.Check(t.Context()); classOf(err) != "lost" {
		t.Errorf("Check: %v (class %q)", err, classOf(err))
	}
}
