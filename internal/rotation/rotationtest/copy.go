package rotationtest

import (
	"context"
	"errors"
	"testing"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// Copy is a place that holds a credential, seen from outside, too.
type Copy struct {
	Copy rotation.Copy
	// First and Second are credentials that it could hold, with their Keys where
	// the copy takes the bytes of one.
	First, Second secret.Credential
	// Held returns what the copy holds, as its reader sees it; zero: nothing yet.
	Held func() secret.Value
	// Want returns what the copy has to hold for c.
	Want func(c secret.Credential) secret.Value
}

// TestCopy holds a Copy to what rotation expects of it. Every subtest gets one
// of its own: with makes it and hands it to the check, once.
func TestCopy(t *testing.T, with func(t *testing.T, check func(*testing.T, Copy))) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Copy)
	}{
		{"PlanChangesNothing", copyPlan},
		{"SetArrives", copySet},
		{"SetTwiceIsHarmless", copyTwice},
		{"SetGoesThereAndBack", copyBack},
		{"StopsWhenTold", copyStops},
		{"StopsWithoutTheLock", copyLost},
	} {
		t.Run(c.name, func(t *testing.T) {
			with(t, func(t *testing.T, place Copy) {
				wantName(t, place.Copy, place.First.Password, place.Second.Password)
				c.run(t, place)
			})
		})
	}
}

// held is a lock that nobody takes away.
func held(context.Context) error { return nil }

// bring does what a run does: plan, write, prove.
func (c Copy) bring(t *testing.T, cred secret.Credential) {
	t.Helper()
	_, _, err := c.Copy.Plan(t.Context(), cred)
	must(t, err, "plan")
	must(t, c.Copy.Set(t.Context(), cred, held), "write")
	_, err = c.Copy.Verify(t.Context(), cred)
	must(t, err, "prove that it arrived")
	if !c.Held().Equal(c.Want(cred)) {
		t.Error("the copy does not hold what was written")
	}
	if place, ok := c.Copy.(rotation.Readable); ok {
		wantReadable(t, place, cred, secret.New("AnotherOneForTheContract"))
	}
}

func copyPlan(t *testing.T, c Copy) {
	before := c.Held()
	change, _, err := c.Copy.Plan(t.Context(), c.First)
	must(t, err, "plan")
	if change == "" {
		t.Error("the plan does not say what would change")
	}
	if !c.Held().Equal(before) {
		t.Error("the plan changed the copy")
	}
}

func copySet(t *testing.T, c Copy) { c.bring(t, c.First) }

func copyTwice(t *testing.T, c Copy) {
	c.bring(t, c.First)
	c.bring(t, c.First)
}

// copyBack also is the way of a run that resumes: it writes without a plan.
func copyBack(t *testing.T, c Copy) {
	c.bring(t, c.First)
	must(t, c.Copy.Set(t.Context(), c.Second, held), "write the second")
	_, err := c.Copy.Verify(t.Context(), c.Second)
	must(t, err, "prove that the second arrived")
	c.bring(t, c.First)
}

// copyLost: the lock is gone when all is read and waited for.
func copyLost(t *testing.T, c Copy) {
	c.bring(t, c.First)
	gone := errors.New("the lock is gone")
	if err := c.Copy.Set(t.Context(), c.Second, func(context.Context) error { return gone }); !errors.Is(err, gone) {
		t.Errorf("write without the lock: %v", err)
	}
	if !c.Held().Equal(c.Want(c.First)) {
		t.Error("a write was sent without the lock")
	}
}

func copyStops(t *testing.T, c Copy) {
	c.bring(t, c.First)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantClass(t, c.Copy.Set(ctx, c.Second, held), rotation.Unavailable, "write after being told to stop", c.Second.Password)
	if !c.Held().Equal(c.Want(c.First)) {
		t.Error("a write was sent after the run was told to stop")
	}
}
