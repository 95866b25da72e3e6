package githubtest

import (
	"net/http"
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

func (t Token) may(permission, level string) bool {
	have := t.Permissions[permission]
	return permission == "metadata" || have == "write" || have == level
}

// refusal is GitHub's sentence for a missing permission.
func (t Token) refusal() string {
	if strings.HasPrefix(t.Value, "ghs_") {
		return "Resource not accessible by integration"
	}
	return "Resource not accessible by personal access token"
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
