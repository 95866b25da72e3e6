package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"
)

// The classes of failures, as the caller's table of failures names them.
const (
	refused     = "refused"     // a definite no that changed nothing
	unavailable = "unavailable" // nobody knows whether it was done
)

// failure is every error of this package. It keeps no cause: an error of a
// library may hold a whole request.
type failure struct {
	class string
	text  string
	hint  string
}

func (f *failure) Error() string { return f.text }

// Class is "refused" or "unavailable".
func (f *failure) Class() string { return f.class }

// Hint tells what to do, or is empty.
func (f *failure) Hint() string { return f.hint }

func fail(class, hint, format string, args ...any) error {
	return &failure{class: class, hint: hint, text: fmt.Sprintf(format, args...)}
}

// failed turns what the client library returned into a failure. A cancelled
// context stays what it is.
func (s *Secret) failed(doing string, err error) error {
	var known *failure
	var answer *github.ErrorResponse
	switch reset, limited := limit(err); {
	case err == context.Canceled, err == context.DeadlineExceeded: // the caller's, which comes bare
		return fmt.Errorf("%s: %w", doing, err)
	case errors.As(err, &known):
		return &failure{class: known.class, text: doing + ": " + known.text, hint: known.hint}
	case limited:
		return fail(unavailable, waitUntil(reset), "%s: GitHub's rate limit is reached", doing)
	case errors.As(err, &answer):
		status := answer.Response.StatusCode
		return &failure{class: classify(status), text: doing + ": " + describe(answer), hint: s.hint(status, answer.Response.Header)}
	}
	return fail(unavailable, "", "%s: %s", doing, reason(err))
}

// classify reads the HTTP status: a 4xx changed nothing, but for those that ask
// for another try.
func classify(status int) string {
	switch status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooManyRequests:
		return unavailable
	}
	if status >= 300 && status < 500 {
		return refused
	}
	return unavailable
}

// describe keeps GitHub's sentence and leaves out the URL and the details.
func describe(answer *github.ErrorResponse) string {
	status := answer.Response.StatusCode
	message := strings.Join(strings.Fields(answer.Message), " ")
	if message == "" {
		message = http.StatusText(status)
	}
	return fmt.Sprintf("GitHub answers %d: %s", status, message)
}

func reason(err error) string {
	var wrapped *url.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("GitHub does not answer within %s", attempt)
	case errors.As(err, &wrapped):
		return wrapped.Err.Error()
	}
	return err.Error()
}

// limit tells whether err is one of GitHub's two rate limits, and when it ends
// where GitHub has said so. Secondary limits come as 403 or 429.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
func limit(err error) (reset time.Time, limited bool) {
	var primary *github.RateLimitError
	var secondary *github.AbuseRateLimitError
	var answer *github.ErrorResponse
	switch {
	case errors.As(err, &primary):
		return primary.Rate.Reset.Time, true
	case errors.As(err, &secondary):
		return after(secondary.RetryAfter), true
	case errors.As(err, &answer):
		status, header := answer.Response.StatusCode, answer.Response.Header
		return limitEnds(header), status == http.StatusTooManyRequests || status == http.StatusForbidden && header.Get("Retry-After") != ""
	}
	return time.Time{}, false
}

func after(wait *time.Duration) time.Time {
	if wait == nil {
		return time.Time{}
	}
	return time.Now().Add(*wait)
}

// limitEnds reads Retry-After in seconds, else the end of the hour.
func limitEnds(header http.Header) time.Time {
	if seconds, err := strconv.Atoi(header.Get("Retry-After")); err == nil {
		return time.Now().Add(time.Duration(seconds) * time.Second)
	}
	return hourEnds(header)
}

func hourEnds(header http.Header) time.Time {
	seconds, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64)
	if err != nil || header.Get("X-RateLimit-Remaining") != "0" {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

func waitUntil(reset time.Time) string {
	if reset.Unix() <= 0 { // GitHub has not said
		return "wait a few minutes and run it again"
	}
	return "wait until " + show(reset) + " and run it again"
}

// hint names the remedy for what GitHub has refused.
func (s *Secret) hint(status int, header http.Header) string {
	switch status {
	case http.StatusUnauthorized:
		return "the token is wrong, has expired or was revoked: make a new one"
	case http.StatusForbidden:
		return s.permission(header)
	case http.StatusNotFound:
		return "check the spelling of " + s.target.where() + "; what a token may not see does not exist for it: " + s.permission(header)
	}
	return ""
}

// permission says what the token needs. GitHub's header names what this
// request needs; a read needs less than the write that follows.
// https://docs.github.com/en/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens
func (s *Secret) permission(header http.Header) string {
	names := map[Kind]string{Repository: "Secrets", Environment: "Environments", Organization: "Organization secrets", Dependabot: "Dependabot secrets"}
	place := strings.TrimSuffix(s.target.Owner+"/"+s.target.Repo, "/")
	text := fmt.Sprintf("give the token the permission %q for %s", names[s.target.Kind]+": read and write", place)
	if asked := header.Get("X-Accepted-GitHub-Permissions"); asked != "" {
		text += fmt.Sprintf(" (GitHub asked for %s)", asked)
	}
	if s.client.installation {
		text += "; this token is GITHUB_TOKEN, which can never write secrets, or an App's: then the App needs it"
	}
	return text
}

func show(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
