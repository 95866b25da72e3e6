package postgres

import (
	"context"
	"crypto/rand"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// mayEnd gives the administrator the right to end sessions, in the words of the
// hint that asks for it.
func (f *fixture) mayEnd() {
	f.Helper()
	hint := hintOf(no("", (&session{db: f.open(f.admin), conn: f.super}).signalling()))
	_, statements, _ := strings.Cut(hint, ": ")
	statements, _, _ = strings.Cut(statements, "(")
	f.exec(statements)
}

// client is how a plain client logs in, with what change says.
func (f *fixture) client(c secret.Credential, change ...func(*pgx.ConnConfig)) (*pgx.Conn, error) {
	place := *f.url
	place.User = url.UserPassword(c.User, c.Password.Reveal())
	config, err := pgx.ParseConfig(place.String())
	if err != nil {
		return nil, err
	}
	for _, f := range change {
		f(config)
	}
	return pgx.ConnectConfig(f.Context(), config)
}

// session is one of c that has done what statements say.
func (f *fixture) session(c secret.Credential, statements ...string) *pgx.Conn {
	f.Helper()
	conn, err := f.client(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = conn.Close(context.Background()) })
	for _, statement := range statements {
		if _, err := conn.Exec(f.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
			f.Fatalf("%s: %v", statement, err)
		}
	}
	return conn
}

func (f *fixture) alive(conn *pgx.Conn) bool {
	return conn.Ping(f.Context()) == nil
}

// emergency is what a run does in place.
func (f *fixture) emergency(d *Database, c secret.Credential) (ended int) {
	f.Helper()
	if _, err := d.Close(f.Context(), c); err != nil {
		f.Fatal(err)
	}
	ended, err := d.Expel(f.Context(), c.User)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := d.Open(f.Context(), c); err != nil {
		f.Fatal(err)
	}
	return ended
}

// intruder knows the password. In every session that it gets it changes the
// password to its own, as its statement says, and it tries both passwords again
// and again.
type intruder struct {
	f         *fixture
	own       secret.Credential
	statement string
	closed    atomic.Bool  // set by the test when nobody must get in any more
	got       atomic.Int64 // logins that began after that
	tries     atomic.Int64 // to log in, of the one who does nothing else
}

const (
	stubborn = 5000 // tries of an intruder to log in, at most
	hectic   = 5000 // statements in one session, at most
)

// breakIn sends three of them, and returns when one has done its worst.
func (f *fixture) breakIn(statement func(own secret.Credential) string) *intruder {
	i := &intruder{f: f, own: f.fresh()}
	i.statement = statement(i.own)
	ctx, stop := context.WithCancel(f.Context())
	var running sync.WaitGroup
	running.Go(func() { i.insist(ctx, i.change) })
	running.Go(func() { i.insist(ctx, i.change) })
	running.Go(func() { i.insist(ctx, func(context.Context, *pgx.Conn) { i.tries.Add(1) }) })
	f.Cleanup(func() { stop(); running.Wait() })
	f.waitsFor("SELECT pg_stat_clear_snapshot() IS NOT NULL AND EXISTS (SELECT FROM pg_stat_activity WHERE usename = $1 AND query LIKE '%ALTER ROLE%')", f.app.User)
	return i
}

// insist tries to log in, and lends use what comes of it: nil without success.
func (i *intruder) insist(ctx context.Context, use func(context.Context, *pgx.Conn)) {
	for n := 0; n < stubborn && ctx.Err() == nil; n++ {
		late := i.closed.Load()
		conn, err := i.f.client([]secret.Credential{i.f.app, i.own}[n%2])
		if err == nil && late {
			i.got.Add(1)
		}
		use(ctx, conn)
		if err == nil {
			_ = conn.Close(context.Background())
		}
	}
}

func (i *intruder) change(ctx context.Context, conn *pgx.Conn) {
	for n := 0; conn != nil && n < hectic && !conn.IsClosed() && ctx.Err() == nil; n++ {
		_, _ = conn.Exec(ctx, i.statement, pgx.QueryExecModeSimpleProtocol)
	}
}

// goesOn waits until it has tried some more.
func (i *intruder) goesOn() {
	for until := i.tries.Load() + 6; i.tries.Load() < until && i.f.Context().Err() == nil; {
		i.f.exec("SELECT 1")
	}
}

// TestLockoutAgainstAnIntruder: sessions that change the role's password all the
// time, or hold it up with a transaction, lose it all the same, and who comes back
// as often as it can does not get in from the moment that Close returns.
func TestLockoutAgainstAnIntruder(t *testing.T) {
	t.Parallel()
	for name, statement := range map[string]func(own secret.Credential) string{
		"changes the password all the time": func(own secret.Credential) string {
			return alterRole(own.User, asItIs, own.Verifier)
		},
		"keeps a transaction open": func(own secret.Credential) string {
			return "BEGIN; " + alterRole(own.User, asItIs, own.Verifier) + "; SELECT pg_sleep(600)"
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.mayEnd()
			idle := f.session(f.app)
			i := f.breakIn(statement)
			d, next := f.locked(f.admin), f.fresh()
			if _, err := d.Close(t.Context(), next); err != nil {
				t.Fatal(err)
			}
			i.closed.Store(true)
			i.goesOn()
			if _, err := d.Expel(t.Context(), f.app.User); err != nil {
				t.Fatal(err)
			}
			i.goesOn()
			if _, err := d.Open(t.Context(), next); err != nil {
				t.Fatal(err)
			}
			i.goesOn()
			if n := i.got.Load(); n > 0 || f.alive(idle) || f.sessions() > 0 {
				t.Errorf("%d logins after Close, %d sessions left", n, f.sessions())
			}
			f.ownsTheRole(d, next, f.app, i.own)
		})
	}
}

// sessions is how many the role has.
func (f *fixture) sessions() (n int) {
	f.Helper()
	if err := f.super.QueryRow(f.Context(), "SELECT count(*) FROM pg_stat_activity WHERE usename = $1", f.app.User).Scan(&n); err != nil {
		f.Fatal(err)
	}
	return n
}

// ownsTheRole demands that next opens the door, and nothing else does.
func (f *fixture) ownsTheRole(d *Database, next secret.Credential, others ...secret.Credential) {
	f.Helper()
	if f.stored(f.app.User) != next.Verifier.Reveal() || !f.opensDoor(next) {
		f.Error("the role does not have the new password")
	}
	for _, c := range others {
		if f.opensDoor(c) {
			f.Error("another password opens the door")
		}
	}
	if got, err := d.Holds(f.Context(), next); got != secret.Yes || err != nil {
		f.Errorf("the new password: %v, %v", got, err)
	}
}

// TestCloseBesideAnotherAdministrator: what is not the role's own is left alone.
func TestCloseBesideAnotherAdministrator(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	d, former := f.locked(f.admin), f.stored(f.app.User)
	other := f.session(f.superuser(), "BEGIN", "ALTER ROLE "+quote(f.app.User)+" CONNECTION LIMIT 7")
	if err := d.held.exec(t.Context(), "SET lock_timeout = '20ms'"); err != nil {
		t.Fatal(err)
	}
	_, err := d.Close(t.Context(), f.fresh())
	if classOf(err) == "lost" || !strings.Contains(hintsOf(err), "a transaction that changes role") {
		t.Errorf("%v, hint %q", err, hintsOf(err))
	}
	if _, err := other.Exec(t.Context(), "COMMIT"); err != nil {
		t.Errorf("the other administrator's session: %v", err)
	}
	next := f.fresh()
	if f.stored(f.app.User) != former {
		t.Error("the password was changed")
	}
	f.emergency(d, next)
	f.ownsTheRole(d, next, f.app)
}

// TestCloseWithoutTheRightToEnd: a session of the role is in the way, and may not
// be ended.
func TestCloseWithoutTheRightToEnd(t *testing.T) {
	f := newFixture(t)
	d := f.locked(f.admin)
	held := f.session(f.app, "BEGIN", alterRole(f.app.User, asItIs, f.fresh().Verifier))
	if err := d.held.exec(t.Context(), "SET lock_timeout = '20ms'"); err != nil {
		t.Fatal(err)
	}
	_, err := d.Close(t.Context(), f.fresh())
	if err == nil || !strings.Contains(hintsOf(err), "GRANT pg_signal_backend TO "+quote(f.admin.User)) || !f.alive(held) {
		t.Errorf("%v, hint %q", err, hintsOf(err))
	}
}

// TestCloseBesideAPreparedTransaction: no session holds it, so somebody has to
// end it by hand, and is told which.
func TestCloseBesideAPreparedTransaction(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	var most int
	if err := f.super.QueryRow(t.Context(), "SELECT current_setting('max_prepared_transactions')::int").Scan(&most); err != nil {
		t.Fatal(err)
	}
	if most == 0 {
		return // such a server, as PostgreSQL is by default, has none that could be in the way
	}
	gid := "gid_" + rand.Text()
	f.session(f.app, "BEGIN", alterRole(f.app.User, asItIs, f.fresh().Verifier), "PREPARE TRANSACTION '"+gid+"'")
	defer f.exec("ROLLBACK PREPARED '" + gid + "'")
	d := f.locked(f.admin)
	if err := d.held.exec(t.Context(), "SET lock_timeout = '20ms'"); err != nil {
		t.Fatal(err)
	}
	_, err := d.Close(t.Context(), f.fresh())
	if classOf(err) == "lost" || !strings.Contains(hintsOf(err), "ROLLBACK PREPARED '"+gid+"'; in database postgres") {
		t.Errorf("%v, hint %q", err, hintsOf(err))
	}
	_, warnings, err := d.PlanLockout(t.Context(), f.app.User, f.app.User)
	if text := strings.Join(warnings, " "); err != nil || !strings.Contains(text, "has prepared transactions, which can be committed later: '"+gid+"' in postgres") {
		t.Errorf("%q, %v", text, err)
	}
}

// late holds back the last message of a login.
type late struct {
	net.Conn
	messages int // of the kind that carries passwords
	held     chan struct{}
	let      chan struct{}
}

func (l *late) Write(p []byte) (int, error) {
	if p[0] == 'p' {
		if l.messages++; l.messages == 2 {
			close(l.held)
			<-l.let
		}
	}
	return l.Conn.Write(p)
}

// TestOpenOutlastsALogin: a login that began with another verifier ends late. The
// server accepts its proof, and lets it in if the role is open by then.
func TestOpenOutlastsALogin(t *testing.T) {
	f := newFixture(t)
	f.mayEnd()
	d, next, own := f.locked(f.admin), f.fresh(), f.fresh()
	if _, err := d.Close(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	f.setVerifier(f.app.User, own.Verifier.Reveal()) // as a session did that is ended now
	below := f.open(f.superuser())
	wire := &late{held: make(chan struct{}), let: make(chan struct{})}
	answer := make(chan error, 1)
	go func() {
		_, err := f.client(own, func(c *pgx.ConnConfig) {
			c.TLSConfig, c.Fallbacks = nil, nil
			c.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
				var err error
				wire.Conn, err = below.place.dial(ctx, "")
				return wire, err
			}
		})
		answer <- err
	}()
	<-wire.held
	opened := make(chan error, 1)
	go func() { _, err := d.Open(t.Context(), next); opened <- err }()
	f.looksFor("virtualxid", opened)
	if f.stored(f.app.User) != next.Verifier.Reveal() {
		t.Error("while Open waits, more logins can begin with the other verifier")
	}
	close(wire.let)
	if err := <-answer; !hasCode(err, codeNotPermitted) {
		t.Errorf("the late login: %v", err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
	f.ownsTheRole(d, next, f.app, own)
}

// looksFor waits until the administrator has sent statements with this word
// again and again, or is done with what it was doing.
func (f *fixture) looksFor(word string, done chan error) {
	f.Helper()
	for times := map[string]bool{}; len(times) < 4 && len(done) == 0; {
		rows, err := f.super.Query(f.Context(), "SELECT query_start::text FROM pg_stat_activity WHERE usename = $1 AND query LIKE '%' || $2 || '%'", f.admin.User, word)
		if err != nil {
			f.Fatal(err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			f.Fatal(err)
		}
		for _, at := range found {
			times[at] = true
		}
	}
}

// TestExpelFindsALoginThatIsDrawnOut: a client may ask for a delay between the
// check for LOGIN and the moment from which pg_stat_activity shows its session.
func TestExpelFindsALoginThatIsDrawnOut(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.mayEnd()
	name := f.newDatabase()
	answer, expelled := make(chan error, 1), make(chan bool)
	own := f.fresh()
	go func() {
		conn, err := f.client(f.app, func(c *pgx.ConnConfig) { c.Database, c.RuntimeParams["options"] = name, "-c post_auth_delay=600" })
		if err == nil { // a signal cuts the delay short, also one that other tests have sent to all by CREATE DATABASE
			<-expelled
			_, err = conn.Exec(f.Context(), alterRole(own.User, asItIs, own.Verifier))
		}
		answer <- err
	}()
	f.waitsFor(`SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.objid WHERE l.classid = 'pg_database'::regclass AND datname = $1
		AND pid NOT IN (SELECT pid FROM pg_stat_activity WHERE usename IS NOT NULL))`, name)
	d, next := f.locked(f.admin), f.fresh()
	if _, err := d.Close(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	_, err := d.Expel(t.Context(), f.app.User)
	close(expelled)
	if err != nil {
		t.Fatal(err)
	}
	var there bool
	err = f.super.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.objid WHERE l.classid = 'pg_database'::regclass AND datname = $1)", name).Scan(&there)
	if err != nil || there {
		t.Errorf("it is logging in still: %v", err)
	}
	if _, err := d.Open(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err == nil {
		t.Error("the session came up")
	}
	f.ownsTheRole(d, next, f.app, own)
}

// newDatabase makes one that is gone after the test.
func (f *fixture) newDatabase() string {
	f.Helper()
	name := "db_" + strings.ToLower(rand.Text())
	f.exec("CREATE DATABASE " + name)
	f.Cleanup(func() {
		conn, err := pgx.Connect(context.Background(), f.url.String())
		if err != nil {
			f.Error(err)
			return
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			f.Error(err)
		}
	})
	return name
}
