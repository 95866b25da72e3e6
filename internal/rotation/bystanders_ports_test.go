package rotation_test

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// session is an open one.
type session struct {
	role, application, address string
	opened                     time.Time
}

type standbysPort struct{ p *process }

func (s standbysPort) PlanStandbys(ctx context.Context, _ string) (string, []string, error) {
	return "1 standby", nil, s.p.call(ctx, "Standbys.PlanStandbys", func() error { return nil })
}

func (s standbysPort) Position(ctx context.Context) (position string, err error) {
	err = s.p.call(ctx, "Standbys.Position", func() error {
		position = s.p.w.changed.Format(time.RFC3339Nano)
		return nil
	})
	return position, err
}

func (s standbysPort) Lagging(ctx context.Context, position string, c secret.Credential) (names []string, err error) {
	err = s.p.call(ctx, "Standbys.Lagging", func() error {
		at, err := time.Parse(time.RFC3339Nano, position)
		if err != nil {
			return err
		}
		if s.p.w.replay > 0 && time.Now().Before(at.Add(s.p.w.replay)) || !c.Verifier.IsZero() && s.p.w.role(c.User).accepts != c.Verifier.Reveal() {
			names = []string{"standby two at 10.0.0.2"}
		}
		return nil
	})
	return names, err
}

type sessionsPort struct{ p *process }

func (s sessionsPort) PlanSessions(ctx context.Context, _ string) ([]string, error) {
	return nil, s.p.call(ctx, "Sessions.PlanSessions", func() error { return nil })
}

func (s sessionsPort) PlanTermination(ctx context.Context, _ string) error {
	return s.p.call(ctx, "Sessions.PlanTermination", func() error { return nil })
}

func (s sessionsPort) Opened(ctx context.Context, roles []string, change time.Time) (found []secret.Sessions, err error) {
	err = s.p.call(ctx, "Sessions.Opened", func() error {
		for _, one := range s.p.w.clients {
			if slices.Contains(roles, one.role) {
				found = counted(found, one, change)
			}
		}
		return nil
	})
	return found, err
}

// counted adds one session to those of its client.
func counted(all []secret.Sessions, one session, change time.Time) []secret.Sessions {
	i := slices.IndexFunc(all, func(s secret.Sessions) bool {
		return s.Role == one.role && s.Application == one.application && s.Address == one.address
	})
	if i < 0 {
		i = len(all)
		all = append(all, secret.Sessions{Role: one.role, Application: one.application, Address: one.address})
	}
	switch s := &all[i]; {
	case one.opened.IsZero():
		s.Hidden++
	case !one.opened.Before(change):
		s.Recent++
	default:
		if s.Former++; s.Since.IsZero() || one.opened.Before(s.Since) {
			s.Since = one.opened
		}
	}
	return all
}

func (s sessionsPort) Terminate(ctx context.Context, roles []string, change time.Time) (ended int, err error) {
	err = s.p.call(ctx, "Sessions.Terminate", func() error {
		before := len(s.p.w.clients)
		s.p.w.clients = slices.DeleteFunc(s.p.w.clients, func(one session) bool {
			return slices.Contains(roles, one.role) && !one.opened.IsZero() && one.opened.Before(change)
		})
		ended = before - len(s.p.w.clients)
		return nil
	})
	return ended, err
}

type refusalsPort struct{ p *process }

func (r refusalsPort) Refused(ctx context.Context, roles []string, since time.Time) (found []secret.Refused, whole bool, err error) {
	err = r.p.call(ctx, "Refusals.Refused", func() error {
		if !since.Equal(r.p.w.changed) {
			return fmt.Errorf("asked for logins since %s, the password was changed at %s", since, r.p.w.changed)
		}
		for _, one := range r.p.w.refused {
			if slices.Contains(roles, one.Role) {
				found = append(found, one)
			}
		}
		return nil
	})
	return found, len(found) < tooMany, err
}

// tooMany refused clients make a log too long to be read whole.
const tooMany = 60

type addressesPort struct{ p *process }

func (a addressesPort) Origins(ctx context.Context, addresses []string) (found map[string]secret.Origin, searched string, err error) {
	err = a.p.call(ctx, "Addresses.Origins", func() error {
		found = map[string]secret.Origin{}
		for _, address := range addresses {
			if at, ok := a.p.w.origins[address]; ok {
				found[address] = at
			}
		}
		return nil
	})
	return found, "this cluster", err
}

type healthPort struct{ p *process }

func (healthPort) String() string { return `pods "tier=backend"` }

func (h healthPort) Ready(ctx context.Context) (ready map[string]secret.Readiness, err error) {
	err = h.p.call(ctx, "Health.Ready", func() error {
		ready = map[string]secret.Readiness{}
		for name, set := range h.p.w.sets {
			n := secret.Readiness{Pods: len(set.pods)}
			if !h.p.w.sick(name, set.mark) {
				n.Ready = n.Pods
			}
			ready[name] = n
		}
		return nil
	})
	return ready, err
}
