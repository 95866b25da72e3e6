package githubtest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/github/githubtest"
)

func serve(t *testing.T, handler http.Handler) string {
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// operations lists "METHOD /path/{template}" of the description.
func operations(t *testing.T) []string {
	text, err := os.ReadFile("testdata/github-secrets.openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var all []string
	for path, methods := range doc.Paths {
		for method := range methods {
			all = append(all, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

// Every answer is held to the description by the emulator itself; this walks
// through all operations so that none stays unseen.
func TestEveryOperationAnswersAsDescribed(t *testing.T) {
	_, c := strict(t)
	fill := strings.NewReplacer("{owner}", "acme", "{repo}", "shop", "{org}", "acme",
		"{environment_name}", "production", "{secret_name}", "NAME", "{repository_id}", "1001")
	all := operations(t)
	if len(all) < 30 {
		t.Fatalf("%d operations", len(all))
	}
	// Secrets are written before they are read, and deleted last.
	order := func(operation string) int {
		method, path, _ := strings.Cut(operation, " ")
		return slices.Index([]string{"PUT", "GET", "DELETE"}, method)*10 + strings.Count(path[strings.LastIndex(path, "secrets")+1:], "/")*(1-2*strings.Count(method, "DELETE"))
	}
	slices.SortStableFunc(all, func(a, b string) int { return order(a) - order(b) })
	for _, operation := range all {
		method, template, _ := strings.Cut(operation, " ")
		path := fill.Replace(template)
		var body any
		switch {
		case method == "PUT" && strings.HasSuffix(template, "{secret_name}"):
			sealed := c.seal(strings.TrimSuffix(path, "/NAME"), "x")
			if strings.HasPrefix(template, "/orgs/") {
				sealed["visibility"], sealed["selected_repository_ids"] = "selected", []any{1001}
			}
			body = sealed
		case method == "PUT" && strings.HasSuffix(template, "repositories"):
			body = map[string]any{"selected_repository_ids": []int{1001}}
		}
		if status, _, text := c.do(method, path, body); status >= 300 {
			t.Errorf("%s: %d %s", operation, status, text)
		}
	}
}

func TestRecordsWhatGitHubDoesNotDescribe(t *testing.T) {
	const folder = "/repos/acme/shop/actions/secrets"
	for name, test := range map[string]struct {
		method, path string
		body         func(sealed map[string]any)
		header       map[string]string
		want         string
	}{
		"undocumented path":   {method: "GET", path: "/repositories/1001/environments/production/secrets/public-key", want: "no such path"},
		"unescaped slash":     {method: "GET", path: "/repos/acme/shop/environments/eu/west/secrets/public-key", want: "no such path"},
		"undescribed method":  {method: "POST", path: folder + "/NAME", want: "POST is not described"},
		"no value":            {method: "PUT", path: folder + "/NAME", body: func(b map[string]any) { delete(b, "encrypted_value") }, want: "encrypted_value"},
		"not base64":          {method: "PUT", path: folder + "/NAME", body: func(b map[string]any) { b["encrypted_value"] = "hunter2" }, want: "encrypted_value"},
		"number for a key id": {method: "PUT", path: folder + "/NAME", body: func(b map[string]any) { b["key_id"] = 12 }, want: "key_id"},
		"unknown property":    {method: "PUT", path: folder + "/NAME", body: func(b map[string]any) { b["value"] = "x" }, want: `unknown property "value"`},
		"no visibility":       {method: "PUT", path: "/orgs/acme/actions/secrets/NAME", body: func(map[string]any) {}, want: "visibility"},
		"unknown query":       {method: "GET", path: folder + "?limit=3", want: `unknown query parameter "limit"`},
		"no number":           {method: "GET", path: folder + "?page=x", want: "page"},
		"a body to a GET":     {method: "GET", path: folder, body: func(map[string]any) {}, want: "a body"},
		"no user agent":       {method: "GET", path: folder, header: map[string]string{"User-Agent": ""}, want: "User-Agent"},
		"other media type":    {method: "GET", path: folder, header: map[string]string{"Accept": "text/html"}, want: "Accept"},
		"other version":       {method: "GET", path: folder, header: map[string]string{"X-GitHub-Api-Version": "2020-01-01"}, want: "X-GitHub-Api-Version"},
		"other content type": {
			method: "PUT", path: folder + "/NAME", body: func(map[string]any) {},
			header: map[string]string{"Content-Type": "text/plain"}, want: "Content-Type",
		},
	} {
		server, c := reserved(t)
		c.header = test.header
		var body any
		if test.body != nil {
			sealed := caller{t: t, url: c.url, token: token}.seal(folder, "x")
			test.body(sealed)
			body = sealed
		}
		status, _, _ := c.do(test.method, test.path, body)
		if got := server.Violations(); status != http.StatusBadRequest || len(got) != 1 || !strings.Contains(got[0], test.want) {
			t.Errorf("%s: status %d, violations %q, want one with %q", name, status, got, test.want)
		}
		if _, ok := server.Secret("acme/shop", "NAME"); ok {
			t.Errorf("%s: it was stored", name)
		}
	}
}

// A test that uses the emulator must fail on a violation.
func TestFailsTheTestOnAViolation(t *testing.T) {
	inner := &recorder{TB: t}
	server := githubtest.New(inner)
	caller{t: t, url: server.URL}.do("GET", "/repositories/1", nil)
	inner.cleanup()
	if len(inner.errors) != 1 {
		t.Errorf("the test was told %q", inner.errors)
	}
}

// recorder is a test whose end and errors belong to the test around it.
type recorder struct {
	testing.TB
	errors   []string
	cleanups []func()
}

func (r *recorder) Cleanup(f func())                  { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(format string, args ...any) { r.errors = append(r.errors, format) }
func (r *recorder) cleanup() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
}
