package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v62/github"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Secret is one GitHub secret that holds a copy of the credential. It is used
// by one goroutine at a time; several Secrets may share a Client.
type Secret struct {
	client *Client
	target Target
	served string // key of the served Secret whose bytes it takes; empty: none
	key    *publicKey
	reader *audience // of an organization's secret, as it was when it was last looked at
	last   *write
}

// write is what is known about the last PUT, by GitHub's clocks.
type write struct {
	before   time.Time // updated_at before it; zero: there was no such secret
	answered time.Time // Date of its answer; zero: there was none
	doubtful bool      // an attempt before the last one may have been applied
}

// Secret returns the secret that t names. key is the key of the served Secret
// that is mapped to t's property; url, dsn and verifier need one.
func (c *Client) Secret(t Target, key string) (*Secret, error) {
	if !slices.Contains([]Property{URL, DSN, Verifier}, t.Property) {
		return &Secret{client: c, target: t}, nil
	}
	if key == "" {
		return nil, fail(refused, "map a key of the served Secret to "+string(t.Property),
			"secret %q: it is to hold the %s, and the served Secret has no key for that", t.Name, t.Property)
	}
	return &Secret{client: c, target: t, served: key}, nil
}

// String returns "GitHub secret owner/repo@environment NAME".
func (s *Secret) String() string { return "GitHub secret " + s.target.String() }

// Plan asks for the public key and for the secret as it is, which proves the
// token and the names, and writes nothing. Only a write can prove the
// permission to write, but for a classic token, whose scope is for both. c may be
// without a password. Class refused, too: an organization has no such secret; who
// may use a new one is not for us to say.
func (s *Secret) Plan(ctx context.Context, c secret.Credential) (change string, warnings []string, err error) {
	if _, held := c.Keys[s.served]; s.served != "" && c.Keys != nil && !held {
		return "", nil, fail(refused, "", "plan %s: the served Secret has no key %q", s, s.served)
	}
	if err := s.fetchKey(ctx); err != nil {
		return "", nil, err
	}
	updated, _, err := s.look(ctx)
	switch {
	case err != nil:
		return "", nil, err
	case updated.IsZero():
		return "create", nil, s.admitted(ctx)
	case s.reader != nil:
		return fmt.Sprintf("update, last updated %s, %s as before", show(updated), s.reader), nil, nil
	}
	return "update, last updated " + show(updated), nil, nil
}

// look returns updated_at, zero where the secret does not exist, and the time
// of the answer. Of an organization's secret it learns who may use it.
func (s *Secret) look(ctx context.Context) (updated, now time.Time, err error) {
	answer, resp, err := s.read(ctx)
	if err != nil || s.target.Kind != Organization {
		return answer.UpdatedAt.Time, date(resp), err
	}
	if answer.UpdatedAt.IsZero() {
		return time.Time{}, time.Time{}, fail(refused, "create it on GitHub, with any value, for the repositories that may use it", "read %s: there is no such secret", s)
	}
	s.reader, err = s.reach(ctx, answer.Visibility)
	return answer.UpdatedAt.Time, date(resp), err
}

func (s *Secret) read(ctx context.Context) (answer github.Secret, resp *github.Response, err error) {
	resp, err = s.get(ctx, s.path(), &answer)
	if err != nil && !answered(err, http.StatusNotFound) {
		return github.Secret{}, nil, s.failed("read "+s.String(), err)
	}
	return answer, resp, nil
}

// get asks for a path. Every answer names the scopes of a classic token: without
// the right one GitHub may say no more than 404, as it does where there is no such
// secret.
func (s *Secret) get(ctx context.Context, path string, out any) (*github.Response, error) {
	resp, err := s.client.do(ctx, http.MethodGet, path, nil, out)
	if resp == nil || resp.Response == nil {
		return nil, err
	}
	scopes, needed := resp.Header.Get("X-OAuth-Scopes"), s.target.scope()
	if scopes != "" && !slices.Contains(strings.Split(scopes, ", "), needed) {
		return nil, fail(refused, fmt.Sprintf("give the token the scope %q, or use a fine-grained one", needed), "the token has the scopes %q, %q is not among them", scopes, needed)
	}
	return resp, err
}

// date is GitHub's clock, zero where it is not told.
func date(resp *github.Response) time.Time {
	if resp == nil {
		return time.Time{}
	}
	at, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at
}

// Updated returns the secret's updated_at, in whole seconds; zero: there is no such secret.
func (s *Secret) Updated(ctx context.Context) (time.Time, error) {
	answer, _, err := s.read(ctx)
	return answer.UpdatedAt.Time, err
}

func (s *Secret) path() string { return s.target.path() + "/" + s.target.Name }

func answered(err error, status int) bool {
	var answer *github.ErrorResponse
	return errors.As(err, &answer) && answer.Response.StatusCode == status
}

// Set seals what the secret holds of c and writes it, unless held returns an error
// after all that has to be waited for; the same again is harmless. Who may use an
// organization's secret is read just before and sent back unchanged. Where GitHub
// has changed the public key meanwhile, the new one is fetched once. Class refused:
// nothing was written, neither by an attempt before the one that was refused.
func (s *Secret) Set(ctx context.Context, c secret.Credential, held func(context.Context) error) error {
	value, err := s.value(c)
	if err != nil {
		return err
	}
	if err := s.client.enter(ctx); err != nil {
		return s.failed("update "+s.String(), err)
	}
	defer s.client.leave()
	before, now, err := s.look(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, apart(before, now)); err != nil {
		return s.failed("update "+s.String(), err)
	}
	s.last = &write{before: before}
	var lost error
	err = s.write(ctx, value, func() error { lost = held(ctx); return lost })
	switch {
	case lost != nil:
		return lost
	case err != nil:
		return s.doubted(ctx, s.failed("update "+s.String(), err))
	}
	return nil
}

// doubted takes a refusal at its word unless an attempt before it may have been
// applied: then GitHub must go on showing the former write.
func (s *Secret) doubted(ctx context.Context, err error) error {
	var refusal *failure
	if !s.last.doubtful || !errors.As(err, &refusal) || refusal.class != refused {
		return err
	}
	for try := range looks {
		if s.settle(ctx, try) != nil {
			break
		}
		updated, cause := s.Updated(ctx)
		if cause != nil || !updated.Equal(s.last.before) {
			break
		}
		if try == looks-1 {
			return err
		}
	}
	return fail(unavailable, refusal.hint, "%s; an attempt before may have been applied", refusal.text)
}

// write asks held before each attempt.
func (s *Secret) write(ctx context.Context, value secret.Value, held func() error) error {
	if s.key == nil {
		if err := s.fetchKey(ctx); err != nil {
			return err
		}
	}
	refusal := s.put(ctx, value, held)
	if !answered(refusal, http.StatusUnprocessableEntity) {
		return refusal
	}
	former := s.key.id
	if err := s.fetchKey(ctx); err != nil {
		return err
	}
	if s.key.id == former {
		return refusal
	}
	return s.put(ctx, value, held)
}

func (s *Secret) put(ctx context.Context, value secret.Value, held func() error) error {
	body, err := s.key.seal(value)
	if err != nil {
		return err
	}
	if err := held(); err != nil {
		return err
	}
	body.audience = s.reader
	resp, err := s.client.do(context.WithValue(ctx, doubt{}, s.last), http.MethodPut, s.path(), body, nil)
	if err == nil {
		s.last.answered = date(resp)
	}
	return err
}

// looks is how often Verify reads: GitHub shows a write late, most within a
// second; with the pauses between them 15 seconds in all.
const looks = 7

// Verify proves that the last Set arrived: GitHub's updated_at has moved. It
// reads again for a while, because GitHub's reads may lag behind its writes. A
// much later updated_at is that of somebody else's write, and is not returned.
func (s *Secret) Verify(ctx context.Context, _ secret.Credential) (updatedAt time.Time, err error) {
	if s.last == nil {
		return time.Time{}, fail(unavailable, "", "verify %s: nothing was written yet", s)
	}
	for try := range looks {
		if err := s.settle(ctx, try); err != nil {
			return time.Time{}, err
		}
		if updatedAt, err = s.Updated(ctx); err != nil || s.last.proven(updatedAt) {
			return s.last.own(updatedAt), err
		}
	}
	seen := "shows no such secret"
	if !updatedAt.IsZero() {
		seen = "still shows the write of " + show(updatedAt)
	}
	return time.Time{}, fail(unavailable, "run it again: it writes the secret anew", "verify %s: GitHub has taken the write and %s", s, seen)
}

// settle waits before every look but the first, twice as long each time.
func (s *Secret) settle(ctx context.Context, try int) error {
	if try == 0 {
		return nil
	}
	if err := pause(ctx, 125*time.Millisecond<<try); err != nil {
		return s.failed("verify "+s.String(), err)
	}
	return nil
}

// skew is how much older than the answer's Date a write may look: a request
// takes a while, and the two times come from different machines.
const skew = attempt + 10*time.Second

// proven tells whether updated is the time of this write, and not that of an
// earlier one of somebody else.
func (w *write) proven(updated time.Time) bool {
	return updated.After(w.before) && (w.answered.IsZero() || !updated.Before(w.answered.Add(-skew)))
}

// own is the time of this write, where updated may be that of a later one.
func (w *write) own(updated time.Time) time.Time {
	const ahead = 10 * time.Second // of the answer's clock
	if !w.answered.IsZero() && updated.After(w.answered.Add(ahead)) {
		return w.answered
	}
	return updated
}

// apart is how long to wait before a write, so that its updated_at differs from
// the former one: GitHub keeps whole seconds, and two machines take part.
func apart(before, now time.Time) time.Duration {
	const least = 2 * time.Second
	if before.IsZero() || now.IsZero() {
		return 0
	}
	return min(max(least-now.Sub(before), 0), 2*least)
}
