package crash

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/lab/proxy"
)

// ending is a run that ends in one of the ways in which runs end.
type ending struct {
	name   string
	before func(*Bench) error // what it finds; nil: nothing that matters
	inputs map[string]string
	with   func(*Bench) (map[string]string, error) // more inputs; nil: none
	code   int
	fault  func(*Bench) *proxy.Fault // nil: none
	makes  string                    // a request that must be among its own; empty: any
}

func (e ending) String() string { return "ends with " + e.name }

func endings() []ending {
	return []ending{
		{name: "a plan", inputs: map[string]string{"INPUT_COMMAND": "plan"}},
		{name: "a rotation"},
		{name: "a rotation with a client key", with: withKey},
		{name: "nothing to resume", inputs: map[string]string{"INPUT_COMMAND": "resume"}},
		{name: "an input that is no good", inputs: map[string]string{"INPUT_TIMEOUT": "soon"}, code: 2},
		{name: "an address that is no good", inputs: map[string]string{"INPUT_POSTGRES_URL": "postgres://%zz"}, code: 2},
		{name: "a refusal by GitHub", code: 1, fault: func(b *Bench) *proxy.Fault { refuse(b); return nil }},
		{name: "a refusal by the database", code: 1, fault: unauthorized},
		{name: "a lost answer of the database", fault: lostAnswer("postgres COMMIT #1")},
		{name: "an open rotation resumed", before: leftOpen, inputs: map[string]string{"INPUT_COMMAND": "resume"}, makes: "kubernetes PATCH secrets/postgres-credentials"},
		{name: "a rotation undone, with the password beside the address", before: justRotated, inputs: map[string]string{"INPUT_COMMAND": "rollback"}, with: withPassword, makes: "postgres ALTER ROLE"},
		{name: "an emergency on GitHub", inputs: modes()[2].inputs, makes: "postgres ALTER ROLE"},
	}
}

// twinEndings are those in which roles alternate; the first one on a bench makes
// the second role.
func twinEndings() []ending {
	return []ending{{name: "a second role", inputs: modes()[1].inputs, makes: "postgres CREATE ROLE"}}
}

// leftOpen leaves a rotation open whose password the database has.
func leftOpen(b *Bench) error {
	return cutShort(b, at{modes()[0], "kubernetes PATCH secrets/postgres-credentials #2", proxy.Before}).err
}

func justRotated(b *Bench) error { return rotated(b, at{mode: modes()[0]}).err }

// withKey is a run that goes straight to the cluster, which sees its client key
// only there.
func withKey(b *Bench) (map[string]string, error) {
	config, err := b.keyed()
	return map[string]string{"INPUT_KUBECONFIG": config}, err
}

// withPassword is a run whose address holds no password.
func withPassword(b *Bench) (map[string]string, error) {
	address, err := url.Parse(b.through["INPUT_POSTGRES_URL"])
	if err != nil {
		return nil, errors.New("read the proxy's address: it is malformed")
	}
	address.User = url.User(b.Rotator)
	return map[string]string{"INPUT_POSTGRES_URL": address.String(), "INPUT_POSTGRES_PASSWORD": b.Admin}, nil
}

// unauthorized takes the right away after preflight, so that the server logs
// the ALTER ROLE that has failed.
func unauthorized(b *Bench) *proxy.Fault {
	return &proxy.Fault{Name: "kubernetes PATCH secrets/postgres-credentials #1", Moment: proxy.After, Effect: proxy.Pass, Meet: func() {
		_ = b.SQL(b.Superuser, `REVOKE "`+b.Name+`" FROM "`+b.Rotator+`"`, `ALTER ROLE "`+b.Rotator+`" NOCREATEROLE`)
	}}
}

func lostAnswer(name string) func(*Bench) *proxy.Fault {
	return func(*Bench) *proxy.Fault { return &proxy.Fault{Name: name, Moment: proxy.After, Effect: proxy.Hang} }
}

// leak ends runs in every way while it looks at the sessions of the server and
// at the command lines of all processes, at each request, and looks for secrets
// in all that they leave. That the search can find is shown in the package leak.
func (s *suite) leak(t *testing.T) {
	t.Parallel()
	for mode, all := range map[string][]ending{"planned": endings(), "alternate": twinEndings()} {
		f := spread(s, t, kind{"leak, " + mode, false}, part(s, all, len(all), func(ending) bool { return true }), watched)
		fmt.Fprintf(os.Stdout, "leak, %s: %s\n", mode, f)
	}
}

// all are the inputs of a run.
func (e ending) all(b *Bench) (map[string]string, error) {
	inputs := map[string]string{}
	maps.Copy(inputs, e.inputs)
	if e.with == nil {
		return inputs, nil
	}
	more, err := e.with(b)
	maps.Copy(inputs, more)
	return inputs, err
}

func watched(b *Bench, e ending) outcome {
	if e.before != nil {
		if err := e.before(b); err != nil {
			return outcome{err: fmt.Errorf("before it: %w", err)}
		}
	}
	var mu sync.Mutex
	looks := 0
	b.Proxy.Observe = func(proxy.Request) {
		texts, err := b.places.Now(context.Background())
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			looks++
		}
		for _, text := range texts {
			b.search(text.Place, text.Text)
		}
	}
	var fault *proxy.Fault
	if e.fault != nil {
		fault = e.fault(b)
	}
	reached := b.Proxy.Begin(fault)
	began := time.Now()
	inputs, err := e.all(b)
	if err != nil {
		return outcome{err: err}
	}
	run, err := b.Start(b.through, inputs)
	if err != nil {
		return outcome{err: err}
	}
	ended, err := b.Finish(run, began)
	requests := b.Proxy.End()
	b.Proxy.Observe = b.glance
	o := outcome{said: ended.Said, err: errors.Join(err, b.Kept())}
	switch {
	case o.err != nil:
	case ended.Code != e.code:
		o.err = fmt.Errorf("it ended with exit code %d", ended.Code)
	case fault != nil && !met(reached):
		o.err = fmt.Errorf("it made no request %q:\n%s", fault.Name, listed(requests))
	case looks < len(requests):
		o.err = fmt.Errorf("%d requests, %d looks", len(requests), looks)
	case !strings.Contains(listed(requests), e.makes):
		o.err = fmt.Errorf("it made no request %q:\n%s", e.makes, listed(requests))
	default:
		o.err = b.SQL(b.Superuser, `GRANT "`+b.Name+`" TO "`+b.Rotator+`" WITH ADMIN OPTION`, `ALTER ROLE "`+b.Rotator+`" CREATEROLE`)
	}
	if o.err == nil {
		o = o.then(b)
	}
	return o
}
