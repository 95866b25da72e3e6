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
}

func (e ending) String() string { return "ends with " + e.name }

func endings() []ending {
	return []ending{
		{"a plan", map[string]string{"INPUT_COMMAND": "plan"}, 0, nil},
		{"a rotation", nil, 0, nil},
		{"a rotation on GitHub", map[string]string{"GITHUB_ACTIONS": "true"}, 0, nil},
		{"nothing to resume", map[string]string{"INPUT_COMMAND": "resume"}, 0, nil},
		{"an input that is no good", map[string]string{"INPUT_TIMEOUT": "soon"}, 2, nil},
		{"an address that is no good", map[string]string{"INPUT_POSTGRES_URL": "postgres://%zz"}, 2, nil},
		{"a refusal by GitHub", nil, 1, func(b *Bench) *proxy.Fault { refuse(b); return nil }},
		{"a refusal by the database", nil, 1, unauthorized},
		{"a lost answer of the database", nil, 0, lostAnswer("postgres COMMIT #1")},
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
	run, err := b.Start(b.through, e.inputs)
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
