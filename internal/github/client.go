// Package github writes credentials into GitHub's secrets: each value is sealed
// to the public key of its repository, environment or organization and can be read back by
// nobody, so that a write is proven by the time that GitHub keeps of it.
package github

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Config says where GitHub is and who asks.
type Config struct {
	// Token is a fine-grained personal access token or an App's installation
	// token. Required.
	Token secret.Value
	// BaseURL is the API's address: "https://api.github.com" when empty,
	// "https://HOST/api/v3" of a GitHub Enterprise Server.
	BaseURL string
	// Transport carries the requests; nil is the network, through the proxy that
	// the environment names.
	Transport http.RoundTripper
}

// Client speaks to one GitHub. Safe for concurrent use.
type Client struct {
	api *github.Client
	// installation: the token belongs to an App, and GITHUB_TOKEN is one of them.
	// https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/about-authentication-to-github#githubs-token-formats
	installation bool
	// turn lets one write through at a time, as GitHub asks. It also asks for a
	// second between writes where there are many, for the limit of 80 a minute: few
	// rotations have so many, and where one has, GitHub says how long to wait and
	// the transport does.
	// https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
	turn   chan struct{}
	keys   answers[*publicKey]
	places answers[*place]
}

// New returns a client, without asking GitHub anything. An address that would
// send the token unencrypted is refused, loopback aside.
func New(cfg Config) (*Client, error) {
	if cfg.Token.IsZero() {
		return nil, fail(refused, "", "reach GitHub: the token is missing")
	}
	base, err := parseBase(cfg.BaseURL)
	if err != nil {
		return nil, err
	}
	token := cfg.Token.Reveal()
	bare := github.NewClient(&http.Client{Transport: patient(cfg.Transport), CheckRedirect: sameHost})
	bare.UserAgent = "pgrotate"
	api, err := bare.WithAuthToken(token).WithEnterpriseURLs(base, base)
	if err != nil {
		return nil, fail(refused, "", "reach GitHub: the API's address cannot be used")
	}
	return &Client{api: api, installation: strings.HasPrefix(token, "ghs_"), turn: make(chan struct{}, 1)}, nil
}

func parseBase(text string) (string, error) {
	if text == "" {
		return "https://api.github.com", nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fail(refused, "an address is https://api.github.com or https://HOST/api/v3", "reach GitHub: the API's address is malformed")
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return "", fail(refused, "use https", "reach GitHub: %q would carry the token unencrypted", u.Host)
	}
	return text, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// freshToken is how often a 401 is asked again: an App's token that was minted
// a moment ago is not known everywhere yet.
const freshToken = 2

// do sends a request and decodes its answer into out; both bodies may be nil.
func (c *Client) do(ctx context.Context, method, path string, body, out any) (*github.Response, error) {
	for try := 0; ; try++ {
		resp, err := c.send(ctx, method, path, body, out)
		if resp == nil || resp.Response == nil || resp.StatusCode != http.StatusUnauthorized || try == freshToken {
			return resp, err
		}
		if err := pause(ctx, time.Second<<try); err != nil {
			return nil, err
		}
	}
}

func (c *Client) send(ctx context.Context, method, path string, body, out any) (*github.Response, error) {
	req, err := c.api.NewRequest(method, path, body)
	if err != nil {
		return nil, err
	}
	return c.api.Do(punctual(ctx), req, out)
}

// enter waits until no other write is under way; leave lets the next one in.
func (c *Client) enter(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) leave() { <-c.turn }

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
