package rotation

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Laggard is a client that still has sessions from before the change, which a new
// password does not end, or of the role that was served then.
type Laggard struct {
	Role        string
	Application string // what it calls itself
	Address     string // IP address; empty: a Unix socket
	Sessions    int
	Left        int       // of them that go on; the others were ended
	Since       time.Time // when the oldest from before the change was opened, database clock; zero: none is
	Where       string    // in words
	Pods        []string  // that it may be, "namespace/name"
	Owners      []string  // what restarts them, "kind/name"
	Pooler      bool      // its sessions outlive its own clients
}

// aftermath looks at the sessions. What is seen there is told and changes
// nothing about the rotation, but for a pod that is refuted.
func (r *run) aftermath(w way) task {
	if w.back {
		return skip
	}
	return r.step("sessions", func(ctx context.Context) (string, error) {
		if r.state.Mode == Emergency {
			r.behind(ctx, w.credential)
		}
		opened, err := r.sessionsOf(ctx, r.involved(w))
		switch {
		case err != nil && ctx.Err() != nil:
			return "", fmt.Errorf("look at the open sessions: %w", context.Cause(ctx))
		case err != nil:
			r.warn(fmt.Sprintf("who still has sessions from before the change is not known: %v", err))
			return "not known", nil
		}
		if err := r.tolerate(w, r.testify(w.credential.User, opened)); err != nil {
			return "", err
		}
		return r.settle(ctx, w, opened), nil
	})
}

// settle ends the former sessions where that is wanted, and names whose they are.
func (r *run) settle(ctx context.Context, w way, opened []secret.Sessions) string {
	former := stale(w.credential.User, opened)
	found, left := total(former), former
	if found > 0 && r.Policy.TerminateStale {
		left = r.terminate(ctx, w, former)
	}
	r.warnOfHidden(opened)
	r.reportLaggards(ctx, former, left)
	switch {
	case found == 0:
		return "none is older than the change"
	case total(left) < found:
		return fmt.Sprintf("%s older than the change, %d ended", plural(found, "is", "are"), found-total(left))
	}
	return plural(found, "is", "are") + " older than the change"
}

// stale are the sessions that go on with what is history: those from before the
// change, and all of a role that is not served any more.
func stale(user string, opened []secret.Sessions) (all []secret.Sessions) {
	for _, s := range opened {
		if s.Role != user {
			s.Former += s.Recent
		}
		if s.Former > 0 {
			all = append(all, s)
		}
	}
	return all
}

func total(all []secret.Sessions) (n int) {
	for _, s := range all {
		n += s.Former
	}
	return n
}

// terminate ends the former sessions and returns which are left.
func (r *run) terminate(ctx context.Context, w way, former []secret.Sessions) []secret.Sessions {
	roles := r.involved(w)
	_, err := r.Sessions.Terminate(ctx, roles, r.change())
	if err != nil {
		r.warn(fmt.Sprintf("not every session from before the change was ended: %v", err))
	}
	left, err := r.sessionsOf(ctx, roles)
	if err != nil {
		r.warn(fmt.Sprintf("whether the sessions from before the change have ended is not known: %v", err))
		return former
	}
	return stale(w.credential.User, left)
}

// warnOfHidden says how many sessions could not be judged.
func (r *run) warnOfHidden(opened []secret.Sessions) {
	hidden := 0
	for _, s := range opened {
		hidden += s.Hidden
	}
	if hidden > 0 {
		r.warn(fmt.Sprintf("%s may be from before the change: when sessions were opened is hidden from the role of `postgres-url`", plural(hidden, "session", "sessions")))
	}
}

// reportLaggards tells where the clients with former sessions are.
func (r *run) reportLaggards(ctx context.Context, former, left []secret.Sessions) {
	found, searched, err := r.origins(ctx, addressesOf(former, func(s secret.Sessions) string { return s.Address }))
	if err != nil {
		r.warn(fmt.Sprintf("which pods the sessions from before the change are of is not known: %v", err))
	}
	var all []Laggard
	for _, s := range former {
		all = append(all, laggard(s, found[s.Address], searched, remaining(left, s)))
	}
	slices.SortStableFunc(all, func(a, b Laggard) int { return cmp.Compare(b.Sessions, a.Sessions) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Laggards = all
}

// origins asks the cluster for addresses.
func (r *run) origins(ctx context.Context, addresses []string) (found map[string]secret.Origin, searched string, err error) {
	if len(addresses) == 0 {
		return nil, "", nil
	}
	err = insist(ctx, func(ctx context.Context) error {
		found, searched, err = r.Addresses.Origins(ctx, addresses)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	return found, searched, nil
}

// remaining counts what is left of a client's former sessions.
func remaining(left []secret.Sessions, of secret.Sessions) int {
	for _, s := range left {
		if s.Role == of.Role && s.Application == of.Application && s.Address == of.Address {
			return min(s.Former, of.Former)
		}
	}
	return 0
}

// laggard is a client with what is known of where it is.
func laggard(s secret.Sessions, at secret.Origin, searched string, left int) Laggard {
	l := Laggard{Role: s.Role, Application: s.Application, Address: s.Address, Sessions: s.Former, Left: left, Since: s.Since,
		Pods: at.Pods, Owners: distinct(at.Owners...), Where: where(s.Address, at, searched)}
	l.Pooler = pools(s.Application) || !at.Shared && slices.ContainsFunc(slices.Concat(at.Pods, at.Owners), pools)
	if l.Pooler {
		l.Where += "; it is a pooler, whose sessions outlive those of its clients until it is told to RECONNECT"
	}
	return l
}

const mostPods = 5 // that are named for one address

// where says in words where an address is.
func where(address string, at secret.Origin, searched string) string {
	var pods []string
	for i, pod := range at.Pods {
		pods = append(pods, fmt.Sprintf("pod %s of %s", pod, at.Owners[i]))
	}
	named := strings.Join(pods[:min(mostPods, len(pods))], ", ")
	if more := len(pods) - mostPods; more > 0 {
		named += fmt.Sprintf(" or %d more", more)
	}
	switch {
	case address == "":
		return "a Unix socket on the machine of the database"
	case local(address):
		return "the machine or pod of the database itself, or a tunnel into it"
	case at.Shared && len(pods) == 0:
		return "a node of " + searched + ": a process of it, or a pod behind it"
	case at.Shared:
		return "a node, whose address these share: it may be " + named
	case len(pods) > 0:
		return named
	case searched == "":
		return "not known"
	}
	return "not a pod of " + searched
}

// local tells an address that is the same everywhere, so that no pod can be
// found by it.
func local(address string) bool {
	ip, err := netip.ParseAddr(address)
	return err != nil || ip.Unmap().IsLoopback()
}

// pools recognises a pooler by the names that people give it.
func pools(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"bouncer", "pooler", "odyssey", "pgcat", "pgpool", "supavisor"}, func(word string) bool { return strings.Contains(name, word) })
}
