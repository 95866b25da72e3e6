package github

import (
	"context"
	"fmt"
	"slices"
)

// Who may use an organization's secret.
// https://docs.github.com/en/rest/actions/secrets#create-or-update-an-organization-secret
const (
	everybody = "all"
	members   = "private" // private and internal repositories
	selected  = "selected"
)

// audience is who may use an organization's secret. GitHub takes it anew with
// every write: what is left out is taken away.
type audience struct {
	Visibility string   `json:"visibility"`
	Selected   *[]int64 `json:"selected_repository_ids,omitempty"` // where it is selected, the empty list included
}

func (a *audience) String() string {
	switch a.Visibility {
	case everybody:
		return "for all repositories"
	case members:
		return "for private repositories"
	}
	return fmt.Sprintf("for %d selected repositories", len(*a.Selected))
}

// reach asks who may use the organization's secret of this visibility.
func (s *Secret) reach(ctx context.Context, visibility string) (*audience, error) {
	switch visibility {
	case everybody, members:
		return &audience{Visibility: visibility}, nil
	case selected:
		ids, err := s.repositories(ctx)
		return &audience{Visibility: selected, Selected: &ids}, err
	}
	return nil, fail(refused, "", "read %s: GitHub names no visibility that is known", s)
}

// perPage is the most that GitHub lists at once.
const perPage = 100

// repositories lists the ids of those that may use the secret. Fewer than GitHub
// counts would be fewer after the write: the token does not see all.
func (s *Secret) repositories(ctx context.Context) ([]int64, error) {
	ids, counted := []int64{}, 1
	for page := 1; len(ids) < counted; page++ {
		var answer struct {
			Count        int `json:"total_count"`
			Repositories []struct {
				ID int64 `json:"id"`
			} `json:"repositories"`
		}
		path := fmt.Sprintf("%s/repositories?per_page=%d&page=%d", s.path(), perPage, page)
		if _, err := s.get(ctx, path, &answer); err != nil {
			return nil, s.failed("list the repositories of "+s.String(), err)
		}
		if counted = answer.Count; len(answer.Repositories) == 0 {
			break
		}
		for _, r := range answer.Repositories {
			ids = append(ids, r.ID)
		}
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) != counted {
		return nil, fail(refused, "let the token see all repositories of the organization: the others would lose the secret by the write",
			"list the repositories of %s: GitHub shows %d of %d", s, len(ids), counted)
	}
	return ids, nil
}
