package githubtest

import (
	"net/http"
	"path"
	"slices"
	"strings"
)

// Token is what a caller shows, and what it may do.
type Token struct {
	// Value is the token itself. One that starts with "ghs_" is an installation
	// token: GITHUB_TOKEN where it has no permission for secrets, an App's else.
	Value string `json:"value"`
	// Permissions are "read" or "write" by the name that GitHub has for them:
	// secrets, environments, dependabot_secrets, organization_secrets,
	// organization_dependabot_secrets.
	Permissions map[string]string `json:"permissions"`
	// Scopes are what a classic token has in place of permissions.
	Scopes []string `json:"scopes,omitempty"`
	// Repositories are those that the token sees; none means all.
	Repositories []string `json:"repositories,omitempty"`
	Expired      bool     `json:"expired,omitempty"`
}

// AllPermissions may write every kind of secret.
func AllPermissions() map[string]string {
	return map[string]string{
		"secrets": "write", "environments": "write", "dependabot_secrets": "write",
		"organization_secrets": "write", "organization_dependabot_secrets": "write",
	}
}

// sees tells whether the token knows of a repository. Others answer 404, not
// 403, so that their names are not given away.
func (t Token) sees(repository string) bool {
	return repository == "" || len(t.Repositories) == 0 ||
		slices.ContainsFunc(t.Repositories, func(r string) bool { return strings.EqualFold(r, repository) })
}

func (t Token) may(c *call) bool {
	permission, level := c.needs()
	if len(t.Scopes) > 0 {
		return c.public() || slices.Contains(t.Scopes, c.scope())
	}
	have := t.Permissions[permission]
	return permission == "metadata" || have == "write" || have == level
}

// refusal is GitHub's answer where a permission or a scope is missing.
func (t Token) refusal() answer {
	switch {
	case len(t.Scopes) > 0:
		return refuse(http.StatusNotFound, "Not Found")
	case strings.HasPrefix(t.Value, "ghs_"):
		return refuse(http.StatusForbidden, "Resource not accessible by integration")
	}
	return refuse(http.StatusForbidden, "Resource not accessible by personal access token")
}

// show names in an answer what a classic token may, and to any other what the
// operation asks for.
// https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
func (t Token) show(c *call, header http.Header) {
	permission, level := c.needs()
	if len(t.Scopes) > 0 {
		header.Set("X-OAuth-Scopes", strings.Join(t.Scopes, ", "))
		header.Set("X-Accepted-OAuth-Scopes", c.scope())
		return
	}
	header.Set("X-Accepted-GitHub-Permissions", permission+"="+level)
}

// scope is what an operation asks of a classic token.
func (c *call) scope() string {
	if c.params["org"] != "" {
		return "admin:org"
	}
	return "repo"
}

// public tells whether an operation asks for no scope: all repositories here are
// public, and so are their keys.
func (c *call) public() bool {
	return c.params["org"] == "" && slices.Contains([]string{"rate_limit", "{repo}", "public-key"}, path.Base(c.template()))
}

// needs returns the permission that an operation asks for, and its level.
// https://docs.github.com/en/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens
func (c *call) needs() (permission, level string) {
	level = "write"
	if c.method() == http.MethodGet {
		level = "read"
	}
	has := func(part string) bool { return strings.Contains(c.template(), part) }
	switch {
	case has("/orgs/") && has("/dependabot/"):
		return "organization_dependabot_secrets", level
	case has("/orgs/"):
		return "organization_secrets", level
	case has("/environments/"):
		return "environments", level
	case has("/dependabot/"):
		return "dependabot_secrets", level
	case has("/actions/"):
		return "secrets", level
	}
	return "metadata", level
}

// repository is "owner/repo" of the path, or empty.
func (c *call) repository() string {
	if c.params["repo"] == "" {
		return ""
	}
	return c.params["owner"] + "/" + c.params["repo"]
}
