package github_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/github"
	"github.com/pgrotate/pgrotate/internal/github/githubtest"
)

// TestManySecretsWithinGitHubsLimits goes through a rotation of a hundred secrets
// as a rotation does, against a GitHub that refuses what is too much. The requests
// for each are counted: an hour has 5,000.
func TestManySecretsWithinGitHubsLimits(t *testing.T) {
	const many, each = 100, 5 // look; look, write; proof; look at the end
	inMemory(t, func(t *testing.T, server *githubtest.Server, config github.Config) {
		server.LimitRates()
		client, err := github.New(config)
		must(t, err)
		var all []*github.Secret
		for i := range many {
			all = append(all, one(t, client, fmt.Sprintf("acme/shop NAME_%d", i)))
			server.Store("acme/shop", fmt.Sprintf("NAME_%d", i), "old", time.Now().Add(-time.Hour))
		}
		start := time.Now()
		atOnce(t, all, func(s *github.Secret) error { _, _, err := s.Plan(t.Context(), credential()); return err })
		for _, s := range all {
			must(t, s.Set(t.Context(), credential(), held))
		}
		atOnce(t, all, func(s *github.Secret) error { _, err := s.Verify(t.Context(), credential()); return err })
		atOnce(t, all, func(s *github.Secret) error { _, err := s.Updated(t.Context()); return err })
		// 80 writes a minute: the 81st is refused once, and waits.
		if n := server.Limited(); n != 1 {
			t.Errorf("%d requests were more than GitHub allows", n)
		}
		if n := count(server, ""); n != many*each+2 {
			t.Errorf("%d requests for %d secrets, want %d for each, the key and the refused one", n, many, each)
		}
		if took := time.Since(start); took > 2*time.Minute {
			t.Errorf("took %s", took)
		}
	})
}

// slow is a way to GitHub on which every request takes a second.
type slow struct{ http.RoundTripper }

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(time.Second)
	return s.RoundTripper.RoundTrip(r)
}

// TestAPlanAsksForAllSecretsAtOnce counts the requests of a plan, and how many of
// them wait for one another: the key of all, a look at each, and for new ones how
// many there are.
func TestAPlanAsksForAllSecretsAtOnce(t *testing.T) {
	for _, test := range []struct {
		n     int
		there bool
		chain time.Duration
	}{{1, true, 2}, {8, true, 2}, {1, false, 3}, {8, false, 3}} {
		t.Run(fmt.Sprint(test.n, test.there), func(t *testing.T) {
			inMemory(t, func(t *testing.T, server *githubtest.Server, config github.Config) {
				config.Transport = slow{config.Transport}
				client, err := github.New(config)
				must(t, err)
				var all []*github.Secret
				for i := range test.n {
					all = append(all, one(t, client, fmt.Sprintf("acme/shop NAME_%d", i)))
					if test.there {
						server.Store("acme/shop", fmt.Sprintf("NAME_%d", i), "old", time.Now())
					}
				}
				start := time.Now()
				atOnce(t, all, func(s *github.Secret) error { _, _, err := s.Plan(t.Context(), credential()); return err })
				if got, want := count(server, ""), test.n+int(test.chain)-1; got != want {
					t.Errorf("%d requests for %d secrets, want one for each and %d for all", got, test.n, want-test.n)
				}
				if got := time.Since(start) / time.Second; got != test.chain {
					t.Errorf("%d requests one after the other", got)
				}
			})
		})
	}
}

func one(t *testing.T, client *github.Client, line string) *github.Secret {
	t.Helper()
	target, err := github.ParseTarget(line, "acme/shop")
	must(t, err)
	s, err := client.Secret(target, "")
	must(t, err)
	return s
}

func atOnce(t *testing.T, all []*github.Secret, do func(*github.Secret) error) {
	t.Helper()
	errs := make([]error, len(all))
	var running sync.WaitGroup
	for i, s := range all {
		running.Go(func() { errs[i] = do(s) })
	}
	running.Wait()
	for _, err := range errs {
		must(t, err)
	}
}
