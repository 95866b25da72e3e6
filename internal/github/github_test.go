package github_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrotate/pgrotate/internal/github"
	"github.com/pgrotate/pgrotate/internal/github/githubtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

const (
	writer   = "github_pat_writer"
	password = "Xq7rotatedpasswordZ"
)

var setup = githubtest.Setup{
	Repositories:  []string{"acme/shop"},
	Environments:  []string{"acme/shop@production", "acme/shop@eu/west"},
	Organizations: []string{"acme"},
	Tokens: []githubtest.Token{
		{Value: writer, Permissions: githubtest.AllPermissions()},
		{Value: "github_pat_reader", Permissions: map[string]string{"secrets": "read", "environments": "read"}},
		{Value: "github_pat_none"},
		{Value: "github_pat_elsewhere", Permissions: githubtest.AllPermissions(), Repositories: []string{"acme/other"}},
		{Value: "github_pat_expired", Permissions: githubtest.AllPermissions(), Expired: true},
		{Value: "ghs_workflow"},
		{Value: "ghp_gists", Scopes: []string{"gist", "public_repo"}},
		{Value: "ghp_repositories", Scopes: []string{"gist", "repo"}},
	},
}

// held is a lock that nobody takes away.
func held(context.Context) error { return nil }

func credential() secret.Credential {
	return secret.Credential{
		User: "alfred_user", Password: secret.New(password),
		Keys: map[string]secret.Value{
			"DATABASE_URL": secret.New("postgres://alfred_user:" + password + "@db/alfred_db"),
			"dsn":          secret.New("user=alfred_user password=" + password + " host=db"),
			"verifier":     secret.New("SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"),
		},
	}
}

// open returns the secret of a line, served over real HTTP.
func open(t *testing.T, token, line string) (*githubtest.Server, *github.Secret) {
	server := githubtest.New(t)
	server.Setup(setup)
	return server, secretOf(t, github.Config{Token: secret.New(token), BaseURL: server.URL}, line, "")
}

// bubble runs f with the secret acme/shop NAME, as inMemory does.
func bubble(t *testing.T, f func(t *testing.T, server *githubtest.Server, s *github.Secret)) {
	inMemory(t, func(t *testing.T, server *githubtest.Server, config github.Config) {
		f(t, server, secretOf(t, config, "acme/shop NAME", ""))
	})
}

// inMemory runs f in a bubble whose time passes at once; client and emulator
// share its clock. GitHub tells times in whole seconds: two writes take some.
func inMemory(t *testing.T, f func(t *testing.T, server *githubtest.Server, config github.Config)) {
	synctest.Test(t, func(t *testing.T) {
		server, transport := githubtest.NewInMemory(t)
		server.Setup(setup)
		f(t, server, github.Config{Token: secret.New(writer), BaseURL: server.URL, Transport: transport})
	})
}

func secretOf(t *testing.T, config github.Config, line, key string) *github.Secret {
	t.Helper()
	client, err := github.New(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := github.ParseTarget(line, "acme/shop")
	if err != nil {
		t.Fatal(err)
	}
	s, err := client.Secret(target, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holds fails unless err has the class, its text and hint contain the words,
// and neither shows a secret.
func holds(t *testing.T, err error, class, text, hint string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", text)
	}
	var f interface {
		error
		Class() string
		Hint() string
	}
	if !errors.As(err, &f) {
		t.Fatalf("%v has no class", err)
	}
	if f.Class() != class || !strings.Contains(err.Error(), text) || !strings.Contains(f.Hint(), hint) {
		t.Errorf("class %q, %q, hint %q\nwant  %q, %q, hint %q", f.Class(), err, f.Hint(), class, text, hint)
	}
	for _, word := range []string{password, writer, "github_pat", "ghs_workflow", "ghp_", "encrypted_value"} {
		if strings.Contains(err.Error()+f.Hint(), word) {
			t.Errorf("%q or its hint %q shows %q", err, f.Hint(), word)
		}
	}
}

func TestWritesEveryProperty(t *testing.T) {
	c := credential()
	for _, test := range []struct{ line, key, target, want string }{
		{"NAME", "", "acme/shop", password},
		{"acme/shop NAME=password", "password", "acme/shop", password},
		{"NAME=username", "", "acme/shop", "alfred_user"},
		{"acme/shop@production NAME=url", "DATABASE_URL", "acme/shop@production", c.Keys["DATABASE_URL"].Reveal()},
		{"@eu/west NAME=dsn", "dsn", "acme/shop@eu/west", c.Keys["dsn"].Reveal()},
		{"NAME=verifier", "verifier", "acme/shop", c.Keys["verifier"].Reveal()},
	} {
		server := githubtest.New(t)
		server.Setup(setup)
		s := secretOf(t, github.Config{Token: secret.New(writer), BaseURL: server.URL}, test.line, test.key)
		change, _, err := s.Plan(t.Context(), c)
		if must(t, err); change != "create" {
			t.Errorf("%s: plan %q", test.line, change)
		}
		must(t, s.Set(t.Context(), c, held))
		if got, _ := server.Secret(test.target, "NAME"); got != test.want {
			t.Errorf("%s: holds %q, want %q", test.line, got, test.want)
		}
		at, err := s.Verify(t.Context(), c)
		if must(t, err); time.Since(at) > time.Hour || at.IsZero() {
			t.Errorf("%s: updated %v", test.line, at)
		}
	}
}

func TestNamesItselfAndThePlan(t *testing.T) {
	server, s := open(t, writer, "@production DATABASE_PASSWORD")
	server.Store("acme/shop@production", "DATABASE_PASSWORD", "old", time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	if got, want := s.String(), "GitHub secret acme/shop@production DATABASE_PASSWORD"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	change, warnings, err := s.Plan(t.Context(), secret.Credential{User: "alfred_user"})
	if must(t, err); change != "update, last updated 2026-03-01 12:00:00 UTC" || warnings != nil {
		t.Errorf("plan %q, warnings %q", change, warnings)
	}
	for _, request := range server.Requests() {
		if !strings.HasPrefix(request, "GET ") {
			t.Errorf("planning sent %s", request)
		}
	}
}

func TestSaysWhatTheTokenLacks(t *testing.T) {
	for name, test := range map[string]struct{ token, line, text, hint string }{
		"no permission": {
			"github_pat_none", "NAME", "read the public key of acme/shop: GitHub answers 403: Resource not accessible by personal access token",
			`give the token the permission "Secrets: read and write" for acme/shop (GitHub asked for secrets=read)`,
		},
		"environment": {
			"github_pat_none", "@production NAME", "read the public key of acme/shop@production: GitHub answers 403",
			`"Environments: read and write" for acme/shop (GitHub asked for environments=read)`,
		},
		"GITHUB_TOKEN": {
			"ghs_workflow", "NAME", "403: Resource not accessible by integration",
			"this token is GITHUB_TOKEN, which can never write secrets, or an App's: then the App needs it",
		},
		"not visible":    {"github_pat_elsewhere", "NAME", "404: Not Found", "check the spelling of acme/shop; what a token may not see"},
		"no environment": {writer, "@staging NAME", "404: Not Found", "check the spelling of acme/shop@staging"},
	} {
		_, s := open(t, test.token, test.line)
		_, _, err := s.Plan(t.Context(), credential())
		t.Log(name)
		holds(t, err, "refused", test.text, test.hint)
	}
}

func TestATokenThatMayOnlyReadIsRefusedWhenItWrites(t *testing.T) {
	_, s := open(t, "github_pat_reader", "NAME")
	_, _, err := s.Plan(t.Context(), credential())
	must(t, err)
	holds(t, s.Set(t.Context(), credential(), held), "refused", "update GitHub secret acme/shop NAME: GitHub answers 403", "(GitHub asked for secrets=write)")
}

// A classic token without its scope is told that there is no such secret, and would
// be refused by the write alone.
func TestAClassicTokenNeedsItsScope(t *testing.T) {
	for line, scope := range map[string]string{"NAME": "repo", "@production NAME": "repo", "dependabot: NAME": "repo", "org:acme NAME": "admin:org"} {
		_, s := open(t, "ghp_gists", line)
		_, _, err := s.Plan(t.Context(), credential())
		holds(t, err, "refused", `the token has the scopes "gist, public_repo", "`+scope+`" is not among them`, `give the token the scope "`+scope+`"`)
	}
	_, s := open(t, "ghp_repositories", "NAME")
	if change, _, err := s.Plan(t.Context(), credential()); err != nil || change != "create" {
		t.Errorf("with the scope: plan %q, %v", change, err)
	}
	must(t, s.Set(t.Context(), credential(), held))
}

func TestRefusesAValueThatItDoesNotHave(t *testing.T) {
	server := githubtest.New(t)
	server.Setup(setup)
	config := github.Config{Token: secret.New(writer), BaseURL: server.URL}
	set := func(line, key string, c secret.Credential) error {
		return secretOf(t, config, line, key).Set(t.Context(), c, held)
	}
	holds(t, set("NAME", "", secret.Credential{User: "alfred_user"}), "refused", "has no password", "")
	holds(t, set("NAME=url", "other", credential()), "refused", "has no url", "")
	holds(t, set("NAME", "", secret.Credential{Password: secret.New(strings.Repeat("x", 48*1024+1))}), "refused", "48 KB", "")
	_, _, err := secretOf(t, config, "NAME=url", "other").Plan(t.Context(), credential())
	holds(t, err, "refused", `the served Secret has no key "other"`, "")
	if sent := server.Requests(); len(sent) > 0 {
		t.Errorf("sent %q", sent)
	}
}

func TestUsesTheNewKeyWhenItHasRotated(t *testing.T) {
	server, s := open(t, writer, "NAME")
	_, _, err := s.Plan(t.Context(), credential())
	must(t, err)
	server.RotateKey("acme/shop")
	must(t, s.Set(t.Context(), credential(), held))
	if got, _ := server.Secret("acme/shop", "NAME"); got != password {
		t.Errorf("holds %q", got)
	}
}

func TestDoesNotInsistOnWhatGitHubCannotOpen(t *testing.T) {
	server, s := open(t, writer, "NAME")
	server.Fault(githubtest.Fault{Effect: githubtest.Answer, Method: "PUT", Times: -1, Status: 422, Body: `{"message":"Bad request - improperly encrypted secret"}`})
	holds(t, s.Set(t.Context(), credential(), held), "refused", "422: Bad request - improperly encrypted secret", "")
	if n := count(server, "PUT "); n != 1 {
		t.Errorf("%d writes", n)
	}
}

func TestRefusesAKeyOfTheWrongLength(t *testing.T) {
	for _, body := range []string{
		`{"key_id":"1","key":"c2hvcnQ="}`, `{"key_id":"1","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`,
		`{"key_id":"1","key":"%"}`, `{"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}`,
	} {
		server, s := open(t, writer, "NAME")
		server.Fault(githubtest.Fault{Effect: githubtest.Answer, Path: "public-key", Times: 1, Status: 200, Body: body})
		holds(t, s.Set(t.Context(), credential(), held), "refused", "no key of 32 bytes", "")
	}
}

func TestRunsAgainInANewProcess(t *testing.T) {
	inMemory(t, func(t *testing.T, _ *githubtest.Server, config github.Config) {
		must(t, secretOf(t, config, "NAME", "").Set(t.Context(), credential(), held))
		s := secretOf(t, config, "NAME", "")
		_, err := s.Verify(t.Context(), credential())
		holds(t, err, "unavailable", "verify GitHub secret acme/shop NAME: nothing was written yet", "")
		must(t, s.Set(t.Context(), credential(), held))
		_, err = s.Verify(t.Context(), credential())
		must(t, err)
	})
}

func TestOneWriteAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, inner := githubtest.NewInMemory(t)
		server.Setup(setup)
		gate := &gate{RoundTripper: inner, open: make(chan struct{})}
		client, err := github.New(github.Config{Token: secret.New(writer), BaseURL: server.URL, Transport: gate})
		must(t, err)
		done := make(chan error, 2)
		for _, line := range []string{"ONE", "TWO"} {
			target, err := github.ParseTarget(line, "acme/shop")
			must(t, err)
			s, err := client.Secret(target, "")
			must(t, err)
			go func() { done <- s.Set(t.Context(), credential(), held) }()
		}
		synctest.Wait()
		if n := count(server, ""); n != 2 { // public key and updated_at of the first
			t.Errorf("%d requests before the first write has ended: %q", n, server.Requests())
		}
		close(gate.open)
		must(t, errors.Join(<-done, <-done))
		if n := count(server, "PUT "); n != 2 {
			t.Errorf("%d writes", n)
		}
	})
}

// gate holds writes back until it opens.
type gate struct {
	http.RoundTripper
	open chan struct{}
}

func (g *gate) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPut {
		<-g.open
	}
	return g.RoundTripper.RoundTrip(req)
}

func count(server *githubtest.Server, prefix string) int {
	return len(slices.DeleteFunc(server.Requests(), func(r string) bool { return !strings.HasPrefix(r, prefix) }))
}

func TestStopsWithItsContext(t *testing.T) {
	bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
		server.Fault(githubtest.SecondaryLimit(429, "60", -1))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		start := time.Now()
		err := s.Set(ctx, credential(), held)
		if !errors.Is(err, context.Canceled) || time.Since(start) != 5*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}
