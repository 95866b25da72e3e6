package rotation

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Bystanders hold no copy of the credential and are not restarted, yet a change
// may hurt them or they may undo its purpose: standbys, open sessions, pods that
// have to stay ready.

// betweenLooks is the time between two looks at what only waiting changes.
const betweenLooks = time.Second

// skip is the task that does nothing.
func skip(context.Context) error { return nil }

// bystanders lists the questions to them, about the role that is served.
func (r *run) bystanders() []question {
	role := cmp.Or(r.served.Credential.User, r.roles.base)
	all := []question{
		{"standbys", "standbys of the database", func(ctx context.Context) (string, []string, error) { return r.Standbys.PlanStandbys(ctx, role) }},
		{"sessions", fmt.Sprintf("sessions of role %q", role), func(ctx context.Context) (string, []string, error) { return r.planSessions(ctx, role) }},
	}
	if r.alternates() {
		all = append(all, question{"sessions", fmt.Sprintf("sessions of role %q", r.target()), r.planWitness})
	}
	if r.Health != nil {
		all = append(all, question{"health", r.Health.String(), r.planHealth})
	}
	return all
}

// planSessions asks for the right to end sessions only where they are to be
// ended one by one: an emergency asks for it anyway.
func (r *run) planSessions(ctx context.Context, role string) (change string, warnings []string, err error) {
	warnings, err = r.Sessions.PlanSessions(ctx, role)
	if err != nil || !r.Policy.TerminateStale || r.emergency() {
		return "named where they are older than the change", warnings, err
	}
	return "ended where they are older than the change", warnings, r.Sessions.PlanTermination(ctx, role)
}

// planWitness asks for a look at the sessions of the role that is switched to: they
// tell which pods use it.
func (r *run) planWitness(ctx context.Context) (change string, warnings []string, err error) {
	warnings, err = r.Sessions.PlanSessions(ctx, r.target())
	return "looked at, to prove the pods by them", warnings, err
}

// planHealth notes how things are before anything changes.
func (r *run) planHealth(ctx context.Context) (change string, warnings []string, err error) {
	if r.ready, err = r.Health.Ready(ctx); err != nil {
		return "", nil, err
	}
	if len(r.ready) == 0 {
		return "", nil, &failure{class: Refused, text: fmt.Sprintf("look at %s: there are none", r.Health), hint: "correct `health-selector`, or leave it out"}
	}
	ready, pods := 0, 0
	for _, owner := range slices.Sorted(maps.Keys(r.ready)) {
		n := r.ready[owner]
		ready, pods = ready+n.Ready, pods+n.Pods
		if n.Ready == 0 {
			warnings = append(warnings, fmt.Sprintf("%s: %s has no ready pod even before the start: nothing is expected of it", r.Health, owner))
		}
	}
	return fmt.Sprintf("as ready at the end as now: %d of %s", ready, plural(pods, "pod", "pods")), warnings, nil
}

// tolerate makes a warning of what must not hold up a way on which the stores
// have to agree above all.
func (r *run) tolerate(w way, err error) error {
	if err == nil || !w.lenient {
		return err
	}
	r.warn(err.Error())
	return nil
}

// borne says what came of a wait, where a failure that is tolerated is none of going well.
func (r *run) borne(w way, err error, well string) (string, error) {
	if err != nil && w.lenient {
		well = "not so, and gone on with"
	}
	return well, r.tolerate(w, err)
}

// over is why a wait has ended before its time.
func over(ctx context.Context, doing string, found error) error {
	if context.Cause(ctx) == errForwardOver {
		return found
	}
	return fmt.Errorf("%s: %w", doing, context.Cause(ctx))
}

// distinct leaves the first of equals.
func distinct(texts ...string) (all []string) {
	for _, text := range texts {
		if text != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// involved are the roles that the rotation is about: in place they are one. An
// emergency that switches roles knows no previous credential.
func (r *run) involved(w way) []string {
	former := r.state.Previous.User
	if w.alternate {
		former = r.roles.other(w.credential.User)
	}
	return distinct(w.credential.User, former, w.former.User)
}

// change is when the former password became history, by the database's clock.
func (r *run) change() time.Time {
	if !r.changed.IsZero() {
		return r.changed
	}
	return r.served.RotatedAt
}

// sessionsOf asks for the sessions of roles.
func (r *run) sessionsOf(ctx context.Context, roles []string) ([]secret.Sessions, error) {
	return insistOn(ctx, func(ctx context.Context) ([]secret.Sessions, error) { return r.Sessions.Opened(ctx, roles, r.change()) })
}
