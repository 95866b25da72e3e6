package github_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/github/githubtest"
)

// organization serves the secret NAME of the organization acme.
func organization(t *testing.T, token string) (*githubtest.Server, func() error, func() (string, error)) {
	t.Helper()
	server, s := open(t, token, "org:acme NAME")
	server.Store("org:acme", "NAME", "former", time.Now().Add(-time.Hour))
	plan := func() (string, error) {
		change, _, err := s.Plan(t.Context(), credential())
		return change, err
	}
	return server, func() error { return s.Set(t.Context(), credential(), held) }, plan
}

// TestOrganizationSecretKeepsItsReaders sends back who may use it, whatever that is.
func TestOrganizationSecretKeepsItsReaders(t *testing.T) {
	var many []string
	for i := range 205 { // three pages
		many = append(many, fmt.Sprintf("acme/r%d", i))
	}
	for _, test := range []struct {
		name, visibility string
		repositories     []string
		says             string
	}{
		{"all", "all", nil, "for all repositories as before"},
		{"private", "private", nil, "for private repositories as before"},
		{"none selected", "selected", nil, "for 0 selected repositories as before"},
		{"two selected", "selected", many[1:3], "for 2 selected repositories as before"},
		{"many selected", "selected", many, "for 205 selected repositories as before"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, set, plan := organization(t, writer)
			server.Setup(githubtest.Setup{Repositories: many})
			server.Share("acme", "NAME", test.visibility, test.repositories...)
			if change, err := plan(); err != nil || !strings.HasSuffix(change, test.says) {
				t.Errorf("plan %q, %v; want %q", change, err, test.says)
			}
			must(t, set())
			visibility, repositories := server.Shared("acme", "NAME")
			value, _ := server.Secret("org:acme", "NAME")
			if value != password || visibility != test.visibility || !slices.Equal(repositories, test.repositories) {
				t.Errorf("holds %q for %s %q", value, visibility, repositories)
			}
		})
	}
}

// TestOrganizationSecretOfHiddenRepositories is not written: those that the token
// does not see would lose it.
func TestOrganizationSecretOfHiddenRepositories(t *testing.T) {
	server, set, plan := organization(t, writer)
	server.Share("acme", "NAME", "selected", "acme/shop")
	server.Fault(githubtest.Fault{Effect: githubtest.Answer, Method: http.MethodGet, Path: "/orgs/acme/actions/secrets/NAME/repositories", Times: -1, Status: http.StatusOK,
		Body: `{"total_count":3,"repositories":[{"id":1001}]}`})
	_, planned := plan()
	for _, err := range []error{planned, set()} {
		holds(t, err, "refused", "GitHub shows 1 of 3", "see all repositories of the organization")
	}
	if value, _ := server.Secret("org:acme", "NAME"); value != "former" {
		t.Error("it was written")
	}
}

// TestOrganizationSecretIsNotCreated leaves it to people who may use a new one.
func TestOrganizationSecretIsNotCreated(t *testing.T) {
	server, s := open(t, writer, "org:acme OTHER")
	_, _, err := s.Plan(t.Context(), credential())
	holds(t, err, "refused", "there is no such secret", "create it on GitHub")
	holds(t, s.Set(t.Context(), credential(), held), "refused", "there is no such secret", "create it on GitHub")
	if _, there := server.Secret("org:acme", "OTHER"); there {
		t.Error("it was created")
	}
}

func TestPermissionOfEachKind(t *testing.T) {
	for line, want := range map[string]string{
		"org:acme NAME":             `"Organization secrets: read and write" for acme (GitHub asked for organization_secrets=read)`,
		"dependabot:acme/shop NAME": `"Dependabot secrets: read and write" for acme/shop (GitHub asked for dependabot_secrets=read)`,
		"acme/shop NAME":            `"Secrets: read and write" for acme/shop (GitHub asked for secrets=read)`,
		"@production NAME":          `"Environments: read and write" for acme/shop (GitHub asked for environments=read)`,
	} {
		_, s := open(t, "github_pat_none", line)
		_, _, err := s.Plan(t.Context(), credential())
		holds(t, err, "refused", "GitHub answers 403", want)
	}
}
