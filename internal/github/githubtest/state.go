package githubtest

import (
	"fmt"
	"strings"
)

// Setup names what exists. Adding something twice changes nothing.
type Setup struct {
	Repositories  []string `json:"repositories,omitempty"`  // "owner/repo"
	Environments  []string `json:"environments,omitempty"`  // "owner/repo@name"; adds the repository too
	Organizations []string `json:"organizations,omitempty"` // "name"
	Tokens        []Token  `json:"tokens,omitempty"`
}

// state is everything that GitHub remembers. Names ignore case.
type state struct {
	vaults       map[string]*vault // by target in lower case
	repositories []repository
	tokens       map[string]Token
}

type repository struct {
	id   int64
	name string // "owner/repo"
}

func newState() state {
	return state{vaults: map[string]*vault{}, tokens: map[string]Token{}}
}

func (s *state) add(setup Setup) {
	for _, name := range setup.Repositories {
		s.addRepository(name)
	}
	for _, target := range setup.Environments {
		repository, _, _ := strings.Cut(target, "@")
		s.addRepository(repository)
		s.addVault(target)
	}
	for _, name := range setup.Organizations {
		s.addVault("org:" + name)
		s.addVault("dependabot:org:" + name)
	}
	for _, token := range setup.Tokens {
		s.tokens[token.Value] = token
	}
}

func (s *state) addRepository(name string) {
	if _, known := s.repository(name); known {
		return
	}
	s.repositories = append(s.repositories, repository{id: int64(1001 + len(s.repositories)), name: name})
	s.addVault(name)
	s.addVault("dependabot:" + name)
}

func (s *state) addVault(target string) {
	if key := strings.ToLower(target); s.vaults[key] == nil {
		s.vaults[key] = newVault(mostIn(key))
	}
}

// mostIn is how many secrets GitHub lets a place have; 0: it tells no limit.
// https://docs.github.com/en/actions/reference/security/secrets#limits-for-secrets
func mostIn(target string) int {
	switch {
	case strings.HasPrefix(target, "dependabot:"):
		return 0
	case strings.HasPrefix(target, "org:"):
		return 1000
	}
	return 100
}

func (s *state) repository(name string) (repository, bool) {
	for _, r := range s.repositories {
		if strings.EqualFold(r.name, name) {
			return r, true
		}
	}
	return repository{}, false
}

// find returns the vault of a target that a test names; a wrong name is a
// mistake of the test.
func (s *state) find(target string) *vault {
	v := s.vaults[strings.ToLower(target)]
	if v == nil {
		panic(fmt.Sprintf("githubtest: nobody has set up %q", target))
	}
	return v
}

func (v *vault) lookup(name string) *entry { return v.secrets[strings.ToUpper(name)] }

// target is the vault that an operation is about, as Setup and Secret name it.
func (c *call) target() string {
	prefix := ""
	if strings.Contains(c.template(), "/dependabot/") {
		prefix = "dependabot:"
	}
	switch {
	case c.params["org"] != "":
		return prefix + "org:" + c.params["org"]
	case c.params["environment_name"] != "":
		return c.repository() + "@" + c.params["environment_name"]
	}
	return prefix + c.repository()
}
