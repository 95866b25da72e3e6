package act

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
)

// Runner runs workflows.
type Runner struct {
	Engine Engine
	Folder string // required; what act keeps
	// Actions are folders by "owner/repository@ref", for what workflows use of
	// other repositories.
	Actions map[string]string
}

// Call is one run of a workflow.
type Call struct {
	Repository string            // required; folder
	Workflow   string            // required; name of the file in .github/workflows
	Event      string            // required; its name
	Payload    any               // of the event; nil: empty
	Job        string            // with those that it needs; empty: all
	Secrets    map[string]string // of the repository and of every environment
	Variables  map[string]string // of the repository
	// Environment is set for all jobs: GITHUB_API_URL, GITHUB_RUN_ID.
	Environment map[string]string
}

// Running is a run that was started.
type Running struct {
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
	err  error // how it ended, once done is closed
}

// Start starts a run. It ends with this process.
func (r Runner) Start(ctx context.Context, c Call) (*Running, error) {
	payload, err := r.payload(c.Payload)
	if err != nil {
		return nil, err
	}
	running := &Running{
		cmd:  exec.CommandContext(ctx, r.Engine.Programs.act(), r.arguments(c, payload)...),
		done: make(chan struct{}),
	}
	cmd := running.cmd
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Repository, &running.log, &running.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.Folder, "DOCKER_HOST=" + r.Engine.Address()}
	for name, value := range c.Secrets {
		cmd.Env = append(cmd.Env, name+"="+value) // not an argument, which everybody sees
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start act: %w", err)
	}
	go func() {
		running.err = cmd.Wait()
		close(running.done)
	}()
	return running, nil
}

func (r Runner) arguments(c Call, payload string) []string {
	args := []string{
		c.Event, "--workflows", filepath.Join(".github/workflows", c.Workflow), "--eventpath", payload, "--json",
		"--platform", "ubuntu-latest=" + runner, "--network", "host", "--pull=false", "--rm",
		"--no-cache-server", "--container-daemon-socket", "-", "--action-cache-path", filepath.Join(r.Folder, "actions"),
	}
	if c.Job != "" {
		args = append(args, "--job", c.Job)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Secrets)) {
		args = append(args, "--secret", name)
	}
	for flag, values := range map[string]map[string]string{
		"--var": c.Variables, "--env": c.Environment, "--local-repository": r.Actions,
	} {
		for name, value := range values {
			args = append(args, flag, name+"="+value)
		}
	}
	return args
}

func (r Runner) payload(payload any) (string, error) {
	if payload == nil {
		payload = struct{}{}
	}
	file, err := os.CreateTemp(r.Folder, "event-*.json")
	if err != nil {
		return "", fmt.Errorf("write the event: %w", err)
	}
	defer file.Close()
	return file.Name(), json.NewEncoder(file).Encode(payload)
}

// Cancel does what the button on GitHub does.
func (r *Running) Cancel() error { return r.cmd.Process.Signal(os.Interrupt) }

// Kill ends the runner at once. Its containers go on.
func (r *Running) Kill() error { return r.cmd.Process.Kill() }

// Done is closed when the run has ended.
func (r *Running) Done() <-chan struct{} { return r.done }

// Wait returns the log when the run has ended, and whether it succeeded.
func (r *Running) Wait() (log Log, success bool, err error) {
	<-r.done
	if exit := (*exec.ExitError)(nil); r.err != nil && !errors.As(r.err, &exit) {
		return nil, false, fmt.Errorf("run act: %w", r.err)
	}
	log, err = readLog(&r.log)
	return log, r.err == nil, err
}
