package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/lab/proxy"
)

// ending is a run that ends in one of the ways in which runs end.
type ending struct {
	name   string
	inputs map[string]string
	code   int
	fault  func(*Bench) *proxy.Fault // nil: none
	key    bool                      // the kubeconfig has a client key, no token
}

func (e ending) String() string { return "ends with " + e.name }

func endings() []ending {
	return []ending{
		{name: "a plan", inputs: map[string]string{"INPUT_COMMAND": "plan"}},
		{name: "a rotation"},
		{name: "a rotation with a client key", key: true},
		{name: "a rotation on GitHub", inputs: map[string]string{"GITHUB_ACTIONS": "true"}},
		{name: "nothing to resume", inputs: map[string]string{"INPUT_COMMAND": "resume"}},
		{name: "an input that is no good", inputs: map[string]string{"INPUT_TIMEOUT": "soon"}, code: 2},
		{name: "an address that is no good", inputs: map[string]string{"INPUT_POSTGRES_URL": "postgres://%zz"}, code: 2},
		{name: "a refusal by GitHub", code: 1, fault: func(b *Bench) *proxy.Fault { refuse(b); return nil }},
		{name: "a refusal by the database", code: 1, fault: unauthorized},
		{name: "a lost answer of the database", fault: lostAnswer("postgres COMMIT #1")},
	}
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
	f := spread(s, t, kind{"planned", false}, part(s, endings(), len(endings()), func(ending) bool { return true }), watched)
	fmt.Fprintf(os.Stdout, "leak: %s\n", f)
}

// with are the inputs of a run; one with a client key goes straight to the
// cluster, which sees it only there.
func (e ending) with(b *Bench) (map[string]string, error) {
	if !e.key {
		return e.inputs, nil
	}
	config, err := b.keyed()
	return map[string]string{"INPUT_KUBECONFIG": config}, err
}

func watched(b *Bench, e ending) outcome {
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
	b.Proxy.Begin(fault)
	began := time.Now()
	inputs, err := e.with(b)
	if err != nil {
		return outcome{err: err}
	}
	run, err := b.Start(b.through, inputs)
	if err != nil {
		return outcome{err: err}
	}
	ended, err := b.Finish(run, began)
	requests := len(b.Proxy.End())
	o := outcome{said: ended.Said, err: errors.Join(err, b.Kept())}
	switch {
	case o.err != nil:
	case ended.Code != e.code:
		o.err = fmt.Errorf("it ended with exit code %d", ended.Code)
	case looks < requests:
		o.err = fmt.Errorf("%d requests, %d looks", requests, looks)
	default:
		o.err = b.SQL(b.Superuser, `GRANT "`+b.Name+`" TO "`+b.Rotator+`" WITH ADMIN OPTION`, `ALTER ROLE "`+b.Rotator+`" CREATEROLE`)
	}
	if o.err == nil {
		o = o.then(b)
	}
	return o
}
