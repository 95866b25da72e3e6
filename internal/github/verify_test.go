package github_test

import (
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/github"
	"github.com/pgrotate/pgrotate/internal/github/githubtest"
)

func TestAWriteThatDidNotHappenIsSeen(t *testing.T) {
	for _, existed := range []bool{true, false} {
		bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
			if existed {
				server.Store("acme/shop", "NAME", "old", time.Now().Add(-time.Hour))
			}
			server.Fault(githubtest.Fault{Effect: githubtest.Pretend, Method: "PUT", Times: 1})
			must(t, s.Set(t.Context(), credential()))
			_, err := s.Verify(t.Context(), credential())
			holds(t, err, "unavailable", "verify GitHub secret acme/shop NAME: GitHub took the write", "run it again")
		})
	}
}

func TestWaitsForAReadThatLagsBehind(t *testing.T) {
	bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
		server.Store("acme/shop", "NAME", "old", time.Now().Add(-time.Hour))
		must(t, s.Set(t.Context(), credential()))
		server.Fault(githubtest.Fault{Effect: githubtest.Stale, Method: "GET", Times: 4})
		start := time.Now()
		at, err := s.Verify(t.Context(), credential())
		if must(t, err); at != start.UTC().Truncate(time.Second) {
			t.Errorf("updated at %s, written at %s", at, start)
		}
	})
}

func TestTwoWritesInOneSecondAreBothProven(t *testing.T) {
	bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
		start := time.Now()
		for range 2 {
			must(t, s.Set(t.Context(), credential()))
			_, err := s.Verify(t.Context(), credential())
			must(t, err)
		}
		if time.Since(start) >= time.Second {
			t.Fatal("the writes were not in one second")
		}
	})
}
