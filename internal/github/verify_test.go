package github_test

import (
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/github"
	"github.com/pgrotate/pgrotate/internal/github/githubtest"
)

func TestAWriteThatDidNotHappenIsSeen(t *testing.T) {
	for existed, text := range map[bool]string{true: "still shows the write of 1999-12-31 23:00:00 UTC", false: "shows no such secret"} {
		bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
			if existed {
				server.Store("acme/shop", "NAME", "old", time.Now().Add(-time.Hour))
			}
			server.Fault(githubtest.Fault{Effect: githubtest.Pretend, Method: "PUT", Times: 1})
			must(t, s.Set(t.Context(), credential(), held))
			_, err := s.Verify(t.Context(), credential())
			holds(t, err, "unavailable", "verify GitHub secret acme/shop NAME: GitHub has taken the write and "+text, "run it again")
		})
	}
}

func TestWaitsForAReadThatLagsBehind(t *testing.T) {
	bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
		server.Store("acme/shop", "NAME", "old", time.Now().Add(-time.Hour))
		must(t, s.Set(t.Context(), credential(), held))
		server.Fault(githubtest.Fault{Effect: githubtest.Stale, Method: "GET", Times: 4})
		start := time.Now()
		at, err := s.Verify(t.Context(), credential())
		if must(t, err); at != start.UTC().Truncate(time.Second) {
			t.Errorf("updated at %s, written at %s", at, start)
		}
	})
}

// updated_at has whole seconds, so that a write can only be told from the one
// before when they are apart.
func TestTwoWritesInARowAreBothProven(t *testing.T) {
	bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
		var former time.Time
		for range 3 {
			must(t, s.Set(t.Context(), credential(), held))
			at, err := s.Verify(t.Context(), credential())
			if must(t, err); !at.After(former) {
				t.Errorf("updated at %s and %s", former, at)
			}
			former = at
		}
	})
}

func TestAnOrdinaryWriteWaitsForNothing(t *testing.T) {
	bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
		server.Store("acme/shop", "NAME", "old", time.Now().Add(-time.Hour))
		start := time.Now()
		must(t, s.Set(t.Context(), credential(), held))
		_, err := s.Verify(t.Context(), credential())
		if must(t, err); time.Since(start) != 0 {
			t.Errorf("waited %s", time.Since(start))
		}
	})
}

func TestSeesThatTheSecondOfTwoWritesDidNotHappen(t *testing.T) {
	bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
		must(t, s.Set(t.Context(), credential(), held))
		server.Fault(githubtest.Fault{Effect: githubtest.Pretend, Method: "PUT", Times: 1})
		must(t, s.Set(t.Context(), credential(), held))
		_, err := s.Verify(t.Context(), credential())
		holds(t, err, "unavailable", "still shows the write of", "run it again")
	})
}

// A stopped run may go on and write late: its time must not stand for ours, or
// nobody would notice.
func TestALaterWriteOfAnotherIsNotTakenForOnesOwn(t *testing.T) {
	bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
		must(t, s.Set(t.Context(), credential(), held))
		written := time.Now().UTC().Truncate(time.Second)
		server.Store("acme/shop", "NAME", "late", written.Add(time.Minute))
		at, err := s.Verify(t.Context(), credential())
		if must(t, err); !at.Equal(written) {
			t.Errorf("updated at %s, written at %s", at, written)
		}
		if now, err := s.Updated(t.Context()); err != nil || now.Equal(at) {
			t.Errorf("the later write of %s does not show: %v", now, err)
		}
	})
}
