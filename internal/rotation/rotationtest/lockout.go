package rotationtest

import (
	"testing"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// Lockout is a role that can be locked out, seen by two processes.
type Lockout struct {
	Database
	Lockout rotation.Lockout
	// Breaker is the lockout as the process sees it that Other belongs to.
	Breaker rotation.Lockout
	// Session opens a session of the role with c, and returns what tells whether
	// it is alive.
	Session func(c secret.Credential) (alive func() bool)
	// Stranger takes the lock on the role as a program that is not pgrotate.
	Stranger func() (alive func() bool)
}

// TestLockout holds a Lockout to what rotation expects of it. Every subtest gets
// a role of its own from the factory.
func TestLockout(t *testing.T, factory func(*testing.T) Lockout) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Lockout)
	}{
		{"PlanChangesNothing", lockoutPlan},
		{"PlanNamesAMissingRole", lockoutMissingRole},
		{"PlanTakesAClosedRole", lockoutPlanClosed},
		{"CloseShutsEverybodyOut", lockoutClose},
		{"CloseTwiceChangesNothing", lockoutCloseTwice},
		{"ExpelEndsTheSessions", lockoutExpel},
		{"ExpelNeedsNoSession", lockoutExpelNone},
		{"OpenLetsTheNewPasswordIn", lockoutOpen},
		{"OpenTwiceChangesNothing", lockoutOpenTwice},
		{"CloseAndOpenNeedTheLock", lockoutNeedsLock},
		{"CloseAndOpenRefuseAnEmptyVerifier", lockoutEmpty},
		{"BreakFreesTheLock", lockoutBreak},
		{"BreakNeedsNoHolder", lockoutBreakNone},
		{"BreakRefusesAStranger", lockoutBreakStranger},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := factory(t)
			t.Cleanup(l.Lock.Release)
			t.Cleanup(l.Other.Release)
			c.run(t, l)
		})
	}
}

func lockoutPlan(t *testing.T, l Lockout) {
	before := l.storedLocked(t)
	alive := l.Session(l.Current)
	change, _, err := l.Lockout.PlanLockout(t.Context(), l.Role, l.Role)
	must(t, err, "plan")
	if change == "" {
		t.Error("the plan does not say what would change")
	}
	if !before.Equal(l.storedLocked(t)) || !alive() {
		t.Error("the plan changed the verifier or ended a session")
	}
	l.wantVerdict(t, login(l.Current), secret.Yes, "the current password after the plan")
}

func lockoutMissingRole(t *testing.T, l Lockout) {
	_, _, err := l.Lockout.PlanLockout(t.Context(), l.Role+"_that_is_not_there", l.Role)
	wantClass(t, err, rotation.Refused, "plan for a missing role", l.Current.Password)
}

// lockoutPlanClosed: an emergency that was killed in the middle left this.
func lockoutPlanClosed(t *testing.T, l Lockout) {
	next := l.closed(t, "Password1ForTheLockout")
	_, _, err := l.Lockout.PlanLockout(t.Context(), l.Role, l.Role)
	must(t, err, "plan for a role that is closed")
	l.wantVerdict(t, next, secret.Closed, "the new password after the plan")
}

// closed closes the role with a new password.
func (l Lockout) closed(t *testing.T, password string) secret.Credential {
	t.Helper()
	l.acquire(t)
	next := l.next(t, password)
	_, err := l.Lockout.Close(t.Context(), next)
	must(t, err, "close the role")
	return next
}

func lockoutClose(t *testing.T, l Lockout) {
	l.acquire(t)
	before, err := l.Lock.Check(t.Context())
	must(t, err, "read the database's clock")
	next := l.next(t, "Password2ForTheLockout")
	at, err := l.Lockout.Close(t.Context(), next)
	must(t, err, "close the role")
	if at.Before(before) {
		t.Errorf("closed at %v, which was before %v", at, before)
	}
	l.wantVerdict(t, next, secret.Closed, "the new password with its verifier")
	l.wantVerdict(t, login(next), secret.Closed, "the new password by a login")
	l.wantVerdict(t, login(l.Current), secret.No, "the former password by a login")
	if !l.stored(t, next).Equal(next.Verifier) {
		t.Error("the stored verifier is not the one that was sent")
	}
}

func lockoutCloseTwice(t *testing.T, l Lockout) {
	next := l.closed(t, "Password3ForTheLockout")
	_, err := l.Lockout.Close(t.Context(), next)
	must(t, err, "close the role again")
	l.wantVerdict(t, next, secret.Closed, "the new password")
}

func lockoutExpel(t *testing.T, l Lockout) {
	first, second := l.Session(l.Current), l.Session(l.Current)
	l.closed(t, "Password4ForTheLockout")
	if !first() || !second() {
		t.Fatal("the sessions ended before they were to: the test proves nothing")
	}
	ended, err := l.Lockout.Expel(t.Context(), l.Role)
	must(t, err, "end the sessions")
	if ended != 2 || first() || second() {
		t.Errorf("%d sessions were ended, want 2; alive: %v, %v", ended, first(), second())
	}
	_, err = l.Lock.Check(t.Context())
	must(t, err, "check the lock after it")
}

func lockoutExpelNone(t *testing.T, l Lockout) {
	for _, locked := range []bool{false, true} {
		if locked {
			l.acquire(t)
		}
		ended, err := l.Lockout.Expel(t.Context(), l.Role)
		must(t, err, "end no session")
		if ended != 0 {
			t.Errorf("%d sessions were ended, there was none", ended)
		}
	}
}

func lockoutOpen(t *testing.T, l Lockout) {
	next := l.closed(t, "Password5ForTheLockout")
	before, err := l.Lock.Check(t.Context())
	must(t, err, "read the database's clock")
	at, err := l.Lockout.Open(t.Context(), next)
	must(t, err, "open the role")
	if at.Before(before) {
		t.Errorf("opened at %v, which was before %v", at, before)
	}
	l.wantVerdict(t, next, secret.Yes, "the new password with its verifier")
	l.wantVerdict(t, login(next), secret.Yes, "the new password by a login")
	l.wantVerdict(t, login(l.Current), secret.No, "the former password by a login")
	if alive := l.Session(next); !alive() {
		t.Error("the new password opens no session")
	}
}

func lockoutOpenTwice(t *testing.T, l Lockout) {
	next := l.closed(t, "Password6ForTheLockout")
	for range 2 {
		_, err := l.Lockout.Open(t.Context(), next)
		must(t, err, "open the role")
	}
	l.wantVerdict(t, login(next), secret.Yes, "the new password")
	if !l.stored(t, next).Equal(next.Verifier) {
		t.Error("the stored verifier is not the one that was sent")
	}
}

func lockoutNeedsLock(t *testing.T, l Lockout) {
	l.acquire(t)
	next := l.next(t, "Password7ForTheLockout")
	l.Cut()
	_, err := l.Lockout.Close(t.Context(), next)
	wantClass(t, err, rotation.Lost, "close the role in a session that is gone", next.Password, next.Verifier)
	_, err = l.Lockout.Open(t.Context(), next)
	wantClass(t, err, rotation.Lost, "open the role in a session that is gone", next.Password, next.Verifier)
	l.acquire(t)
	l.wantVerdict(t, login(l.Current), secret.Yes, "the current password")
}

func lockoutEmpty(t *testing.T, l Lockout) {
	l.acquire(t)
	empty := secret.Credential{User: l.Role}
	_, err := l.Lockout.Close(t.Context(), empty)
	wantClass(t, err, rotation.Refused, "close the role with an empty verifier")
	_, err = l.Lockout.Open(t.Context(), empty)
	wantClass(t, err, rotation.Refused, "open the role with an empty verifier")
	l.wantVerdict(t, login(l.Current), secret.Yes, "the current password")
}

func lockoutBreak(t *testing.T, l Lockout) {
	l.acquire(t)
	next := l.next(t, "Password8ForTheLockout")
	must(t, l.Breaker.Break(t.Context(), l.Role), "break the lock")
	_, _, err := l.Other.Acquire(t.Context(), l.Role, shortly)
	must(t, err, "take the lock that was broken")
	_, err = l.Database.Database.Set(t.Context(), next)
	wantClass(t, err, rotation.Lost, "change the password without the lock", next.Password, next.Verifier)
	must(t, l.Breaker.Break(t.Context(), l.Role), "break the lock that is one's own")
	_, err = l.Other.Check(t.Context())
	must(t, err, "check the lock that is one's own")
}

func lockoutBreakNone(t *testing.T, l Lockout) {
	must(t, l.Breaker.Break(t.Context(), l.Role), "break a lock that nobody holds")
	l.acquire(t)
	must(t, l.Breaker.Break(t.Context(), l.Role+"_another"), "break the lock of another role")
	_, err := l.Lock.Check(t.Context())
	must(t, err, "check the lock")
}

func lockoutBreakStranger(t *testing.T, l Lockout) {
	alive := l.Stranger()
	wantClass(t, l.Breaker.Break(t.Context(), l.Role), rotation.Refused, "break the lock that a stranger holds")
	if !alive() {
		t.Error("the stranger's session was ended")
	}
}
