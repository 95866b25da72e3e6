package github_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrotate/pgrotate/internal/github"
	"github.com/pgrotate/pgrotate/internal/github/githubtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestWaitsOutASecondaryLimit(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusTooManyRequests} {
		bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
			fault := githubtest.SecondaryLimit(status, "30", 2)
			fault.Method = http.MethodPut
			server.Fault(fault)
			start := time.Now()
			must(t, s.Set(t.Context(), credential(), held))
			if got, _ := server.Secret("acme/shop", "NAME"); got != password || time.Since(start) != time.Minute {
				t.Errorf("%d: holds %q after %s", status, got, time.Since(start))
			}
		})
	}
}

func TestDoesNotWaitForEver(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusTooManyRequests} {
		bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
			server.Fault(githubtest.SecondaryLimit(status, "50", -1))
			start := time.Now()
			holds(t, s.Set(t.Context(), credential(), held), "unavailable", "GitHub's rate limit is reached", "wait until "+start.Add(150*time.Second).UTC().Format("2006-01-02 15:04:05"))
			if time.Since(start) != 100*time.Second {
				t.Errorf("%d: waited %s", status, time.Since(start))
			}
		})
	}
}

// TestDoesNotBeginAWaitThatItCannotEnd: the deadline would come first, and tell
// nobody of the limit.
func TestDoesNotBeginAWaitThatItCannotEnd(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusTooManyRequests} {
		bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
			server.Fault(githubtest.SecondaryLimit(status, "30", -1))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			start := time.Now()
			holds(t, s.Set(ctx, credential(), held), "unavailable", "GitHub's rate limit is reached", "wait until "+start.Add(30*time.Second).UTC().Format("2006-01-02 15:04:05"))
			if time.Since(start) != 0 {
				t.Errorf("%d: waited %s", status, time.Since(start))
			}
		})
	}
}

// TestWaitsInTheMiddleOfManyWrites: each secret is written once, in the order of
// the list, those after the limit when it is over.
func TestWaitsInTheMiddleOfManyWrites(t *testing.T) {
	targets := []string{"acme/shop ONE", "@production TWO", "org:acme THREE", "dependabot:acme/shop FOUR"}
	for _, status := range []int{http.StatusForbidden, http.StatusTooManyRequests} {
		inMemory(t, func(t *testing.T, server *githubtest.Server, config github.Config) {
			server.Store("org:acme", "THREE", "former", time.Now().Add(-time.Hour))
			limit := githubtest.SecondaryLimit(status, "30", 1)
			limit.Method, limit.Path = http.MethodPut, "THREE$"
			server.Fault(limit)
			client, err := github.New(config)
			must(t, err)
			start := time.Now()
			for i, s := range secretsOf(t, client, targets) {
				must(t, s.Set(t.Context(), credential(), held))
				if waited := time.Since(start) >= 30*time.Second; waited != (i >= 2) {
					t.Errorf("%d: %s was written after %s", status, s, time.Since(start))
				}
			}
			for place, name := range map[string]string{"acme/shop": "ONE", "acme/shop@production": "TWO", "org:acme": "THREE", "dependabot:acme/shop": "FOUR"} {
				if got, _ := server.Secret(place, name); got != password {
					t.Errorf("%d: %s in %s holds %q", status, name, place, got)
				}
			}
			if n := count(server, "PUT "); n != len(targets)+1 {
				t.Errorf("%d: %d writes", status, n)
			}
		})
	}
}

func secretsOf(t *testing.T, client *github.Client, lines []string) (all []*github.Secret) {
	t.Helper()
	for _, line := range lines {
		target, err := github.ParseTarget(line, "acme/shop")
		must(t, err)
		s, err := client.Secret(target, "")
		must(t, err)
		all = append(all, s)
	}
	return all
}

func TestTakesAForbiddenWithATimeForALimit(t *testing.T) {
	bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
		server.Fault(githubtest.Fault{Effect: githubtest.Answer, Times: -1, Status: 403, Header: map[string]string{"Retry-After": "7200"}, Body: `{"message":"slow down"}`})
		ends := time.Now().Add(2 * time.Hour).UTC()
		holds(t, s.Set(t.Context(), credential(), held), "unavailable", "GitHub's rate limit is reached", "wait until "+ends.Format("2006-01-02 15:04:05"))
	})
}

func TestSaysWhatItCanOfALimitWithoutATime(t *testing.T) {
	server, s := open(t, writer, "NAME")
	server.Fault(githubtest.Fault{Effect: githubtest.Answer, Times: -1, Status: 429, Body: `{"message":"slow down"}`})
	holds(t, s.Set(t.Context(), credential(), held), "unavailable", "GitHub's rate limit is reached", "wait a few minutes")
}

func TestTellsWhenTheHourlyLimitEnds(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusTooManyRequests} {
		bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
			reset := time.Now().Add(40 * time.Minute)
			fault := githubtest.PrimaryLimit(strconv.FormatInt(reset.Unix(), 10), -1)
			fault.Status = status
			server.Fault(fault)
			_, _, err := s.Plan(t.Context(), credential())
			holds(t, err, "unavailable", "GitHub's rate limit is reached", reset.UTC().Format("until 2006-01-02 15:04:05 UTC"))
			if n := count(server, ""); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestRepeatsWhatWasCutOff(t *testing.T) {
	for _, fault := range []githubtest.Fault{
		{Effect: githubtest.Answer, Status: 500},
		{Effect: githubtest.Answer, Status: 502, Body: "<html>"},
		{Effect: githubtest.Answer, Status: 503, Header: map[string]string{"Retry-After": "3600"}},
		{Effect: githubtest.Answer, Status: 200, Header: map[string]string{"Content-Length": "1000"}, Body: `{"cut`},
		{Effect: githubtest.Reset},
		{Effect: githubtest.Lose},
	} {
		bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
			fault.Method, fault.Times = http.MethodPut, 3
			server.Fault(fault)
			start := time.Now()
			must(t, s.Set(t.Context(), credential(), held))
			_, err := s.Verify(t.Context(), credential())
			must(t, err)
			if got, _ := server.Secret("acme/shop", "NAME"); got != password {
				t.Errorf("%+v: holds %q", fault, got)
			}
			if took := time.Since(start); took > 45*time.Second {
				t.Errorf("%+v: took %s", fault, took)
			}
		})
	}
}

// TestARefusalAfterADoubtfulAttemptIsNoProof: the attempt before may have been
// applied, and GitHub shows whether it was.
func TestARefusalAfterADoubtfulAttemptIsNoProof(t *testing.T) {
	forbidden := githubtest.Fault{Effect: githubtest.Answer, Method: http.MethodPut, Times: -1, Status: 403, Body: `{"message":"no"}`}
	unread := githubtest.Fault{Effect: githubtest.Answer, Method: http.MethodGet, Path: "NAME$", Times: -1, Status: 403, Body: `{"message":"no"}`}
	for _, row := range []struct {
		name, class string
		first       githubtest.Fault
		blind       bool // the token may not read any more
		reads       int
	}{
		{"applied, answer lost", "unavailable", githubtest.Fault{Effect: githubtest.Lose}, false, 2},
		{"not applied", "refused", githubtest.Fault{Effect: githubtest.Reset}, false, 8},
		{"a 5xx", "refused", githubtest.Fault{Effect: githubtest.Answer, Status: 502}, false, 8},
		{"not known", "unavailable", githubtest.Fault{Effect: githubtest.Reset}, true, 2},
		{"refused at once", "refused", githubtest.Fault{}, false, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
				server.Store("acme/shop", "NAME", "former", time.Now().Add(-time.Hour))
				if row.first.Effect != "" {
					row.first.Method, row.first.Times = http.MethodPut, 1
					server.Fault(row.first)
				}
				server.Fault(forbidden)
				if row.blind {
					time.AfterFunc(time.Second/2, func() { server.Fault(unread) }) // before the second attempt
				}
				holds(t, s.Set(t.Context(), credential(), held), row.class, "update GitHub secret acme/shop NAME: GitHub answers 403: no", "Secrets: read and write")
				if n := count(server, "GET /repos/acme/shop/actions/secrets/NAME"); n != row.reads {
					t.Errorf("%d reads, want %d", n, row.reads)
				}
			})
		})
	}
}

func TestGivesUpWithAnUnknownOutcome(t *testing.T) {
	for text, fault := range map[string]githubtest.Fault{
		"GitHub answers 502: Bad Gateway":   {Effect: githubtest.Answer, Status: 502, Body: "<html>"},
		"GitHub answers 500: Server Error!": {Effect: githubtest.Answer, Status: 500, Body: `{"message":"Server\nError!"}`},
		"EOF":                               {Effect: githubtest.Reset},
		"GitHub answers 409: Conflict":      {Effect: githubtest.Answer, Status: 409, Body: `{}`},
	} {
		bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
			fault.Times, fault.Method = -1, http.MethodPut
			server.Fault(fault)
			holds(t, s.Set(t.Context(), credential(), held), "unavailable", "update GitHub secret acme/shop NAME: "+text, "")
			want := 4
			if fault.Status == 409 {
				want = 1
			}
			if n := count(server, "PUT "); n != want {
				t.Errorf("%s: %d writes, want %d", text, n, want)
			}
		})
	}
}

// silent never answers.
type silent struct{}

func (silent) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func TestDoesNotWaitForAnAnswerThatDoesNotCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := secretOf(t, github.Config{Token: secret.New(writer), Transport: silent{}}, "NAME", "")
		start := time.Now()
		_, _, err := s.Plan(t.Context(), credential())
		holds(t, err, "unavailable", "GitHub does not answer within 20s", "")
		if took := time.Since(start); took != 87*time.Second { // four attempts, waits of 1, 2 and 4 s
			t.Errorf("took %s", took)
		}
	})
}

func TestAsksAgainForAFreshToken(t *testing.T) {
	unknown := githubtest.Fault{Effect: githubtest.Answer, Status: 401, Body: `{"message":"Bad credentials"}`}
	bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
		unknown.Times = 2
		server.Fault(unknown)
		_, _, err := s.Plan(t.Context(), credential())
		must(t, err)
	})
	bubble(t, func(t *testing.T, server *githubtest.Server, s *github.Secret) {
		unknown.Times = -1
		server.Fault(unknown)
		_, _, err := s.Plan(t.Context(), credential())
		holds(t, err, "refused", "401: Bad credentials", "the token is wrong, has expired or was revoked")
		if n := count(server, ""); n != 3 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestShowsTheTokenToNoOtherHost(t *testing.T) {
	var seen []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.Header.Get("Authorization"))
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 307, 308} {
		for _, method := range []string{"GET", "PUT"} {
			server, s := open(t, writer, "NAME")
			server.Fault(githubtest.Fault{
				Effect: githubtest.Answer, Method: method, Times: -1, Status: status,
				Header: map[string]string{"Location": other.URL + "/elsewhere"},
			})
			holds(t, s.Set(t.Context(), credential(), held), "refused", "redirects to another host", "check the API's address")
		}
	}
	if len(seen) > 0 {
		t.Errorf("the other host has seen %q", seen)
	}
}

func TestFollowsARenamedRepository(t *testing.T) {
	server, s := open(t, writer, "acme/former NAME")
	moved := func(suffix string, status int) githubtest.Fault {
		return githubtest.Fault{
			Effect: githubtest.Answer, Path: "acme/former.*" + suffix + "$", Times: -1, Status: status,
			Header: map[string]string{"Location": server.URL + "/api/v3/repos/acme/shop/actions/secrets/" + suffix},
		}
	}
	server.Fault(moved("public-key", 301))
	server.Fault(moved("NAME", 307))
	must(t, s.Set(t.Context(), credential(), held))
	if got, _ := server.Secret("acme/shop", "NAME"); got != password {
		t.Errorf("holds %q", got)
	}
}

func TestAWriteThatWouldBecomeAReadIsRefused(t *testing.T) {
	server, s := open(t, writer, "NAME")
	server.Fault(githubtest.Fault{
		Effect: githubtest.Answer, Method: "PUT", Times: -1, Status: 301,
		Header: map[string]string{"Location": server.URL + "/api/v3/repos/acme/shop/actions/secrets/NAME"},
	})
	holds(t, s.Set(t.Context(), credential(), held), "refused", "redirects a write, which would get lost", "new name")
}

func TestRefusesToGoInCircles(t *testing.T) {
	server, s := open(t, writer, "NAME")
	server.Fault(githubtest.Fault{
		Effect: githubtest.Answer, Times: -1, Status: 307,
		Header: map[string]string{"Location": server.URL + "/api/v3/repos/acme/shop/actions/secrets/NAME"},
	})
	holds(t, s.Set(t.Context(), credential(), held), "refused", "redirects in circles", "")
	if n := count(server, ""); n != 5 {
		t.Errorf("%d requests", n)
	}
}

func TestRefusesAnAddressThatCannotBeTrusted(t *testing.T) {
	for address, text := range map[string]string{
		"https://api.github.com":            "",
		"":                                  "",
		"https://ghe.example.com/api/v3":    "",
		"http://127.0.0.1:21480":            "",
		"http://localhost:1":                "",
		"http://[::1]:1":                    "",
		"http://ghe.example.com":            "unencrypted",
		"http://localhost.example.com":      "unencrypted",
		"ftp://ghe.example.com":             "unencrypted",
		"api.github.com":                    "malformed",
		"https://user:" + password + "@ghe": "malformed",
		"https://ghe?x=" + password:         "malformed",
		"https://%" + password:              "malformed",
	} {
		_, err := github.New(github.Config{Token: secret.New(writer), BaseURL: address})
		switch {
		case text == "" && err != nil:
			t.Errorf("%q: %v", address, err)
		case text != "":
			holds(t, err, "refused", text, "")
		}
	}
	_, err := github.New(github.Config{})
	holds(t, err, "refused", "the token is missing", "")
}
