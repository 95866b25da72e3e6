package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// probeTimeout is for one replica: several looks fit into the time that
// standbys have.
const probeTimeout = 5 * time.Second

// replica is a standby that clients log in at, by the address that they use.
type replica struct {
	name  string // host:port
	place place
}

// newReplicas reads host:port entries. A replica is reached directly, also where
// the primary is behind a tunnel, and verified as the primary is without one.
func newReplicas(c Config, settings map[string]string) ([]replica, error) {
	direct := Config{CA: c.CA}
	var all []replica
	for _, name := range c.Replicas {
		host, number, err := net.SplitHostPort(name)
		if err != nil || host == "" {
			return nil, fmt.Errorf("read `postgres-replicas`: %q is not host:port", name)
		}
		its := maps.Clone(settings)
		its["host"], its["port"] = host, number
		if _, err := port(its); err != nil || number == "" {
			return nil, fmt.Errorf("read `postgres-replicas`: %q has no port from 1 to 65535", name)
		}
		p, err := newPlace(direct, its)
		if err != nil {
			return nil, err
		}
		all = append(all, replica{name: name, place: p})
	}
	return all, nil
}

// standbys selects the walsenders that physical standbys receive from: no logical
// subscribers, to which roles do not come, no backups and no archives of WAL.
// https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-REPLICATION-VIEW
const standbys = `FROM pg_stat_replication r WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE active_pid = r.pid AND slot_type = 'logical')`

// seen are the standbys by what may be seen of them.
type seen struct{ all, hidden, late int }

// PlanStandbys finds out whether Lagging will be able to tell when standbys and
// replicas have a new password of name. Class "refused": a replica cannot be
// reached, asks for no SCRAM proof on this path, or shows another password of the
// role than the primary: it lags behind, or is a replica of another server.
func (d *Database) PlanStandbys(ctx context.Context, name string) (change string, warnings []string, err error) {
	var n seen
	var asked challenge
	err = d.with(ctx, func(s *session) (err error) {
		if n, warnings, err = s.planStandbys(ctx); err == nil && len(d.replicas) > 0 {
			asked, err = s.probe(ctx, name)
		}
		return err
	})
	if err != nil {
		return "", warnings, err
	}
	err = errors.Join(eachReplica(d.replicas, func(r replica) error { return r.plan(ctx, name, d.base.Database, asked) })...)
	return fmt.Sprintf("waits for %d connected, and for %d listed, before pods restart", n.all-n.hidden, len(d.replicas)), warnings, err
}

func (s *session) planStandbys(ctx context.Context) (n seen, warnings []string, err error) {
	err = s.row(ctx, `SELECT count(*), count(*) FILTER (WHERE state IS NULL), count(*) FILTER (WHERE replay_lag > interval '1 minute') `+standbys, nil, &n.all, &n.hidden, &n.late)
	if err != nil {
		return n, nil, s.failed("look at the standbys", err)
	}
	if n.hidden > 0 {
		warnings = append(warnings, fmt.Sprintf("whether the standbys have a new password will not be seen: role %q may not look at pg_stat_replication; %s",
			s.db.admin.User, s.grantStats()))
	}
	if n.late > 0 {
		warnings = append(warnings, fmt.Sprintf("%d of the standbys are more than a minute behind already: the rotation will wait for them", n.late))
	}
	return n, warnings, nil
}

// plan compares what a replica and the primary show of the role.
func (r replica) plan(ctx context.Context, name, database string, primary challenge) error {
	asked, err := r.probe(ctx, name, database)
	switch {
	case err != nil:
		return no(fmt.Sprintf("ask the replica %q for role %q: %v", r.name, name, err),
			"let this machine reach the replica and its pg_hba.conf let the role in, or take it out of `postgres-replicas`")
	case asked.method != methodSCRAM:
		return no(fmt.Sprintf("ask the replica %q for role %q: it asks for no SCRAM proof on this path, so nothing shows which password it has", r.name, name),
			"let its pg_hba.conf ask for scram-sha-256, or take it out of `postgres-replicas`")
	case primary.method == methodSCRAM && asked.salting != primary.salting:
		return no(fmt.Sprintf("ask the replica %q for role %q: it has another password than the primary", r.name, name),
			"it lags behind, or replicates another server: correct `postgres-replicas`, or wait until it has caught up")
	}
	return nil
}

// Position returns the end of what the primary has written to its WAL: what has
// replayed this has every change that was committed before the call.
func (d *Database) Position(ctx context.Context) (position string, err error) {
	err = d.with(ctx, func(s *session) error {
		if err := s.row(ctx, "SELECT pg_current_wal_lsn()::text", nil, &position); err != nil {
			return s.failed("ask for the position in the WAL", err)
		}
		return nil
	})
	return position, err
}

// Lagging names the connected standbys that have not replayed position, and the
// replicas that do not show c.Verifier before authentication, each with what is
// known of it. A replica that cannot be asked is one of them. A verifier that is
// zero asks no replica.
func (d *Database) Lagging(ctx context.Context, position string, c secret.Credential) (names []string, err error) {
	err = d.with(ctx, func(s *session) error {
		names, err = list(ctx, s, pgx.RowTo[string], `SELECT format('standby %s (replayed %s of %s)',
			concat_ws(' at ', coalesce(nullif(application_name, ''), 'process ' || pid), host(client_addr)), replay_lsn, $1::text) `+standbys+`
			AND state IN ('streaming', 'catchup') AND replay_lsn < ($1::text)::pg_lsn ORDER BY 1`, position)
		if err != nil {
			return s.failed("look at the standbys", err)
		}
		return nil
	})
	wanted, known := parse(c.Verifier)
	if err != nil || !known {
		return names, err
	}
	for _, missing := range eachReplica(d.replicas, func(r replica) string { return r.lacks(ctx, c.User, d.base.Database, wanted) }) {
		if missing != "" {
			names = append(names, missing)
		}
	}
	return names, nil
}

// lacks says what keeps a replica from accepting the wanted verifier; empty: nothing.
func (r replica) lacks(ctx context.Context, name, database string, wanted salting) string {
	asked, err := r.probe(ctx, name, database)
	switch {
	case err != nil:
		return fmt.Sprintf("replica %s (%v)", r.name, err)
	case asked.method != methodSCRAM || asked.salting != wanted:
		return fmt.Sprintf("replica %s (it shows another password)", r.name)
	}
	return ""
}

// probe begins to log in at the replica, as session.probe does at the primary.
func (r replica) probe(ctx context.Context, name, database string) (challenge, error) {
	ctx, cancel := context.WithTimeout(ctx, min(probeTimeout, r.place.timeout))
	defer cancel()
	return r.place.challenge(ctx, "", name, database)
}

// eachReplica asks all replicas at once.
func eachReplica[A any](replicas []replica, ask func(replica) A) []A {
	answers := make([]A, len(replicas))
	var running sync.WaitGroup
	for i, r := range replicas {
		running.Go(func() { answers[i] = ask(r) })
	}
	running.Wait()
	return answers
}
