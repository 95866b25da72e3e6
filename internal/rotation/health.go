package rotation

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// settling is how long a way that nothing may hold up waits for Health.
const settling = time.Minute

// healthy proves that what Health counts is as ready as before the rotation,
// whoever began that.
func (r *run) healthy(w way) task {
	if r.Health == nil || w.mark == "" {
		return skip
	}
	return r.step("health", func(ctx context.Context) (string, error) {
		return r.borne(w, r.awaitReady(ctx, w), fmt.Sprintf("%s are as ready as before", r.Health))
	})
}

func (r *run) awaitReady(ctx context.Context, w way) error {
	limit := r.Policy.RolloutTimeout
	if w.lenient {
		limit = min(limit, settling)
	}
	for deadline := r.Now().Add(limit); ; {
		now, err := r.readiness(ctx)
		if err != nil {
			return err
		}
		worse := suffers(r.state.Record.Ready, now)
		if len(worse) == 0 {
			return nil
		}
		suffering := &failure{class: Unhealthy, text: fmt.Sprintf("look at %s: not as ready as before: %s", r.Health, strings.Join(worse, ", ")),
			hint: "look at their logs: do they use the credential without being restarted?"}
		if !r.Now().Before(deadline) {
			return suffering
		}
		r.progress("health", r.Health.String(), strings.Join(worse, ", "))
		select {
		case <-ctx.Done():
			return over(ctx, fmt.Sprintf("look at %s", r.Health), suffering)
		case <-time.After(betweenLooks):
		}
	}
}

func (r *run) readiness(ctx context.Context) (map[string]secret.Readiness, error) {
	return insistOn(ctx, r.Health.Ready)
}

// suffers names the owners with fewer ready pods than before. One that was
// scaled down is well when all its pods are ready.
func suffers(before, now map[string]secret.Readiness) (worse []string) {
	for _, owner := range slices.Sorted(maps.Keys(before)) {
		was, is := before[owner], now[owner]
		if is.Ready < was.Ready && (is.Ready < is.Pods || is.Pods == 0) {
			worse = append(worse, fmt.Sprintf("%s has %d of %s ready, had %d", owner, is.Ready, plural(is.Pods, "pod", "pods"), was.Ready))
		}
	}
	return worse
}
