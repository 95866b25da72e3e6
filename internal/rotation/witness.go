package rotation

import (
	"context"
	"slices"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// A pod that logs in and out again has a session for a part of the time only.
const (
	looks   = 10 // at the sessions, until every pod was met
	between = 100 * time.Millisecond
)

// witness asks the sessions about pods where two roles take turns: a pod with the
// former credential is let in, and neither its log nor its health tells of it. On
// the way back nobody is asked.
func (r *run) witness(w way) secret.Witness {
	if !w.alternate {
		return nil
	}
	return func(ctx context.Context, pods []secret.Proof) []secret.Proof {
		for i := range pods {
			pods[i] = ambiguous(pods[i])
		}
		for n := 0; n < looks && !w.back && slices.ContainsFunc(pods, unmet) && rested(ctx, n); n++ {
			last := r.glance(ctx, w)
			for i := range pods {
				pods[i] = witnessed(pods[i], w.credential.User, last.met.of(pods[i]))
			}
			if last.err != nil || last.hidden {
				break // who looks at the sessions next says so
			}
		}
		return pods
	}
}

// unmet: sessions could tell of the pod, and have not yet.
func unmet(p secret.Proof) bool { return len(p.Addresses) > 0 && p.Evidence == NotProven }

func hidden(s secret.Sessions) bool { return s.Hidden > 0 }

// ambiguous takes what the health command says for no proof.
func ambiguous(p secret.Proof) secret.Proof {
	if p.Evidence == secret.ByHealthCommand {
		p.Evidence, p.Reason = NotProven, "its health command succeeds under either role"
	}
	return p
}

func rested(ctx context.Context, n int) bool {
	if n == 0 {
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(between):
		return true
	}
}

// glance is a look at the sessions that began after it was asked for.
type glance struct {
	began  time.Time
	met    sightings
	hidden bool // when some of them began may not be seen
	err    error
}

// glance looks at the sessions. Who asks while somebody looks shares the next
// look with all others: a thousand workloads are not a thousand questions. One
// that has begun is not cut off, which would cost the session that holds the lock.
func (r *run) glance(ctx context.Context, w way) glance {
	asked := r.Now()
	select {
	case <-ctx.Done():
		return glance{err: context.Cause(ctx)}
	case last := <-r.glances: // put back when the look is over
		defer func() { r.glances <- last }()
		if last.began.Before(asked) {
			began := r.Now()
			opened, err := r.sessionsOf(r.late, r.involved(w))
			last = glance{began, byAddress(opened), slices.ContainsFunc(opened, hidden), err}
		}
		return last
	}
}
