package rotationtest

import (
	"context"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// Database is a role whose password may be changed, seen by two processes.
type Database struct {
	Lock     rotation.Lock
	Database rotation.Database
	Role     string
	Current  secret.Credential // opens the door; Verifier may be zero
	// Other is the lock as another process sees it.
	Other rotation.Lock
	// Cut ends the session that holds the lock, as a restart of the server or a
	// broken connection does.
	Cut func()
	// Keep makes secrets, as the Keeper does.
	Keep func(string) secret.Value
}

// shortly is how long a lock that must be busy is waited for.
const shortly = 50 * time.Millisecond

// TestDatabase holds a Lock and a Database to what rotation expects of them.
// Every subtest gets a role of its own from the factory.
func TestDatabase(t *testing.T, factory func(*testing.T) Database) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Database)
	}{
		{"PlanChangesNothing", databasePlan},
		{"PlanNamesAMissingRole", databaseMissingRole},
		{"VerifierIsNewEachTime", databaseVerifier},
		{"HoldsTellsYesFromNo", databaseHolds},
		{"SetOpensTheDoorAndShutsTheFormerOut", databaseSet},
		{"SetTwiceChangesNothing", databaseSetTwice},
		{"StoredPutsBackExactly", databasePutsBack},
		{"SetNeedsTheLock", databaseNeedsLock},
		{"SetRefusesAnEmptyVerifier", databaseEmpty},
		{"LockIsHeldByOne", lockByOne},
		{"LockDiesWithItsSession", lockDies},
		{"ReleaseNeedsNoLock", lockRelease},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := factory(t)
			t.Cleanup(d.Lock.Release)
			t.Cleanup(d.Other.Release)
			c.run(t, d)
		})
	}
}

// acquire takes the lock as a run does.
func (d Database) acquire(t *testing.T) {
	t.Helper()
	_, database, err := d.Lock.Acquire(t.Context(), d.Role, time.Minute)
	must(t, err, "take the lock")
	if database == "" {
		t.Error("the lock does not say in which database it lives")
	}
}

// next returns a credential that could replace the current one.
func (d Database) next(t *testing.T, password string) secret.Credential {
	t.Helper()
	c := secret.Credential{User: d.Role, Password: d.Keep(password)}
	v, err := d.Database.Verifier(t.Context(), c.Password)
	must(t, err, "make a verifier")
	c.Verifier = v
	return c
}

// login forgets the verifier, so that only a login can tell.
func login(c secret.Credential) secret.Credential {
	return secret.Credential{User: c.User, Password: c.Password}
}

func (d Database) wantVerdict(t *testing.T, c secret.Credential, want secret.Verdict, doing string) {
	t.Helper()
	got, err := d.Database.Holds(t.Context(), c)
	if got != want {
		t.Errorf("%s: verdict %q, want %q: %v", doing, got, want, err)
	}
	if (err != nil) != (got == secret.Unknown) {
		t.Errorf("%s: verdict %q with error %v", doing, got, err)
	}
}

func (d Database) stored(t *testing.T, c secret.Credential) secret.Value {
	t.Helper()
	v, err := d.Database.Stored(t.Context(), c)
	must(t, err, "read the stored verifier")
	return v
}

func databasePlan(t *testing.T, d Database) {
	before := d.storedLocked(t)
	d.Lock.Release()
	change, _, err := d.Database.Plan(t.Context(), d.Role)
	must(t, err, "plan")
	if change == "" {
		t.Error("the plan does not say what would change")
	}
	if !before.Equal(d.storedLocked(t)) {
		t.Error("the plan changed the verifier")
	}
}

func (d Database) storedLocked(t *testing.T) secret.Value {
	t.Helper()
	d.acquire(t)
	return d.stored(t, d.Current)
}

func databaseMissingRole(t *testing.T, d Database) {
	_, _, err := d.Database.Plan(t.Context(), d.Role+"_that_is_not_there")
	wantClass(t, err, rotation.Refused, "plan for a missing role", d.Current.Password)
}

func databaseVerifier(t *testing.T, d Database) {
	d.acquire(t)
	a, b := d.next(t, "Password1ForTheContract"), d.next(t, "Password1ForTheContract")
	if a.Verifier.IsZero() || a.Verifier.Equal(b.Verifier) || a.Verifier.Equal(a.Password) {
		t.Error("a verifier is empty, repeated or the password itself")
	}
}

func databaseHolds(t *testing.T, d Database) {
	d.acquire(t)
	wrong := d.next(t, "NotThePasswordAtAll")
	d.wantVerdict(t, login(d.Current), secret.Yes, "the current password")
	d.wantVerdict(t, login(wrong), secret.No, "a wrong password")
	d.wantVerdict(t, wrong, secret.No, "a wrong password with its verifier")
	known := login(d.Current)
	known.Verifier = d.stored(t, d.Current)
	d.wantVerdict(t, known, secret.Yes, "the current password with its verifier")
	d.wantVerdict(t, login(d.Current), secret.Yes, "the current password, asked again")
}

func databaseSet(t *testing.T, d Database) {
	d.acquire(t)
	next := d.next(t, "Password2ForTheContract")
	before, err := d.Lock.Check(t.Context())
	must(t, err, "read the database's clock")
	at, err := d.Database.Set(t.Context(), next)
	must(t, err, "change the password")
	if at.Before(before) {
		t.Errorf("changed at %v, which was before %v", at, before)
	}
	d.wantVerdict(t, next, secret.Yes, "the new password with its verifier")
	d.wantVerdict(t, login(next), secret.Yes, "the new password by a login")
	d.wantVerdict(t, login(d.Current), secret.No, "the former password by a login")
}

func databaseSetTwice(t *testing.T, d Database) {
	d.acquire(t)
	next := d.next(t, "Password3ForTheContract")
	for range 2 {
		_, err := d.Database.Set(t.Context(), next)
		must(t, err, "change the password")
	}
	if !d.stored(t, next).Equal(next.Verifier) {
		t.Error("the stored verifier is not the one that was set")
	}
}

func databasePutsBack(t *testing.T, d Database) {
	d.acquire(t)
	previous := d.Current
	previous.Verifier = d.stored(t, d.Current)
	_, err := d.Database.Set(t.Context(), d.next(t, "Password4ForTheContract"))
	must(t, err, "change the password")
	_, err = d.Database.Set(t.Context(), previous)
	must(t, err, "put the former password back")
	d.wantVerdict(t, login(d.Current), secret.Yes, "the former password")
	if !d.stored(t, d.Current).Equal(previous.Verifier) {
		t.Error("the verifier is not the former one, bit by bit")
	}
}

func databaseNeedsLock(t *testing.T, d Database) {
	d.acquire(t)
	next := d.next(t, "Password5ForTheContract")
	d.Cut()
	_, err := d.Database.Set(t.Context(), next)
	wantClass(t, err, rotation.Lost, "change the password in a session that is gone", next.Password, next.Verifier)
	d.acquire(t)
	d.wantVerdict(t, login(d.Current), secret.Yes, "the current password")
}

func databaseEmpty(t *testing.T, d Database) {
	d.acquire(t)
	if _, err := d.Database.Set(t.Context(), secret.Credential{User: d.Role}); err == nil {
		t.Error("a role was given an empty password")
	}
	d.wantVerdict(t, login(d.Current), secret.Yes, "the current password")
}

func lockByOne(t *testing.T, d Database) {
	d.acquire(t)
	_, _, err := d.Other.Acquire(t.Context(), d.Role, shortly)
	wantClass(t, err, rotation.Busy, "take a lock that another holds")
	_, _, err = d.Other.Acquire(t.Context(), d.Role+"_another", shortly)
	must(t, err, "take the lock of another role")
	d.Other.Release()
	d.Lock.Release()
	_, _, err = d.Other.Acquire(t.Context(), d.Role, time.Minute)
	must(t, err, "take a lock that was given back")
}

func lockDies(t *testing.T, d Database) {
	d.acquire(t)
	_, err := d.Lock.Check(t.Context())
	must(t, err, "check the lock")
	d.Cut()
	_, err = d.Lock.Check(t.Context())
	wantClass(t, err, rotation.Lost, "check a lock whose session is gone")
	_, _, err = d.Other.Acquire(t.Context(), d.Role, time.Minute)
	must(t, err, "take a lock whose holder is gone")
	d.Other.Release()
	d.acquire(t) // a run that lost its lock takes it again
	_, err = d.Lock.Check(t.Context())
	must(t, err, "check the lock that was taken again")
}

func lockRelease(t *testing.T, d Database) {
	d.Lock.Release()
	d.Lock.Release()
	d.acquire(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := d.Other.Acquire(ctx, d.Role, time.Minute); err == nil {
		t.Error("a run that was told to stop took the lock")
	}
}
