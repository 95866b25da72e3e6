package github_test

import (
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/github"
	"github.com/pgrotate/pgrotate/internal/github/githubtest"
	"github.com/pgrotate/pgrotate/internal/rotation/rotationtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// TestContract holds a Secret to the promises of the runbook, in each place and
// for a property of its own and one of the served Secret.
func TestContract(t *testing.T) {
	password := func(c secret.Credential) secret.Value { return c.Password }
	url := func(c secret.Credential) secret.Value { return c.Keys["DATABASE_URL"] }
	for _, c := range []struct {
		name, line, key, target string
		want                    func(secret.Credential) secret.Value
	}{
		{"Repository", "NAME", "", "acme/shop", password},
		{"Environment", "@eu/west NAME", "", "acme/shop@eu/west", password},
		{"Organization", "org:acme NAME", "", "org:acme", password},
		{"Dependabot", "dependabot:acme/shop NAME", "", "dependabot:acme/shop", password},
		{"URL", "acme/shop@production NAME=url", "DATABASE_URL", "acme/shop@production", url},
	} {
		t.Run(c.name, func(t *testing.T) {
			rotationtest.TestCopy(t, func(t *testing.T, check func(*testing.T, rotationtest.Copy)) {
				inMemory(t, func(t *testing.T, server *githubtest.Server, config github.Config) {
					server.Store("org:acme", "NAME", "by hand", time.Now().Add(-time.Hour)) // it is never created
					check(t, rotationtest.Copy{
						Copy:  secretOf(t, config, c.line, c.key),
						First: rendered("First1Password"), Second: rendered("Second2Password"), Want: c.want,
						Held: func() secret.Value {
							value, _ := server.Secret(c.target, "NAME")
							return secret.New(value)
						},
					})
				})
			})
		})
	}
}

func rendered(password string) secret.Credential {
	return secret.Credential{User: "alfred_user", Password: secret.New(password),
		Keys: map[string]secret.Value{"DATABASE_URL": secret.New("postgres://alfred_user:" + password + "@db/alfred_db")}}
}
