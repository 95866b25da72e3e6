package action

import (
	"context"
	"time"

	"github.com/pgrotate/pgrotate/internal/kube"
	"github.com/pgrotate/pgrotate/internal/postgres"
	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// bystanders wires what a rotation looks at besides the places of the credential.
func (p *program) bystanders(t *targets, r *rotation.Rotation) {
	secrets := []string{p.config.Secret}
	for _, target := range t.copies {
		secrets = append(secrets, target.Name())
	}
	r.Standbys, r.Sessions, r.Addresses = t.database, t.database, t.cluster.Addresses(secrets)
	if t.health != nil {
		r.Health = t.health
	}
	if t.tunnel != nil {
		r.Refusals = serverLog{t.tunnel, t.database}
	}
}

// serverLog is the log of a server that runs in a pod.
type serverLog struct {
	pod    *kube.Tunnel
	server *postgres.Database
}

// Refused counts in it the logins that were refused.
func (l serverLog) Refused(ctx context.Context, roles []string, since time.Time) (found []secret.Refused, whole bool, err error) {
	lines, whole, err := l.pod.Log(ctx, since)
	if err != nil {
		return nil, false, err
	}
	found, err = l.server.Refused(ctx, lines, whole, roles)
	return found, whole, err
}
