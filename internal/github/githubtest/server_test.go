package githubtest_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/nacl/box"

	"github.com/pgrotate/pgrotate/internal/github/githubtest"
)

const token = "github_pat_all"

func setup() githubtest.Setup {
	return githubtest.Setup{
		Repositories:  []string{"acme/shop"},
		Environments:  []string{"acme/shop@production", "acme/shop@eu/west"},
		Organizations: []string{"acme"},
		Tokens: []githubtest.Token{
			{Value: token, Permissions: githubtest.AllPermissions()},
			{Value: "github_pat_reads", Permissions: map[string]string{"secrets": "read"}},
			{Value: "github_pat_elsewhere", Permissions: githubtest.AllPermissions(), Repositories: []string{"acme/other"}},
			{Value: "github_pat_old", Permissions: githubtest.AllPermissions(), Expired: true},
			{Value: "ghs_workflow"},
			{Value: "ghp_classic", Scopes: []string{"gist", "public_repo"}},
			{Value: "ghp_repo", Scopes: []string{"repo"}},
		},
	}
}

// reserved is an emulator whose violations the test expects.
func reserved(t *testing.T) (*githubtest.Server, caller) {
	server, err := githubtest.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	server.Setup(setup())
	return server, caller{t: t, url: serve(t, server), token: token}
}

func strict(t *testing.T) (*githubtest.Server, caller) {
	server := githubtest.New(t)
	server.Setup(setup())
	return server, caller{t: t, url: server.URL, token: token}
}

// caller sends requests as a client of GitHub does.
type caller struct {
	t          *testing.T
	url, token string
	header     map[string]string
}

func (c caller) do(method, path string, body any) (int, http.Header, string) {
	c.t.Helper()
	resp, err := http.DefaultClient.Do(c.request(method, path, body))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func (c caller) request(method, path string, body any) *http.Request {
	c.t.Helper()
	var reader io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		reader = strings.NewReader(string(text))
	}
	req, err := http.NewRequest(method, c.url+path, reader)
	if err != nil {
		c.t.Fatal(err)
	}
	header := map[string]string{
		"User-Agent": "test", "Accept": "application/vnd.github+json",
		"X-GitHub-Api-Version": "2022-11-28", "Authorization": "Bearer " + c.token,
	}
	if body != nil {
		header["Content-Type"] = "application/json"
	}
	for name, value := range c.header {
		header[name] = value
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	return req
}

// seal fetches the public key below folder and returns the body of a PUT.
func (c caller) seal(folder, value string) map[string]any {
	c.t.Helper()
	_, _, text := c.do("GET", folder+"/public-key", nil)
	var answer struct {
		KeyID string `json:"key_id"`
		Key   []byte `json:"key"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		c.t.Fatalf("public key %s: %v", text, err)
	}
	sealed, err := box.SealAnonymous(nil, []byte(value), (*[32]byte)(answer.Key), rand.Reader)
	if err != nil {
		c.t.Fatal(err)
	}
	return map[string]any{"key_id": answer.KeyID, "encrypted_value": base64.StdEncoding.EncodeToString(sealed)}
}

func TestKeepsWhatItOpens(t *testing.T) {
	server, c := strict(t)
	for target, folder := range map[string]string{
		"acme/shop":            "/repos/acme/shop/actions/secrets",
		"acme/shop@production": "/repos/acme/shop/environments/production/secrets",
		"acme/shop@eu/west":    "/repos/Acme/Shop/environments/eu%2Fwest/secrets",
		"dependabot:acme/shop": "/repos/acme/shop/dependabot/secrets",
		"org:acme":             "/orgs/acme/actions/secrets",
		"dependabot:org:acme":  "/orgs/acme/dependabot/secrets",
	} {
		body := c.seal(folder, "the secret of "+target)
		if strings.Contains(target, "org:") {
			body["visibility"] = "all"
		}
		for _, want := range []int{http.StatusCreated, http.StatusNoContent} {
			if status, _, text := c.do("PUT", folder+"/name", body); status != want {
				t.Errorf("%s: PUT = %d %s, want %d", target, status, text, want)
			}
		}
		if got, _ := server.Secret(target, "NAME"); got != "the secret of "+target {
			t.Errorf("%s holds %q", target, got)
		}
	}
}

func TestRefusesWhatItCannotOpen(t *testing.T) {
	server, c := strict(t)
	const folder = "/repos/acme/shop/actions/secrets"
	good := c.seal(folder, "x")
	server.RotateKey("acme/shop")
	fresh := c.seal(folder, "x")
	for name, test := range map[string]struct {
		path string
		body map[string]any
	}{
		"the key has rotated":     {"NAME", good},
		"sealed to a former key":  {"NAME", map[string]any{"key_id": fresh["key_id"], "encrypted_value": good["encrypted_value"]}},
		"no sealed box":           {"NAME", map[string]any{"key_id": fresh["key_id"], "encrypted_value": "AAAA"}},
		"a reserved name":         {"GITHUB_NAME", fresh},
		"a name with a hyphen":    {"MY-NAME", fresh},
		"longer than GitHub's 48": {"NAME", c.seal(folder, strings.Repeat("x", 48*1024+1))},
	} {
		if status, _, _ := c.do("PUT", folder+"/"+test.path, test.body); status != http.StatusUnprocessableEntity {
			t.Errorf("%s: status %d", name, status)
		}
	}
	if _, ok := server.Secret("acme/shop", "NAME"); ok {
		t.Error("a refused secret was stored")
	}
}

func TestTokens(t *testing.T) {
	_, c := strict(t)
	const folder = "/repos/acme/shop/actions/secrets"
	for name, test := range map[string]struct {
		token, method, path string
		status              int
		message, accepted   string
	}{
		"unknown":              {"nobody", "GET", folder + "/public-key", 401, "Bad credentials", ""},
		"expired":              {"github_pat_old", "GET", folder + "/public-key", 401, "Bad credentials", ""},
		"no permission, app":   {"ghs_workflow", "GET", folder + "/public-key", 403, "Resource not accessible by integration", "secrets=read"},
		"may read":             {"github_pat_reads", "GET", folder + "/public-key", 200, "", "secrets=read"},
		"may only read":        {"github_pat_reads", "PUT", folder + "/NAME", 403, "Resource not accessible by personal access token", "secrets=write"},
		"other permission":     {"github_pat_reads", "GET", "/repos/acme/shop/environments/production/secrets/public-key", 403, "personal access token", "environments=read"},
		"does not see it":      {"github_pat_elsewhere", "GET", folder + "/public-key", 404, "Not Found", "secrets=read"},
		"no such repository":   {token, "GET", "/repos/acme/gone/actions/secrets/public-key", 404, "Not Found", "secrets=read"},
		"classic, public key":  {"ghp_classic", "GET", folder + "/public-key", 200, "", ""},
		"classic, no scope":    {"ghp_classic", "GET", folder + "/NAME", 404, "Not Found", ""},
		"classic, its scope":   {"ghp_repo", "PUT", folder + "/OTHER", 201, "", ""},
		"classic, other scope": {"ghp_repo", "GET", "/orgs/acme/actions/secrets/public-key", 404, "Not Found", ""},
		"no such secret":       {token, "GET", folder + "/NAME", 404, "Not Found", "secrets=read"},
	} {
		var body any
		if test.method == "PUT" {
			body = c.seal(folder, "x")
		}
		asked := c
		asked.token = test.token
		status, header, text := asked.do(test.method, test.path, body)
		if scopes := header.Get("X-OAuth-Scopes"); strings.HasPrefix(test.token, "ghp_") != (scopes != "") {
			t.Errorf("%s: scopes %q", name, scopes)
		}
		if status != test.status || !strings.Contains(text, test.message) || header.Get("X-Accepted-GitHub-Permissions") != test.accepted {
			t.Errorf("%s: %d %q %s", name, status, header.Get("X-Accepted-GitHub-Permissions"), text)
		}
	}
}

func TestOrganizationSecretLosesItsRepositoriesWhenTheyAreNotSentAgain(t *testing.T) {
	_, c := strict(t)
	const folder = "/orgs/acme/actions/secrets"
	body := c.seal(folder, "x")
	body["visibility"], body["selected_repository_ids"] = "selected", []any{1001}
	count := func() (n int) {
		_, _, text := c.do("GET", folder+"/NAME/repositories", nil)
		if _, err := fmt.Sscanf(text[strings.Index(text, `"total_count"`):], `"total_count":%d`, &n); err != nil {
			t.Fatal(text, err)
		}
		return n
	}
	c.do("PUT", folder+"/NAME", body)
	if n := count(); n != 1 {
		t.Errorf("%d repositories, want 1", n)
	}
	delete(body, "selected_repository_ids")
	c.do("PUT", folder+"/NAME", body)
	if n := count(); n != 0 {
		t.Errorf("%d repositories, want 0", n)
	}
}

func TestTakesNoMoreThanGitHubDoes(t *testing.T) {
	for _, test := range []struct {
		target, folder string
		most, status   int
	}{
		{"acme/shop", "/repos/acme/shop/actions/secrets", 100, 422},
		{"acme/shop@production", "/repos/acme/shop/environments/production/secrets", 100, 422},
		{"org:acme", "/orgs/acme/actions/secrets", 1000, 422},
		{"dependabot:acme/shop", "/repos/acme/shop/dependabot/secrets", 1000, 201}, // nobody says how many
	} {
		server, c := strict(t)
		for i := range test.most - 1 {
			server.Store(test.target, fmt.Sprintf("NAME_%d", i), "x", time.Now())
		}
		body := c.seal(test.folder, "y")
		if strings.HasPrefix(test.target, "org:") {
			body["visibility"] = "all"
		}
		if status, _, text := c.do("PUT", test.folder+"/LAST", body); status != 201 {
			t.Errorf("%s: the last one: %d %s", test.target, status, text)
		}
		if status, _, text := c.do("PUT", test.folder+"/NEW", body); status != test.status {
			t.Errorf("%s: one more: %d %s", test.target, status, text)
		}
		if status, _, text := c.do("PUT", test.folder+"/NAME_0", body); status != 204 {
			t.Errorf("%s: one of them: %d %s", test.target, status, text)
		}
		want := fmt.Sprintf(`"total_count":%d`, test.most+max(0, 202-test.status))
		if _, _, text := c.do("GET", test.folder+"?per_page=1", nil); !strings.Contains(text, want) || strings.Count(text, `"name"`) != 1 {
			t.Errorf("%s: %s, want %s", test.target, text, want)
		}
	}
}

func TestListsInPages(t *testing.T) {
	server, c := strict(t)
	for i := range 5 {
		server.Store("acme/shop", fmt.Sprintf("NAME_%d", i), "x", time.Now())
	}
	_, _, text := c.do("GET", "/repos/acme/shop/actions/secrets?per_page=2&page=3", nil)
	if !strings.Contains(text, `"total_count":5`) || !strings.Contains(text, "NAME_4") || strings.Contains(text, "NAME_3") {
		t.Error(text)
	}
}

func TestUpdatedAtKeepsWholeSeconds(t *testing.T) {
	server, c := strict(t)
	server.Store("acme/shop", "NAME", "x", time.Date(2026, 3, 1, 12, 0, 0, 999, time.UTC))
	if _, _, text := c.do("GET", "/repos/acme/shop/actions/secrets/NAME", nil); !strings.Contains(text, `"updated_at":"2026-03-01T12:00:00Z"`) {
		t.Error(text)
	}
	server.Store("acme/shop", "OTHER", "x", time.Now())
	c.do("PUT", "/repos/acme/shop/actions/secrets/NAME", c.seal("/repos/acme/shop/actions/secrets", "y"))
	_, _, text := c.do("GET", "/repos/acme/shop/actions/secrets/NAME", nil)
	if !strings.Contains(text, `"created_at":"2026-03-01T12:00:00Z"`) || strings.Contains(text, `"updated_at":"2026-03-01`) {
		t.Error(text)
	}
}

func TestFaults(t *testing.T) {
	server, c := strict(t)
	const folder, name = "/repos/acme/shop/actions/secrets", "/repos/acme/shop/actions/secrets/NAME"
	body := c.seal(folder, "new")
	server.Store("acme/shop", "NAME", "old", time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	held := func(want string) {
		t.Helper()
		if got, _ := server.Secret("acme/shop", "NAME"); got != want {
			t.Errorf("holds %q, want %q", got, want)
		}
	}
	broken := func() {
		t.Helper()
		if resp, err := http.DefaultTransport.RoundTrip(c.request("PUT", name, body)); err == nil {
			t.Errorf("status %d, want a broken connection", resp.StatusCode)
		}
	}

	server.Fault(githubtest.SecondaryLimit(429, "7", 1))
	server.Fault(githubtest.Fault{Effect: githubtest.Answer, Times: 1, Status: 503, Path: "NAME$", Body: "<html>"})
	if status, header, _ := c.do("PUT", name, body); status != 429 || header.Get("Retry-After") != "7" {
		t.Errorf("%d %q", status, header.Get("Retry-After"))
	}
	if status, _, text := c.do("PUT", name, body); status != 503 || text != "<html>" {
		t.Errorf("%d %s", status, text)
	}
	server.Fault(githubtest.Fault{Effect: githubtest.Reset, Method: "PUT", Times: 1})
	broken()
	server.Fault(githubtest.Fault{Effect: githubtest.Pretend, Method: "PUT", Times: 1})
	if status, _, _ := c.do("PUT", name, body); status != 204 {
		t.Errorf("status %d", status)
	}
	held("old")
	server.Fault(githubtest.Fault{Effect: githubtest.Lose, Method: "PUT", Times: 1})
	broken()
	held("new")
	server.Fault(githubtest.Fault{Effect: githubtest.Stale, Method: "GET", Times: 1})
	for _, stale := range []bool{true, false} {
		if _, _, text := c.do("GET", name, nil); strings.Contains(text, "2026-03-01T12:00:00Z\"}") != stale {
			t.Errorf("stale %v: %s", stale, text)
		}
	}
	server.Fault(githubtest.Fault{Effect: githubtest.Reset, Times: -1})
	broken()
	broken()
	server.ClearFaults()
	if status, _, _ := c.do("PUT", name, body); status != 204 {
		t.Errorf("status %d", status)
	}
}

func TestAnotherProcessCanScriptIt(t *testing.T) {
	server := githubtest.New(t)
	remote := githubtest.Remote{URL: server.URL}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(remote.Setup(setup()))
	must(remote.Setup(setup()))
	c := caller{t: t, url: server.URL, token: token}
	const folder = "/repos/acme/shop/environments/production/secrets"
	body := c.seal(folder, "opened")
	must(remote.Fault(githubtest.Fault{Effect: githubtest.Answer, Status: 502, Times: -1}))
	if status, _, _ := c.do("PUT", folder+"/NAME", body); status != 502 {
		t.Errorf("status %d", status)
	}
	must(remote.ClearFaults())
	c.do("PUT", folder+"/NAME", body)
	value, at, ok, err := remote.Secret("acme/shop@production", "NAME")
	if must(err); !ok || value != "opened" || at.IsZero() {
		t.Errorf("%q %v %v", value, at, ok)
	}
	if _, _, ok, err = remote.Secret("acme/shop", "NAME"); ok || err != nil {
		t.Errorf("a secret of another target: %v %v", ok, err)
	}
	must(remote.RotateKey("acme/shop@production"))
	if status, _, _ := c.do("PUT", folder+"/NAME", body); status != 422 {
		t.Errorf("status %d", status)
	}
	requests, err := remote.Requests()
	if must(err); !slices.Equal(requests, append([]string{"GET " + folder + "/public-key"}, slices.Repeat([]string{"PUT " + folder + "/NAME"}, 3)...)) {
		t.Errorf("%q", requests)
	}
	violations, err := remote.Violations()
	if must(err); len(violations) > 0 {
		t.Errorf("%q", violations)
	}
	if err := remote.RotateKey("nobody/nowhere"); err == nil || !strings.Contains(err.Error(), "nobody/nowhere") {
		t.Errorf("unknown target: %v", err)
	}
}

func TestLimits(t *testing.T) {
	server, c := strict(t)
	server.LimitRates()
	const folder = "/repos/acme/shop/actions/secrets"
	body := c.seal(folder, "x")
	for range 80 {
		c.do("PUT", folder+"/NAME", body)
	}
	if status, header, text := c.do("PUT", folder+"/NAME", body); status != 403 || header.Get("Retry-After") == "" || !strings.Contains(text, "secondary rate limit") {
		t.Errorf("the 81st write of a minute: %d %s", status, text)
	}
	for i := range 499 { // 80 writes are 400 points, the key is 1
		if status, _, _ := c.do("GET", folder+"/NAME", nil); status != 200 {
			t.Fatalf("read %d of a minute: %d", i+1, status)
		}
	}
	if status, _, _ := c.do("GET", folder+"/NAME", nil); status != 403 || server.Limited() != 2 {
		t.Errorf("point 901 of a minute: %d, %d refused", status, server.Limited())
	}
}
