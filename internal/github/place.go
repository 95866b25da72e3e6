package github

import (
	"context"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"
)

// answers are what GitHub has said about places. Those who ask about the same place
// at the same time are answered by one request. Safe for concurrent use.
type answers[T comparable] struct {
	asking singleflight.Group
	known  sync.Map // by place
}

// other returns the answer about a place: one that is known and is not former, else
// what ask returns.
func (a *answers[T]) other(place string, former T, ask func() (T, error)) (T, error) {
	if answer, ok := a.kept(place, former); ok {
		return answer, nil
	}
	answer, err, _ := a.asking.Do(place, func() (any, error) {
		if answer, ok := a.kept(place, former); ok { // somebody else's question has just ended
			return answer, nil
		}
		answer, err := ask()
		if err == nil {
			a.known.Store(place, answer)
		}
		return answer, err
	})
	return answer.(T), err
}

func (a *answers[T]) kept(place string, former T) (answer T, ok bool) {
	if known, there := a.known.Load(place); there && known != any(former) {
		return known.(T), true
	}
	return answer, false
}

// most is how many secrets a repository holds, and an environment. What Dependabot
// holds is not told, and an organization's secret is never created.
// https://docs.github.com/en/actions/reference/security/secrets#limits-for-secrets
const most = 100

// place is what holds secrets, as far as it is of interest to new ones. Safe for
// concurrent use.
type place struct {
	held   int // before the run
	mu     sync.Mutex
	coming map[string]bool // names, in capitals, of those that the run creates
}

// admit tells whether there is room for a new secret, which is kept for it.
func (p *place) admit(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	name = strings.ToUpper(name)
	room := p.coming[name] || p.held+len(p.coming) < most
	if room {
		p.coming[name] = true
	}
	return room
}

// admitted refuses a new secret where there is no room for it, which GitHub does at
// the write alone.
func (s *Secret) admitted(ctx context.Context) error {
	if s.target.Kind == Dependabot {
		return nil
	}
	p, err := s.client.places.other(strings.ToLower(s.target.where()), nil, func() (*place, error) { return s.count(ctx) })
	if err != nil {
		return err
	}
	if !p.admit(s.target.Name) {
		return fail(refused, "delete one there that nobody uses, or put the credential into another place",
			"create %s: GitHub takes no more than %d secrets in %s, those that this run creates included", s, most, s.target.where())
	}
	return nil
}

func (s *Secret) count(ctx context.Context) (*place, error) {
	var answer struct {
		Count int `json:"total_count"`
	}
	if _, err := s.get(ctx, s.target.path()+"?per_page=1", &answer); err != nil {
		return nil, s.failed("count the secrets of "+s.target.where(), err)
	}
	return &place{held: answer.Count, coming: map[string]bool{}}, nil
}
