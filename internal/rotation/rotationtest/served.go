package rotationtest

import (
	"maps"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// Served is a Secret that holds a credential, seen from outside, too.
type Served struct {
	Served  rotation.Served
	Current secret.Credential // user and password that it holds
	// Version names the stored state; it changes with every write.
	Version func() string
	// Others returns all that pgrotate does not own: the other keys, labels and
	// annotations, as text.
	Others func() string
	// Touch changes one of those, as somebody else.
	Touch func()
	// Delete removes the Secret.
	Delete func()
	Keep   func(string) secret.Value
}

// TestServed holds a Served to what rotation expects of it. Every subtest gets
// a Secret of its own from the factory, which pgrotate has never written.
func TestServed(t *testing.T, factory func(*testing.T) Served) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Served)
	}{
		{"LookShowsTheCredential", servedLook},
		{"PlanChangesNothing", servedPlan},
		{"SetIsSeen", servedSet},
		{"SetTwiceWritesOnce", servedSetTwice},
		{"SetOfAnEpochKeepsTheRest", servedEpoch},
		{"HigherEpochShutsOut", servedFence},
		{"FormerBytesComeBackExactly", servedBack},
		{"ForeignChangeIsKept", servedForeign},
		{"MissingIsNotCreated", servedMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := factory(t)
			wantName(t, s.Served, s.Current.Password)
			c.run(t, s)
		})
	}
}

func (s Served) look(t *testing.T) secret.Snapshot {
	t.Helper()
	snap, err := s.Served.Look(t.Context())
	must(t, err, "read the Secret")
	return snap
}

// next renders a credential for the Secret as it is.
func (s Served) next(t *testing.T, password string) secret.Credential {
	t.Helper()
	c := secret.Credential{User: s.Current.User, Password: s.Keep(password),
		Verifier: s.Keep("SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$" + password)}
	c, err := s.Served.Render(s.look(t).Credential.Keys, c)
	must(t, err, "render a credential")
	if len(c.Keys) == 0 {
		t.Fatal("nothing was rendered")
	}
	return c
}

func (s Served) set(t *testing.T, c secret.Credential, stamp secret.Stamp) {
	t.Helper()
	must(t, s.Served.Set(t.Context(), c, stamp), "write the Secret")
}

func (s Served) wantHeld(t *testing.T, c secret.Credential, stamp secret.Stamp) {
	t.Helper()
	snap := s.look(t)
	if snap.Credential.User != c.User || !snap.Credential.Password.Equal(c.Password) {
		t.Errorf("the Secret does not hold the credential of %q that was written", c.User)
	}
	if !maps.EqualFunc(snap.Credential.Keys, c.Keys, secret.Value.Equal) {
		t.Error("the mapped keys do not have the bytes that were written")
	}
	if snap.RotationID != stamp.RotationID || !snap.RotatedAt.Equal(stamp.RotatedAt) || snap.Epoch != stamp.Epoch {
		t.Errorf("the Secret is stamped %q %v %d, want %+v", snap.RotationID, snap.RotatedAt, snap.Epoch, stamp)
	}
	wantReadable(t, s.Served, snap.Credential, s.Keep("AnotherOneForTheContract"))
}

// wantReadable demands that a place tells c, which it holds, from one with
// another password.
func wantReadable(t *testing.T, place rotation.Readable, c secret.Credential, another secret.Value) {
	t.Helper()
	differs, err := place.Differs(t.Context(), c)
	must(t, err, "compare with what it holds")
	if differs != "" {
		t.Errorf("it differs from what it holds: %s", differs)
	}
	c.Password = another
	differs, err = place.Differs(t.Context(), c)
	must(t, err, "compare with another password")
	if differs == "" {
		t.Error("it does not differ from another password")
	}
}

func stamp(epoch int64) secret.Stamp {
	return secret.Stamp{RotationID: "contract1", RotatedAt: time.Date(2026, 3, 1, 12, 30, 0, 123456000, time.UTC), Epoch: epoch}
}

func servedLook(t *testing.T, s Served) {
	snap := s.look(t)
	if snap.UID == "" || snap.Created.IsZero() || snap.Epoch != 0 || snap.RotationID != "" || !snap.RotatedAt.IsZero() {
		t.Errorf("a new Secret looks like uid %q, created %v, epoch %d, rotation %q at %v", snap.UID, snap.Created, snap.Epoch, snap.RotationID, snap.RotatedAt)
	}
	c := snap.Credential
	if c.User != s.Current.User || !c.Password.Equal(s.Current.Password) || len(c.Keys) == 0 {
		t.Errorf("the Secret shows the credential of %q, want %q, with %d keys", c.User, s.Current.User, len(c.Keys))
	}
}

func servedPlan(t *testing.T, s Served) {
	before := s.Version()
	change, _, err := s.Served.Plan(t.Context(), secret.Credential{User: s.Current.User, Password: s.Keep("Password1ForTheContract")})
	must(t, err, "plan")
	if change == "" {
		t.Error("the plan does not say what would change")
	}
	wantSame(t, "plan", before, s.Version())
}

func servedSet(t *testing.T, s Served) {
	others := s.Others()
	c := s.next(t, "Password2ForTheContract")
	s.set(t, c, stamp(3))
	s.wantHeld(t, c, stamp(3))
	wantSame(t, "what is not pgrotate's", others, s.Others())
}

func servedSetTwice(t *testing.T, s Served) {
	c := s.next(t, "Password3ForTheContract")
	s.set(t, c, stamp(3))
	before := s.Version()
	s.set(t, c, stamp(3))
	wantSame(t, "write what is there already", before, s.Version())
}

func servedEpoch(t *testing.T, s Served) {
	c := s.next(t, "Password4ForTheContract")
	s.set(t, c, stamp(3))
	s.set(t, secret.Credential{}, secret.Stamp{Epoch: 4})
	s.wantHeld(t, c, stamp(4))
	before := s.Version()
	s.set(t, secret.Credential{}, secret.Stamp{Epoch: 4})
	wantSame(t, "write the epoch that is there already", before, s.Version())
}

func servedFence(t *testing.T, s Served) {
	s.set(t, secret.Credential{}, secret.Stamp{Epoch: 5})
	before := s.Version()
	c := s.next(t, "Password5ForTheContract")
	wantClass(t, s.Served.Set(t.Context(), c, stamp(4)), rotation.Conflict, "write with a lower epoch", c.Password, s.Current.Password)
	wantClass(t, s.Served.Set(t.Context(), secret.Credential{}, secret.Stamp{Epoch: 4}), rotation.Conflict, "write a lower epoch")
	wantSame(t, "a write that was shut out", before, s.Version())
	s.set(t, c, stamp(5))
}

func servedBack(t *testing.T, s Served) {
	others, former := s.Others(), s.look(t).Credential
	s.set(t, s.next(t, "Password6ForTheContract"), stamp(6))
	s.set(t, former, secret.Stamp{Epoch: 7})
	s.wantHeld(t, former, secret.Stamp{Epoch: 7})
	wantSame(t, "what is not pgrotate's", others, s.Others())
}

func servedForeign(t *testing.T, s Served) {
	s.set(t, secret.Credential{}, secret.Stamp{Epoch: 1})
	c := s.next(t, "Password7ForTheContract")
	s.Touch()
	others := s.Others()
	s.set(t, c, stamp(1))
	s.wantHeld(t, c, stamp(1))
	wantSame(t, "what somebody else wrote", others, s.Others())
}

func servedMissing(t *testing.T, s Served) {
	c := s.next(t, "Password8ForTheContract")
	s.Delete()
	_, err := s.Served.Look(t.Context())
	wantClass(t, err, rotation.Missing, "read a Secret that is gone")
	wantClass(t, s.Served.Set(t.Context(), c, stamp(9)), rotation.Missing, "write a Secret that is gone", c.Password)
	_, err = s.Served.Look(t.Context())
	wantClass(t, err, rotation.Missing, "read it again")
}
