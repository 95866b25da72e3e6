package github

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"

	"github.com/gofri/go-github-ratelimit/v2/github_ratelimit/github_secondary_ratelimit"
	"github.com/hashicorp/go-retryablehttp"
)

// The bounds of what one request may cost: at most retries+1 attempts of
// attempt each, the waits between them, and over the client's whole life
// limitSleep in GitHub's rate limits. A rotation that GitHub holds up longer, or
// for longer than it may take, is left open and resumed.
const (
	attempt    = 20 * time.Second
	retries    = 3
	firstWait  = time.Second // doubled each time
	longest    = 15 * time.Second
	limitSleep = 2 * time.Minute

	longestAnswer = 1 << 20 // of the answers used here the longest has 300 bytes
)

// patient returns base with patience: it waits out GitHub's secondary limits
// and repeats what a broken connection or a 5xx has cut off, which is harmless
// for reads and for the PUT of a secret (RFC 9110, section 9.2.2). The hourly
// limit is not waited for: it may last an hour.
func patient(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return github_secondary_ratelimit.New(rewinding{repeating(base)},
		github_secondary_ratelimit.WithTotalSleepLimit(limitSleep, nil))
}

// punctual is ctx for a request that waits for no limit which outlasts ctx: it
// fails at once, and says until when there is a limit.
func punctual(ctx context.Context) context.Context {
	deadline, limited := ctx.Deadline()
	if !limited {
		return ctx
	}
	return github_secondary_ratelimit.WithOverrideConfig(ctx, github_secondary_ratelimit.WithSingleSleepLimit(time.Until(deadline), nil))
}

func repeating(base http.RoundTripper) http.RoundTripper {
	return &retryablehttp.RoundTripper{Client: &retryablehttp.Client{
		// Redirects belong to the client above, which knows which host may see the token.
		HTTPClient: &http.Client{Transport: whole{base}, CheckRedirect: stay},
		Logger:     nil, // it would print addresses
		RetryMax:   retries, RetryWaitMin: firstWait, RetryWaitMax: longest,
		CheckRetry: again, Backoff: backoff,
		ErrorHandler: retryablehttp.PassthroughErrorHandler,
	}}
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// again leaves 429 to the rate limiter. It returns no error of its own: the
// library would hand it on beside the response.
func again(ctx context.Context, resp *http.Response, err error) (bool, error) {
	if ctx.Err() != nil || err == nil && resp.StatusCode < http.StatusInternalServerError {
		return false, nil
	}
	retry, _ := retryablehttp.DefaultRetryPolicy(ctx, resp, err)
	if w, ok := ctx.Value(doubt{}).(*write); ok && retry {
		w.doubtful = true
	}
	return retry, nil
}

// doubt is the key of the write that a request's context carries: an attempt
// whose outcome is not known is hidden by the answer to the next one.
type doubt struct{}

// backoff obeys the Retry-After of a 503, within bounds.
func backoff(first, most time.Duration, try int, resp *http.Response) time.Duration {
	return min(retryablehttp.DefaultBackoff(first, most, try, resp), most)
}

// whole is one attempt: it ends with the last byte of the answer or with
// attempt, so that an answer cut off in the middle is asked for again and no
// connection waits for a body that the client library forgets to close.
type whole struct{ next http.RoundTripper }

func (w whole) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), attempt)
	defer cancel()
	resp, err := w.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, longestAnswer))
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// rewinding gives each try its own copy of the body: the rate limiter sends the
// same request again, whose body the first try has read to its end.
type rewinding struct{ next http.RoundTripper }

func (r rewinding) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		req.Body = body
	}
	return r.next.RoundTrip(req)
}

// sameHost refuses a redirect that would show the token to another host, or
// that would turn a write into a read.
func sameHost(req *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case req.URL.Scheme != first.URL.Scheme || req.URL.Host != first.URL.Host:
		return fail(refused, "check the API's address", "%q redirects to another host, %q, which must not see the token", first.URL.Host, req.URL.Host)
	case req.Method != first.Method:
		return fail(refused, "the repository may have a new name: use that one", "%q redirects a write, which would get lost", first.URL.Host)
	case len(via) >= 5:
		return fail(refused, "check the API's address", "%q redirects in circles", first.URL.Host)
	}
	return nil
}
