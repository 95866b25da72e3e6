// Package rehearsal rotates the platform's password with the real program, as
// the action would, proves what was so before and what is so after, and measures it.
package rehearsal

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/rollouts"
)

// Rehearsal is one rotation of the platform.
type Rehearsal struct {
	Lab    labtest.Lab
	Source string // the checkout that the program is built from, where Program is empty
	// Program is the path of one that is built already.
	Program string
	Folder  string // for what is built and written
	// Strategy of the rotation; empty: in-place.
	Strategy string
	Out      io.Writer // shows the program's output and the proofs
}

// repository and name are where GitHub holds a copy of the password.
const (
	repository = "acme/shop"
	name       = "DATABASE_PASSWORD"
	userName   = "DATABASE_USER" // where roles alternate
)

// Run builds the program, rotates and measures. An error means that something
// is not as a rotation promises.
func (r Rehearsal) Run(ctx context.Context) (Figures, error) {
	path, err := r.build(ctx)
	if err != nil {
		return Figures{}, err
	}
	w, err := newWitness(r.Lab)
	if err != nil {
		return Figures{}, err
	}
	before, err := w.look(ctx)
	if err != nil {
		return Figures{}, err
	}
	r.say("before", before.describe()...)
	slowest, err := rollouts.Watch(ctx, w.cluster, r.Lab.Namespace)
	if err != nil {
		return Figures{}, err
	}
	figures, err := r.rotate(ctx, path)
	figures.Slowest = slowest()
	if err != nil {
		return Figures{}, err
	}
	after, err := w.look(ctx)
	if err != nil {
		return Figures{}, err
	}
	r.say("after", after.describe()...)
	if err := w.compare(ctx, before, after, r.Strategy == "alternate"); err != nil {
		return Figures{}, err
	}
	return r.measure(figures, path, after.refused[len(before.refused):])
}

func (r Rehearsal) build(ctx context.Context) (path string, err error) {
	if r.Program != "" {
		return r.Program, nil
	}
	return program.Build(ctx, r.Source, r.Folder)
}

// rotate runs the program with inputs as the runner sets them and returns what is
// seen of it from outside.
func (r Rehearsal) rotate(ctx context.Context, path string) (Figures, error) {
	environment, err := r.environment()
	if err != nil {
		return Figures{}, err
	}
	cmd := exec.CommandContext(ctx, path)
	cmd.Env, cmd.Stdout, cmd.Stderr = environment, r.Out, r.Out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return Figures{}, fmt.Errorf("rotate: %w", err)
	}
	peak := program.WatchMemory(cmd.Process.Pid)
	err = cmd.Wait()
	f := Figures{Total: time.Since(began), Memory: peak()}
	if err != nil {
		return f, fmt.Errorf("rotate: %w", err)
	}
	return f, nil
}

func (r Rehearsal) environment() ([]string, error) {
	kubeconfig, err := os.ReadFile(r.Lab.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	user, password, err := administrator(r.Lab.PostgresURL)
	if err != nil {
		return nil, err
	}
	return []string{
		"INPUT_COMMAND=rotate", "INPUT_KUBECONFIG=" + string(kubeconfig), "INPUT_NAMESPACE=" + r.Lab.Namespace,
		"INPUT_POSTGRES-URL=postgres://" + user + "@localhost/postgres?sslmode=require", "INPUT_POSTGRES-PASSWORD=" + password,
		"INPUT_POSTGRES-POD=" + r.Lab.PostgresPod, "INPUT_HEALTH-COMMAND=/healthcheck",
		"INPUT_GITHUB-TOKEN=" + r.Lab.GitHubToken, "INPUT_GITHUB-SECRETS=" + r.secrets(), "INPUT_STRATEGY=" + r.Strategy, "INPUT_RETIRE-AFTER=" + r.retireAfter(),
		"INPUT_REASON=a rehearsal in the lab", "INPUT_REPORT=" + r.report(), "INPUT_ROLLOUT-TIMEOUT=1m", "INPUT_TIMEOUT=5m",
		"GITHUB_API_URL=" + r.Lab.GitHubURL, "GITHUB_REPOSITORY=" + repository,
	}, nil
}

// secrets take the user name, too, where it changes.
func (r Rehearsal) secrets() string {
	all := name + "\n@production " + name
	if r.Strategy == "alternate" {
		all += "\n" + userName + "=username\n@production " + userName + "=username"
	}
	return all
}

// retireAfter lets a rotation that switches roles close the former one itself.
func (r Rehearsal) retireAfter() string {
	if r.Strategy == "alternate" {
		return "0s"
	}
	return ""
}

func (r Rehearsal) report() string { return filepath.Join(r.Folder, "report.json") }

func (r Rehearsal) say(when string, facts ...string) {
	fmt.Fprintf(r.Out, "\n%s the rotation:\n", when)
	for _, fact := range facts {
		fmt.Fprintf(r.Out, "  %s\n", fact)
	}
	fmt.Fprintln(r.Out)
}

// measure adds what the report tells and what the services have seen.
func (r Rehearsal) measure(f Figures, path string, refused []time.Time) (Figures, error) {
	told, err := program.ReadReport(r.report())
	if err != nil {
		return Figures{}, err
	}
	f.Preflight, f.Window = told.Preflight, told.Window
	f.Refused, f.Seen = len(refused), labtest.Window(refused)
	f.Image, err = compressed(path)
	return f, err
}
