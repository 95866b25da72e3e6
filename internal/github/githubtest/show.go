package githubtest

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
)

// page is the part of a list that a request asks for.
// https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
type page struct{ number, size int }

func readPage(query url.Values) (page, error) {
	p := page{number: 1, size: 30}
	for name, field := range map[string]*int{"page": &p.number, "per_page": &p.size} {
		if text := query.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return page{}, fmt.Errorf("%s is %q, want a positive number", name, text)
			}
			*field = n
		}
	}
	p.size = min(p.size, 100)
	return p, nil
}

func (p page) list(name string, all []any) map[string]any {
	first := min((p.number-1)*p.size, len(all))
	return map[string]any{"total_count": len(all), name: all[first:min(first+p.size, len(all))]}
}

func (v *vault) showAll() []any {
	all := []any{}
	for _, name := range slices.Sorted(maps.Keys(v.secrets)) {
		all = append(all, v.secrets[name].show())
	}
	return all
}

// shared lists the organization's secrets that a repository may use.
func (s *state) shared(organization, repository string) []any {
	shown := []any{}
	v := s.vaults[strings.ToLower("org:"+organization)]
	r, _ := s.repository(repository)
	if v == nil {
		return shown
	}
	for _, name := range slices.Sorted(maps.Keys(v.secrets)) {
		if e := v.secrets[name]; e.Visibility != "selected" || slices.Contains(e.selected, r.id) {
			one := e.show()
			delete(one, "visibility")
			shown = append(shown, one)
		}
	}
	return shown
}

// showSelected lists the repositories that may use an organization's secret.
func (s *state) showSelected(c *call, e *entry) []any {
	shown := []any{}
	for _, r := range s.repositories {
		if slices.Contains(e.selected, r.id) {
			list := c.schema().Properties["repositories"].Value
			shown = append(shown, r.show(list.Items))
		}
	}
	return shown
}

func (s *state) showRepository(c *call, name string) any {
	r, _ := s.repository(name)
	return r.show(&openapi3.SchemaRef{Value: c.schema()})
}

func (r repository) show(schema *openapi3.SchemaRef) map[string]any {
	object := exampleObject(schema.Value)
	_, short, _ := strings.Cut(r.name, "/")
	object["id"], object["name"], object["full_name"] = r.id, short, r.name
	return object
}

// schema is that of the operation's ordinary answer.
func (c *call) schema() *openapi3.Schema {
	return c.operation.Responses.Status(200).Value.Content.Get("application/json").Schema.Value
}

func (s *Server) rateLimit() map[string]any {
	limit := map[string]any{
		"limit": hourly, "remaining": max(hourly-s.served, 0), "used": min(s.served, hourly),
		"reset": time.Now().Add(time.Hour).Unix(),
	}
	return map[string]any{"rate": limit, "resources": map[string]any{"core": limit, "search": limit}}
}
