package action

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/github"
	"github.com/pgrotate/pgrotate/internal/kube"
	"github.com/pgrotate/pgrotate/internal/postgres"
	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// The targets know nothing of rotation; here is where they fit.
var (
	_ rotation.Lock     = (*postgres.Database)(nil)
	_ rotation.Database = (*postgres.Database)(nil)
	_ rotation.Lockout  = (*postgres.Database)(nil)
	_ rotation.Journal  = (*kube.Journal)(nil)
	_ rotation.Served   = (*kube.Served)(nil)
	_ rotation.Workload = (*kube.Workload)(nil)
	_ rotation.Copy     = (*kube.Copy)(nil)
	_ rotation.Readable = (*kube.Copy)(nil)
	_ rotation.Copy     = (*github.Secret)(nil)

	_ rotation.Standbys   = (*postgres.Database)(nil)
	_ rotation.Sessions   = (*postgres.Database)(nil)
	_ rotation.Addresses  = (*kube.Addresses)(nil)
	_ rotation.Refusals   = serverLog{}
	_ rotation.Health     = (*kube.Health)(nil)
	_ rotation.Twins      = (*postgres.Database)(nil)
	_ rotation.Retirement = (*postgres.Database)(nil)
)

// targets are the clients of one run, made of its inputs.
type targets struct {
	cluster  *kube.Cluster
	tunnel   *kube.Tunnel // nil: PostgreSQL is reached directly
	mapping  kube.Mapping
	served   *kube.Served
	copies   []*kube.Copy
	health   *kube.Health // nil: nothing is asked for
	database *postgres.Database
	secrets  []rotation.Copy
	nameless []string // of the secrets: no user name goes with them
}

// connect makes the clients. It sends nothing; what is wrong with an input is
// left in in.
func (p *program) connect(in *inputs) *targets {
	c, t := p.config, &targets{}
	var err error
	t.cluster, err = kube.Connect(kube.Config{Kubeconfig: c.Kubeconfig, Path: p.getenv("KUBECONFIG"), Context: c.KubeContext, Namespace: c.Namespace, Keeper: p.keeper})
	in.blame("kubeconfig", err)
	if err != nil {
		t.cluster = kube.Offline(c.Namespace)
	}
	t.mapping, err = kube.ParseMapping(c.SecretKeys)
	in.blame("kubernetes-secret-keys", err)
	p.connectCluster(in, t)
	p.connectDatabase(in, t)
	p.connectGitHub(in, t)
	return t
}

func (p *program) connectCluster(in *inputs, t *targets) {
	c := p.config
	t.served = t.cluster.Served(c.Secret, t.mapping, kube.Reaction(c.Managed))
	var err error
	t.copies, err = t.served.Copies(c.Copies)
	in.blame("kubernetes-secret-copies", err)
	in.blame("workloads", t.cluster.CheckList(c.listed()))
	if c.HealthSelector != "" {
		t.health, err = t.cluster.Health(c.HealthSelector)
		in.blame("health-selector", err)
	}
	if c.PostgresPod != "" {
		t.tunnel, err = t.cluster.Tunnel(c.PostgresPod)
		in.blame("postgres-pod", err)
	}
}

func (p *program) connectDatabase(in *inputs, t *targets) {
	c := p.config
	if c.PostgresURL.IsZero() && c.PostgresPod == "" {
		return // said already
	}
	config := postgres.Config{URL: c.PostgresURL, Password: c.PostgresPassword, CA: c.PostgresCA, Tunnel: c.PostgresPod != "", Replicas: c.Replicas, Keep: p.keeper.Keep}
	if t.tunnel != nil {
		config.Dial = t.tunnel.Dial
	}
	var err error
	t.database, err = postgres.Open(config)
	in.blame("postgres-url", err)
}

func (p *program) connectGitHub(in *inputs, t *targets) {
	c := p.config
	wanted, err := github.ParseTargets(c.GitHubSecrets, c.Repository)
	in.blame("github-secrets", err)
	t.nameless = p.namesBeside(in, wanted)
	if len(wanted) == 0 || c.GitHubToken.IsZero() {
		return
	}
	client, err := github.New(github.Config{Token: c.GitHubToken, BaseURL: c.GitHubAPIURL})
	if err != nil {
		in.blame("github-api-url", err)
		return
	}
	for _, target := range wanted {
		key, err := onlyKey(t.mapping, kube.Property(target.Property))
		if err != nil {
			in.blame("github-secrets", err)
			continue
		}
		s, err := client.Secret(target, key)
		in.blame("github-secrets", err)
		t.secrets = append(t.secrets, s)
	}
}

// namesBeside returns the secrets that would keep the former user name where it
// changes. It refuses them when the strategy switches users, and tells which ones
// a job can read torn.
func (p *program) namesBeside(in *inputs, wanted []github.Target) (unnamed []string) {
	nameless, pairs := github.Unnamed(wanted)
	for _, target := range nameless {
		unnamed = append(unnamed, target.String())
	}
	if p.config.Strategy != rotation.Alternate || p.config.Command == "resume" {
		return unnamed // what is open was begun with inputs that were checked
	}
	for _, target := range nameless {
		in.wrong("github-secrets", "add a secret with the property `username` in the same place, or let one secret hold the `url`; or use `strategy: in-place`",
			"secret %q takes the %s without the user name, which `strategy: alternate` changes", target, target.Property)
	}
	for _, target := range pairs {
		p.config.Notes = append(p.config.Notes, fmt.Sprintf("GitHub secret %s and the user name beside it are written one after the other: a job that starts between has the password of the other user. One secret with the property `url` cannot be read torn", target))
	}
	return unnamed
}

// onlyKey returns the key of the served Secret whose bytes a url, dsn or
// verifier copy takes; empty where none is mapped.
func onlyKey(m kube.Mapping, property kube.Property) (string, error) {
	keys := m.Keys(property)
	if len(keys) > 1 && property != kube.Username && property != kube.Password {
		return "", fmt.Errorf("which %s to take is not clear: `kubernetes-secret-keys` maps %s to it", property, strings.Join(keys, " and "))
	}
	return strings.Join(keys[:min(1, len(keys))], ""), nil
}

// wired is a rotation with what has to be closed after it.
type wired struct {
	rotation *rotation.Rotation
	close    func()
}

// wire makes the rotation of the inputs. Discovery is all that it asks the
// cluster; a failure of it is left to the rotation, which tells it together
// with everything else that speaks against a change.
func (p *program) wire(ctx context.Context, in *inputs) wired {
	t := p.connect(in)
	if in.invalid() != nil {
		return wired{close: func() {}}
	}
	c := p.config
	r := &rotation.Rotation{
		Mode: rotation.Mode(c.Mode), Strategy: c.Strategy,
		Lock: t.database, Database: t.database, Lockout: t.database, Twins: t.database, Retirement: t.database,
		Journal: t.cluster.Journal(c.Secret), Served: t.served,
		RemoteCopies: t.secrets, Nameless: t.nameless, Role: c.Role, AlternateRole: c.AlternateRole,
		Keep: p.keeper.Keep, Scrub: p.keeper.Scrub, Generate: func() secret.Value { return p.keeper.Generate(c.PasswordLength) },
		NewID: newID, Now: time.Now, Observe: p.console.Observe, Announce: p.announce,
		Request: rotation.Request{ID: p.getenv("GITHUB_RUN_ID"), Owner: runURL(p.getenv), Reason: c.Reason, Only: p.only},
		Policy: rotation.Policy{
			GoBack: c.OnFailure == "rollback", MinimumAge: c.MinimumAge, MaximumAge: c.MaximumAge, KeepPrevious: c.KeepPrevious, RetireAfter: c.RetireAfter,
			LockTimeout: c.LockTimeout, Timeout: c.Timeout, RolloutTimeout: c.RolloutTimeout,
			Repair: c.OnDrift == "repair", TerminateStale: c.TerminateSessions == "stale",
		},
	}
	for _, target := range t.copies {
		r.ClusterCopies = append(r.ClusterCopies, target)
	}
	p.bystanders(t, r)
	p.discover(ctx, t, r)
	return wired{rotation: r, close: func() {
		t.database.Release()
		if t.tunnel != nil {
			t.tunnel.Close()
		}
	}}
}

func (p *program) discover(ctx context.Context, t *targets, r *rotation.Rotation) {
	c := p.config
	if slices.Equal(c.Workloads, []string{"none"}) {
		return
	}
	d := kube.Discovery{Secrets: []string{c.Secret}, Listed: c.listed(), Mapping: t.mapping, DatabasePod: c.PostgresPod}
	r.Discovered = len(d.Listed) == 0
	for _, target := range t.copies {
		d.Secrets = append(d.Secrets, target.Name())
	}
	if r.Discovered && c.PostgresPod == "" {
		d.DatabaseAddress = func(ctx context.Context) (string, error) { return serverAddress(ctx, t.database) }
	}
	found, err := t.cluster.Workloads(ctx, d, kube.Options{
		RolloutTimeout: c.RolloutTimeout, LogLines: c.LogLines, PrintLogs: c.PrintLogs, HealthCommand: c.Health, Unhealthy: unhealthy(c.Mode),
	})
	r.Undiscovered = err
	for _, w := range found {
		r.Workloads = append(r.Workloads, w)
	}
}

// serverAddress asks again where a server does not answer for a moment: without it
// nobody is restarted.
func serverAddress(ctx context.Context, d *postgres.Database) (address string, err error) {
	for began := time.Now(); ; {
		address, err = d.ServerAddress(ctx)
		if err == nil || rotation.ClassOf(err) != rotation.Unavailable || ctx.Err() != nil || time.Since(began) > 3*time.Second {
			return address, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// unhealthy is what becomes of workloads that are unhealthy before the start. An
// emergency does not wait until somebody has mended them.
func unhealthy(mode string) kube.Reaction {
	if mode == "emergency" {
		return kube.Warn
	}
	return kube.Refuse
}

// newID is unique, sorts by time and fits into a label.
func newID() string {
	return time.Now().UTC().Format("20060102-150405-") + strings.ToLower(rand.Text()[:6])
}
