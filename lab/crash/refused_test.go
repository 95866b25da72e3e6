package crash

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// TestAlternateRefusesNobody holds the strategy alternate to its promise: six pods
// log in without a pause while two roles take turns, and while the process is
// killed at some request of some rotations and resumed. None is refused.
// PGROTATE_CRASH=whole makes a hundred rotations, twenty of them killed.
func TestAlternateRefusesNobody(t *testing.T) {
	s := newSuite(t)
	rotations, kills, every, fewest := 3, 1, "500ms", 50
	if s.whole {
		rotations, kills, every, fewest = 100, 20, "20ms", 100
	}
	b := s.crowd(t, every)
	if b == nil {
		return
	}
	m := modes()[1]
	requests := moments(m, s.requests(t, b, m, 0))
	chance := rand.New(rand.NewPCG(2026, uint64(rotations))) // the same on every machine
	began, hit := time.Now(), 0
	for i := range rotations {
		try := rotated
		// One that is not met, as the making of the second role, is made up for by the next.
		due := hit <= i*kills/rotations && hit < kills
		if due {
			try = killed
		}
		o := try(b, requests[chance.IntN(len(requests))])
		if o.err != nil {
			t.Fatalf("rotation %d: %v\n%s", i, o.err, o.said)
		}
		if due && !o.unreached {
			hit++
		}
	}
	logins, err := b.Logins()
	refused, err2 := b.Refused()
	hits, _, err3 := b.Leaks()
	if err := errors.Join(err, err2, err3); err != nil || len(hits) > 0 {
		t.Fatalf("secrets where they must not be: %q; %v", hits, err)
	}
	took := time.Since(began).Seconds()
	fmt.Fprintf(os.Stdout, "alternate: %d rotations under load, %d of them killed and resumed, in %.0fs: %d logins, %.0f a second, %d refused\n",
		rotations, hit, took, logins, float64(logins)/took, refused)
	if refused > 0 {
		t.Errorf("%d logins were refused of %d", refused, logins)
	}
	if logins < fewest*rotations {
		t.Errorf("%d logins in %d rotations are too few to show anything", logins, rotations)
	}
	if hit < kills {
		t.Errorf("%d rotations were killed, %d should have been", hit, kills)
	}
}

// crowd is a bench with three workloads of two pods that log in so often.
func (s *suite) crowd(t *testing.T, every string) *Bench {
	b := s.bench(t, false)
	if b == nil {
		return nil
	}
	for _, name := range []string{workload, "stock", "mail"} {
		if err := b.Add(name, 2, corev1.EnvVar{Name: "EVERY", Value: every}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// rotated is a rotation that meets nothing at that request.
func rotated(b *Bench, c at) outcome {
	ended, err := b.Run(c.mode.inputs)
	if err == nil && ended.Code != 0 {
		err = fmt.Errorf("the rotation ended with exit code %d", ended.Code)
	}
	if err == nil {
		err = b.Settled()
	}
	return outcome{err: err, said: ended.Said}
}
