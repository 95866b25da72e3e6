package github

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Kind is the kind of place that holds a secret.
type Kind string

// The kinds. Each has its own public key and permission.
// https://docs.github.com/en/rest/actions/secrets
const (
	Repository   Kind = "repository"
	Environment  Kind = "environment"
	Organization Kind = "organization"
	Dependabot   Kind = "dependabot"
)

// Property is what a secret holds of a credential.
type Property string

// The properties. url, dsn and verifier are the bytes of a key of the served
// Secret, because only they know host, database and options.
const (
	Password Property = "password"
	Username Property = "username"
	URL      Property = "url"
	DSN      Property = "dsn"
	Verifier Property = "verifier"
)

var properties = [...]Property{Password, Username, URL, DSN, Verifier}

// Target names one secret on GitHub and what it holds.
type Target struct {
	Kind     Kind
	Owner    string // of the repository, or the organization
	Repo     string // without its owner; empty for an organization
	Env      string // the environment's name as people write it, unescaped
	Name     string
	Property Property
}

// grammar is the hint of every line that cannot be read.
const grammar = "a line is [TARGET ]NAME[=property]; TARGET is owner/repo, owner/repo@environment, @environment, org:NAME or dependabot:owner/repo; " +
	"property is password, username, url, dsn or verifier"

// The rules for names, https://docs.github.com/en/actions/reference/security/secrets#naming-your-secrets
// and GitHub's own limits for accounts and repositories.
var (
	validName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	validOwner = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
	validRepo  = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	plainWord  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
)

// ParseTarget reads "[TARGET ]NAME[=property]". TARGET is "owner/repo",
// "owner/repo@environment", "@environment", "org:name" or
// "dependabot:owner/repo"; without a repository it is defaultRepository. An
// environment's name may hold spaces. The error never repeats what may be a
// pasted password or URL.
func ParseTarget(line, defaultRepository string) (Target, error) {
	place, word := "", strings.TrimSpace(line)
	if i := strings.LastIndexAny(word, " \t"); i >= 0 {
		place, word = strings.TrimSpace(word[:i]), word[i+1:]
	}
	t := Target{Property: Password}
	name, property, mapped := strings.Cut(word, "=")
	if mapped {
		t.Property = Property(property)
	}
	if err := checkName(name); err != nil {
		return Target{}, err
	}
	t.Name = name
	if !slices.Contains(properties[:], t.Property) {
		return Target{}, fail(refused, grammar, "secret %q: what follows %q is no property", name, "=")
	}
	if err := t.place(place, defaultRepository); err != nil {
		return Target{}, err
	}
	return t, nil
}

func checkName(name string) error {
	switch {
	case !plainWord.MatchString(name):
		return fail(refused, grammar, "a secret's name holds letters, digits and underscores only")
	case !validName.MatchString(name):
		return fail(refused, grammar, "secret %q: a name holds letters, digits and underscores only, and does not start with a digit", name)
	case strings.HasPrefix(strings.ToUpper(name), "GITHUB_"):
		return fail(refused, "", "secret %q: GitHub keeps names that start with GITHUB_ to itself", name)
	}
	return nil
}

// place fills in where the secret lives.
func (t *Target) place(place, defaultRepository string) error {
	if name, ok := strings.CutPrefix(place, "org:"); ok {
		t.Kind, t.Owner = Organization, name
		return t.check()
	}
	rest, dependabot := strings.CutPrefix(place, "dependabot:")
	repository, environment, inEnvironment := strings.Cut(rest, "@")
	switch {
	case dependabot:
		t.Kind, repository = Dependabot, rest // it has no environments: an "@" is a mistake
	case inEnvironment:
		t.Kind, t.Env = Environment, environment
	default:
		t.Kind = Repository
	}
	if repository == "" {
		repository = defaultRepository
	}
	t.Owner, t.Repo, _ = strings.Cut(repository, "/")
	if repository == "" {
		return fail(refused, grammar, "secret %q: no repository is named, and outside of a workflow there is no default", t.Name)
	}
	return t.check()
}

// check refuses what GitHub cannot have, and above all what would lead a
// request somewhere else: "..", "/" and the like.
func (t *Target) check() error {
	repository := t.Kind != Organization
	switch {
	case !validOwner.MatchString(t.Owner), repository && (!validRepo.MatchString(t.Repo) || dots(t.Repo)):
		return fail(refused, grammar, "secret %q: its target is not one that GitHub can have", t.Name)
	case t.Kind == Environment && !validEnvironment(t.Env):
		return fail(refused, grammar, "secret %q: the environment's name is not one that GitHub can have", t.Name)
	}
	return nil
}

func validEnvironment(name string) bool {
	return name != "" && len(name) <= 255 && !dots(name) && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

func dots(name string) bool { return name == "." || name == ".." }

// ParseTargets reads all lines. The error holds what is wrong with each of
// them, and secrets named twice.
func ParseTargets(lines []string, defaultRepository string) ([]Target, error) {
	var targets []Target
	var errs []error
	seen := map[string]bool{}
	for _, line := range lines {
		t, err := ParseTarget(line, defaultRepository)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		id := strings.ToLower(t.String())
		if seen[id] {
			errs = append(errs, fail(refused, "", "secret %q is named twice for %s; names ignore case", t.Name, t.where()))
		}
		seen[id] = true
		targets = append(targets, t)
	}
	return targets, errors.Join(errs...)
}

// Unnamed returns the targets that take the password, or a verifier of it, in a
// place where none takes the user name, and those in a place where one does: a job
// that reads such a pair between the two writes has the password of another user.
func Unnamed(targets []Target) (nameless, pairs []Target) {
	for _, t := range targets {
		named := slices.ContainsFunc(targets, func(other Target) bool { return other.where() == t.where() && other.Property == Username })
		switch {
		case t.Property != Password && t.Property != Verifier:
		case named:
			pairs = append(pairs, t)
		default:
			nameless = append(nameless, t)
		}
	}
	return nameless, pairs
}

// String returns "owner/repo@environment NAME", shorter where there is less.
func (t Target) String() string { return t.where() + " " + t.Name }

func (t Target) where() string {
	switch t.Kind {
	case Organization:
		return "org:" + t.Owner
	case Dependabot:
		return "dependabot:" + t.Owner + "/" + t.Repo
	case Environment:
		return t.Owner + "/" + t.Repo + "@" + t.Env
	}
	return t.Owner + "/" + t.Repo
}

// path is the folder of the place's secrets, relative to the API's address. The
// client library's methods for environments call a path that GitHub does not
// document any more, and escape nothing.
func (t Target) path() string {
	repository := "repos/" + t.Owner + "/" + t.Repo
	switch t.Kind {
	case Organization:
		return "orgs/" + t.Owner + "/actions/secrets"
	case Dependabot:
		return repository + "/dependabot/secrets"
	case Environment:
		return repository + "/environments/" + url.PathEscape(t.Env) + "/secrets"
	}
	return repository + "/actions/secrets"
}

// scope is what a classic token needs to read secrets there and to write them.
// https://docs.github.com/en/rest/actions/secrets
func (t Target) scope() string {
	if t.Kind == Organization {
		return "admin:org"
	}
	return "repo"
}
