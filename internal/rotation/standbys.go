package rotation

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// replayTime is how long standbys may take: meanwhile new logins with the former
// password are refused at the primary.
const replayTime = time.Minute

// replayed waits until the standbys have the credential. A pod that restarts
// earlier and logs in at one of them would be refused. An emergency restarts at
// once and looks at its end.
func (r *run) replayed(w way) task {
	if w.mark == "" || r.state.Mode == Emergency {
		return skip
	}
	return r.step("standbys", func(ctx context.Context) (string, error) {
		return r.borne(w, r.awaitReplay(ctx, w.credential), "none lags behind")
	})
}

func (r *run) awaitReplay(ctx context.Context, c secret.Credential) error {
	position, err := r.position(ctx)
	if err != nil {
		return err
	}
	limit := min(replayTime, r.Policy.RolloutTimeout)
	for deadline := r.Now().Add(limit); ; {
		lagging, err := r.lagging(ctx, position, c)
		if err != nil || len(lagging) == 0 {
			return err
		}
		if !r.Now().Before(deadline) {
			return late(lagging, fmt.Sprintf("not done after %v", limit))
		}
		r.progress("standbys", "", strings.Join(lagging, "; "))
		select {
		case <-ctx.Done():
			return over(ctx, "wait for the standbys", late(lagging, "not done in time"))
		case <-time.After(betweenLooks):
		}
	}
}

func late(lagging []string, when string) error {
	return &failure{class: Unhealthy, text: fmt.Sprintf("wait until the standbys have the new password: %s: %s", when, strings.Join(lagging, "; ")),
		hint: "pods that log in there would be refused: mend its replication or the way to it, or take it out of `postgres-replicas`; " +
			"a standby that is delayed on purpose (recovery_min_apply_delay) must not be delayed for a rotation"}
}

func (r *run) position(ctx context.Context) (string, error) {
	return insistOn(ctx, r.Standbys.Position)
}

func (r *run) lagging(ctx context.Context, position string, c secret.Credential) ([]string, error) {
	return insistOn(ctx, func(ctx context.Context) ([]string, error) { return r.Standbys.Lagging(ctx, position, c) })
}

// behind warns of standbys at which a compromised password may still open.
func (r *run) behind(ctx context.Context, c secret.Credential) {
	position, err := r.position(ctx)
	var lagging []string
	if err == nil {
		lagging, err = r.lagging(ctx, position, c)
	}
	if err != nil {
		r.warn(fmt.Sprintf("whether the standbys have the new password is not known: %v", err))
	}
	for _, name := range lagging {
		r.warn(fmt.Sprintf("the compromised password may still open the door at a standby: %s", name))
	}
}
