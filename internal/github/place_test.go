package github_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/github"
	"github.com/pgrotate/pgrotate/internal/github/githubtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// fill puts n secrets of others into a place.
func fill(server *githubtest.Server, place string, n int) {
	for i := range n {
		server.Store(place, fmt.Sprintf("OTHER_%d", i), "x", time.Now().Add(-time.Hour))
	}
}

// TestRefusesASecretWithoutRoom counts what the run itself is to create, in whatever
// spelling, and each once.
func TestRefusesASecretWithoutRoom(t *testing.T) {
	for _, target := range []string{"acme/shop", "acme/shop@production"} {
		server := githubtest.New(t)
		server.Setup(setup)
		fill(server, target, 99)
		client, err := github.New(github.Config{Token: secret.New(writer), BaseURL: server.URL})
		must(t, err)
		for _, test := range []struct{ line, change string }{
			{target + " ONE", "create"}, {target + " two", ""}, {"ACME" + target[len("acme"):] + " TWO", ""}, {target + " one", "create"}, {target + " OTHER_7", "update"},
		} {
			change, _, err := one(t, client, test.line).Plan(t.Context(), credential())
			if test.change == "" {
				holds(t, err, "refused", "GitHub takes no more than 100 secrets in ", "delete one there that nobody uses")
				continue
			}
			if err != nil || len(change) < 6 || change[:6] != test.change {
				t.Errorf("%s: plan %q, %v", test.line, change, err)
			}
		}
		must(t, one(t, client, target+" ONE").Set(t.Context(), credential(), held))
		holds(t, one(t, client, target+" TWO").Set(t.Context(), credential(), held), "refused", "GitHub answers 422", "")
	}
}

// TestDependabotHasNoLimitThatIsKnown asks for no number that would say nothing.
func TestDependabotHasNoLimitThatIsKnown(t *testing.T) {
	server, s := open(t, writer, "dependabot: NAME")
	fill(server, "dependabot:acme/shop", 100)
	change, _, err := s.Plan(t.Context(), credential())
	if must(t, err); change != "create" || count(server, "") != 2 {
		t.Errorf("plan %q after %q", change, server.Requests())
	}
}

func TestANumberThatIsNotTold(t *testing.T) {
	server, s := open(t, writer, "NAME")
	server.Fault(githubtest.Fault{Effect: githubtest.Answer, Path: "/secrets$", Times: -1, Status: 404, Body: `{"message":"Not Found"}`})
	_, _, err := s.Plan(t.Context(), credential())
	holds(t, err, "refused", "count the secrets of acme/shop: GitHub answers 404: Not Found", "check the spelling of acme/shop")
}
