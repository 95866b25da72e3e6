package rotationtest

import (
	"testing"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// Twins is a role, Role, whose twin is still to be made.
type Twins struct {
	Database
	Twins      rotation.Twins
	Retirement rotation.Retirement
	Twin       string // name of the twin
	// Session opens a session with c, and returns what tells whether it is alive.
	Session func(c secret.Credential) (alive func() bool)
}

// TestTwins holds a Twins and a Retirement to what rotation expects of them.
// Every subtest gets a role of its own from the factory.
func TestTwins(t *testing.T, factory func(*testing.T) Twins) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Twins)
	}{
		{"MemberTellsATwin", twinsMember},
		{"PlanChangesNothing", twinsPlan},
		{"PlanNamesAMissingBase", twinsMissingBase},
		{"CreateMakesAClosedRole", twinsCreate},
		{"CreateTwiceChangesNothing", twinsCreateTwice},
		{"EnableLetsTheNewPasswordIn", twinsEnable},
		{"EnableOpensWhatRevokeHasClosed", twinsEnableRevoked},
		{"EverythingNeedsTheLock", twinsNeedLock},
		{"EnableRefusesAnEmptyVerifier", twinsEmpty},
		{"SessionsAreCounted", twinsSessions},
		{"RetireTakesThePasswordAway", twinsRetire},
		{"RetireAndRevokeRefuseAStranger", twinsStranger},
		{"RevokeClosesTheRole", twinsRevoke},
		{"AMissingRoleIsRetired", twinsRetireMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := factory(t)
			t.Cleanup(d.Lock.Release)
			t.Cleanup(d.Other.Release)
			c.run(t, d)
		})
	}
}

func (d Twins) create(t *testing.T) {
	t.Helper()
	d.acquire(t)
	must(t, d.Twins.Create(t.Context(), d.Role, d.Twin), "make the twin")
}

// enabled makes the twin log in with a password.
func (d Twins) enabled(t *testing.T, password string) secret.Credential {
	t.Helper()
	d.create(t)
	next := d.ofTwin(t, password)
	_, err := d.Twins.Enable(t.Context(), next)
	must(t, err, "let the twin log in")
	return next
}

func (d Twins) ofTwin(t *testing.T, password string) secret.Credential {
	t.Helper()
	c := d.next(t, password)
	c.User = d.Twin
	return c
}

func (d Twins) wantMember(t *testing.T, role, base string, want bool) {
	t.Helper()
	got, err := d.Twins.Member(t.Context(), role, base)
	must(t, err, "ask for a membership")
	if got != want {
		t.Errorf("role %q is a member of %q: %v", role, base, got)
	}
}

func twinsMember(t *testing.T, d Twins) {
	d.wantMember(t, d.Twin, d.Role, false)
	d.create(t)
	d.wantMember(t, d.Twin, d.Role, true)
	d.wantMember(t, d.Role, d.Twin, false)
	d.wantMember(t, d.Twin, d.Role+"_another", false)
}

func twinsPlan(t *testing.T, d Twins) {
	d.plan(t, d.Twin)
	d.wantMember(t, d.Twin, d.Role, false)
	d.create(t)
	d.plan(t, d.Twin)
	d.plan(t, d.Role)
	d.planFormer(t)
	d.wantVerdict(t, d.ofTwin(t, "Password0ForTheTwins"), secret.No, "a password of the twin after the plan")
	d.wantVerdict(t, login(d.Current), secret.Yes, "the current password after the plan")
}

func (d Twins) plan(t *testing.T, target string) {
	t.Helper()
	change, _, err := d.Twins.PlanTwin(t.Context(), d.Role, d.Twin, target)
	must(t, err, "plan for "+target)
	if change == "" {
		t.Error("the plan does not say what would change")
	}
}

func (d Twins) planFormer(t *testing.T) {
	t.Helper()
	change, _, err := d.Twins.PlanFormer(t.Context(), d.Role)
	must(t, err, "plan for the role that is served")
	if change == "" {
		t.Error("the plan does not say what would change")
	}
}

func twinsMissingBase(t *testing.T, d Twins) {
	_, _, err := d.Twins.PlanTwin(t.Context(), d.Role+"_that_is_not_there", d.Twin, d.Twin)
	wantClass(t, err, rotation.Refused, "plan for a missing role", d.Current.Password)
	_, _, err = d.Twins.PlanFormer(t.Context(), d.Role+"_that_is_not_there")
	wantClass(t, err, rotation.Refused, "plan for a missing role that is served", d.Current.Password)
}

func twinsCreate(t *testing.T, d Twins) {
	d.create(t)
	d.wantVerdict(t, d.ofTwin(t, "Password1ForTheTwins"), secret.No, "a password of the twin that was made, with its verifier")
	same := d.Current
	same.User = d.Twin
	d.wantVerdict(t, login(same), secret.No, "the base's password on the twin")
	d.wantVerdict(t, login(d.Current), secret.Yes, "the base's own password")
}

func twinsCreateTwice(t *testing.T, d Twins) {
	next := d.enabled(t, "Password2ForTheTwins")
	must(t, d.Twins.Create(t.Context(), d.Role, d.Twin), "make the twin again")
	d.wantVerdict(t, login(next), secret.Yes, "the twin's password")
}

func twinsEnable(t *testing.T, d Twins) {
	d.create(t)
	before, err := d.Lock.Check(t.Context())
	must(t, err, "read the database's clock")
	next := d.ofTwin(t, "Password3ForTheTwins")
	at, err := d.Twins.Enable(t.Context(), next)
	must(t, err, "let the twin log in")
	if at.Before(before) {
		t.Errorf("enabled at %v, which was before %v", at, before)
	}
	d.wantVerdict(t, next, secret.Yes, "the twin's password with its verifier")
	d.wantVerdict(t, login(next), secret.Yes, "the twin's password by a login")
	d.wantVerdict(t, login(d.Current), secret.Yes, "the base's password by a login")
	if alive := d.Session(next); !alive() {
		t.Error("the twin's password opens no session")
	}
}

func twinsEnableRevoked(t *testing.T, d Twins) {
	d.enabled(t, "Password4ForTheTwins")
	must(t, d.Retirement.Revoke(t.Context(), d.Twin, d.Role), "close the twin")
	next := d.ofTwin(t, "Password5ForTheTwins")
	_, err := d.Twins.Enable(t.Context(), next)
	must(t, err, "let the twin log in again")
	d.wantVerdict(t, login(next), secret.Yes, "the twin's new password")
}

func twinsNeedLock(t *testing.T, d Twins) {
	next, other := d.enabled(t, "Password6ForTheTwins"), d.ofTwin(t, "Password7ForTheTwins")
	d.Cut()
	_, err := d.Twins.Enable(t.Context(), other)
	wantClass(t, err, rotation.Lost, "let the twin log in, in a session that is gone")
	wantClass(t, d.Twins.Create(t.Context(), d.Role, d.Twin+"_another"), rotation.Lost, "make a twin in a session that is gone")
	wantClass(t, d.Retirement.Retire(t.Context(), d.Twin, d.Role), rotation.Lost, "retire a role in a session that is gone")
	wantClass(t, d.Retirement.Revoke(t.Context(), d.Twin, d.Role), rotation.Lost, "close a role in a session that is gone")
	d.wantVerdict(t, login(next), secret.Yes, "the twin's password")
}

func twinsEmpty(t *testing.T, d Twins) {
	next := d.enabled(t, "Password8ForTheTwins")
	_, err := d.Twins.Enable(t.Context(), secret.Credential{User: d.Twin})
	wantClass(t, err, rotation.Refused, "let the twin log in with an empty verifier")
	d.wantVerdict(t, login(next), secret.Yes, "the twin's password")
}

func twinsSessions(t *testing.T, d Twins) {
	next := d.enabled(t, "Password9ForTheTwins")
	d.wantSessions(t, d.Twin, 0)
	alive := []func() bool{d.Session(next), d.Session(next)}
	base := d.Session(d.Current)
	d.wantSessions(t, d.Twin, 2)
	d.wantSessions(t, d.Role, 1)
	d.wantSessions(t, d.Twin+"_another", 0)
	if !alive[0]() || !alive[1]() || !base() {
		t.Error("a session was ended")
	}
}

func (d Twins) wantSessions(t *testing.T, role string, want int) {
	t.Helper()
	got, err := d.Retirement.Sessions(t.Context(), role)
	must(t, err, "count the sessions")
	if got != want {
		t.Errorf("role %q has %d sessions, want %d", role, got, want)
	}
}

func twinsRetire(t *testing.T, d Twins) {
	next := d.enabled(t, "Password10ForTheTwins")
	alive := d.Session(next)
	for range 2 {
		must(t, d.Retirement.Retire(t.Context(), d.Twin, d.Role), "retire the twin")
	}
	d.wantVerdict(t, next, secret.No, "the retired password with its verifier")
	d.wantVerdict(t, login(next), secret.No, "the retired password by a login")
	d.wantVerdict(t, login(d.Current), secret.Yes, "the base's password")
	if !alive() {
		t.Error("a session was ended")
	}
}

func twinsRevoke(t *testing.T, d Twins) {
	next := d.enabled(t, "Password11ForTheTwins")
	alive := d.Session(next)
	for range 2 {
		must(t, d.Retirement.Revoke(t.Context(), d.Twin, d.Role), "close the twin")
	}
	d.wantVerdict(t, login(next), secret.No, "the password of the closed role by a login")
	d.wantVerdict(t, login(d.Current), secret.Yes, "the base's password")
	if !alive() {
		t.Error("a session was ended")
	}
}

func twinsRetireMissing(t *testing.T, d Twins) {
	d.acquire(t)
	must(t, d.Retirement.Retire(t.Context(), d.Twin, d.Role), "retire a role that is not there")
	must(t, d.Retirement.Revoke(t.Context(), d.Twin, d.Role), "close a role that is not there")
}

// Whoever writes the journal must not have any role closed.
func twinsStranger(t *testing.T, d Twins) {
	d.acquire(t)
	wantClass(t, d.Retirement.Retire(t.Context(), d.Role, d.Twin), rotation.Refused, "retire a role that takes turns with nobody")
	wantClass(t, d.Retirement.Revoke(t.Context(), d.Role, d.Twin), rotation.Refused, "close a role that takes turns with nobody")
	d.wantVerdict(t, login(d.Current), secret.Yes, "its password")
}
