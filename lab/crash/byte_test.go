package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/github"
	"github.com/pgrotate/pgrotate/internal/kube"
	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/internal/postgres"
	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// store is a place that a password is written to, by a client that begins anew
// each time and knows nothing of the last one.
type store struct {
	name   string
	writes []string // how the names of those requests begin that write it
	write  func(ctx context.Context, password string) error
	holds  func(password string) (bool, error)
}

// TestAnswerCutAtEveryByte ends the connection after every number of bytes of the
// answer to each write of a password, at each store by itself. The store never says
// that it was refused, which would take a rotation back, and says that it was
// written only where it was; the same write again makes it so. PGROTATE_CRASH=whole
// tries every byte, else some at even distances.
func TestAnswerCutAtEveryByte(t *testing.T) {
	s := newSuite(t)
	for _, open := range []func(*Bench) store{(*Bench).role, (*Bench).served, (*Bench).copied} {
		b := s.bench(t, false)
		if b == nil {
			return
		}
		place := open(b)
		t.Run(place.name, func(t *testing.T) {
			t.Parallel()
			s.cutAtEveryByte(t, b, place)
		})
	}
}

func (s *suite) cutAtEveryByte(t *testing.T, b *Bench, place store) {
	all, said := b.answers(t, place), map[string]int{}
	few := all
	if !s.whole {
		few = evenly(all, 8)
	}
	for i, c := range few {
		said[b.cutShortly(t, place, c, fmt.Sprintf("Cut%dPassword", i))]++
	}
	var f figures
	f.leaked(t, b)
	fmt.Fprintf(os.Stdout, "%s, answer cut at %d of %d bytes: %v, %d leaks in %d texts\n", place.name, len(few), len(all), said, f.leaks, f.texts)
	if n, may := said["not reached"], mayMiss(len(few)); n > may {
		t.Errorf("%d of %d were not reached, %d need not be", n, len(few), may)
	}
}

// answers are all bytes of the answers to the writes of one password.
func (b *Bench) answers(t *testing.T, place store) (all []cut) {
	const password = "FirstPassword"
	b.keep(password)
	b.Proxy.Begin(nil)
	err := place.write(t.Context(), password)
	for _, r := range b.Proxy.End() {
		if slices.ContainsFunc(place.writes, func(kind string) bool { return strings.HasPrefix(r.Name(), kind) }) {
			for n := range r.Answer {
				all = append(all, cut{name: r.Name(), bytes: n})
			}
		}
	}
	if err != nil || len(all) == 0 {
		t.Fatalf("%d bytes: %v", len(all), err)
	}
	return all
}

// cutShortly writes a password with the answer cut, and again with no fault, and
// tells what was said of the first time.
func (b *Bench) cutShortly(t *testing.T, place store, c cut, password string) string {
	b.keep(password)
	reached := b.Proxy.Begin(&proxy.Fault{Name: c.name, Moment: proxy.After, Effect: proxy.Cut, Bytes: c.bytes})
	err := place.write(t.Context(), password)
	b.Proxy.End()
	said := "written"
	if err != nil {
		said = string(rotation.ClassOf(err))
	}
	if !met(reached) {
		said = "not reached"
	}
	held, looked := place.holds(password)
	switch {
	case looked != nil:
		t.Fatal(looked)
	case err == nil && !held:
		t.Errorf("%s after %d bytes: it says that it was written, and it was not", c.name, c.bytes)
	case err != nil && said != string(rotation.Unavailable) && said != string(rotation.Lost):
		t.Errorf("%s after %d bytes: nobody knows what came of it, and it is %q: %v", c.name, c.bytes, said, err)
	}
	if err := place.write(t.Context(), password); err != nil {
		t.Errorf("%s after %d bytes: the second time: %v", c.name, c.bytes, err)
	}
	if held, looked := place.holds(password); looked != nil || !held {
		t.Errorf("%s after %d bytes: the second time has not written it: %v", c.name, c.bytes, looked)
	}
	return said
}

func (b *Bench) role() store {
	return store{name: "PostgreSQL", writes: []string{"postgres ALTER ROLE", "postgres COMMIT"},
		write: func(ctx context.Context, password string) error {
			d, err := postgres.Open(postgres.Config{URL: secret.New(b.through["INPUT_POSTGRES_URL"]), Keep: secret.New})
			if err != nil {
				return err
			}
			if _, _, err := d.Acquire(ctx, b.Name, time.Minute); err != nil {
				return err
			}
			defer d.Release()
			c := secret.Credential{User: b.Name, Password: secret.New(password)}
			if c.Verifier, err = d.Verifier(ctx, c.Password); err != nil {
				return err
			}
			_, err = d.Set(ctx, c)
			return err
		},
		holds: func(password string) (bool, error) { return b.Accepts(b.Name, password) }}
}

func (b *Bench) served() store {
	return store{name: "the served Secret", writes: []string{"kubernetes PATCH secrets/postgres-credentials"},
		write: func(ctx context.Context, password string) error {
			cluster, err := kube.Connect(kube.Config{Kubeconfig: secret.New(b.through["INPUT_KUBECONFIG"]), Namespace: b.Name, Keeper: secret.NewKeeper(nil)})
			if err != nil {
				return err
			}
			mapping, err := kube.ParseMapping([]string{"username=username", "password=password"})
			if err != nil {
				return err
			}
			s := cluster.Served(fixture.Secret, mapping, kube.Refuse)
			now, err := s.Look(ctx)
			if err != nil {
				return err
			}
			c, err := s.Render(now.Credential.Keys, secret.Credential{User: b.Name, Password: secret.New(password)})
			if err != nil {
				return err
			}
			return s.Set(ctx, c, secret.Stamp{RotationID: "cut", Epoch: now.Epoch, RotatedAt: time.Now()})
		},
		holds: func(password string) (bool, error) {
			now, err := b.Look()
			if err != nil {
				return false, err
			}
			return now.Served() == password, nil
		}}
}

func (b *Bench) copied() store {
	return store{name: "GitHub", writes: []string{"github PUT "},
		write: func(ctx context.Context, password string) error {
			client, err := github.New(github.Config{Token: secret.New(b.Token), BaseURL: b.through["GITHUB_API_URL"]})
			if err != nil {
				return err
			}
			targets, err := github.ParseTargets([]string{fixture.GitHubName}, fixture.Repository)
			if err != nil {
				return err
			}
			copied, err := client.Secret(targets[0], "password")
			if err != nil {
				return err
			}
			return copied.Set(ctx, secret.Credential{User: b.Name, Password: secret.New(password)}, func(context.Context) error { return nil })
		},
		holds: func(password string) (bool, error) {
			held, ok := b.GitHub.Secret(fixture.Repository, fixture.GitHubName)
			if !ok {
				return false, errors.New("GitHub has no such secret")
			}
			return held == password, nil
		}}
}
