package act

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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

// Log is what a run has said, line by line.
type Log []Line

// Line is one line of act's log as JSON.
type Line struct {
	Message string `json:"msg"`
	Job     string `json:"job"`     // names of the workflow and the job, of the called ones behind them
	Stage   string `json:"stage"`   // Pre, Main or Post of a step
	Command string `json:"command"` // that a step gave the runner, such as "set-output" or "error"
	Name    string `json:"name"`    // of an output
	Value   string `json:"arg"`     // of an output or another command
	Content string `json:"content"` // of a summary
	Result  string `json:"jobResult"`
}

func readLog(text io.Reader) (log Log, err error) {
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<24) // a summary is one line
	for lines.Scan() {
		var line Line
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			line.Message = lines.Text() // act's own last words are no JSON
		}
		log = append(log, line)
	}
	return log, lines.Err()
}

// Output is what the jobs whose names end in job have set an output to, last.
func (l Log) Output(job, name string) (value string) {
	for _, line := range l {
		if line.Command == "set-output" && line.Name == name && strings.HasSuffix(strings.TrimSpace(line.Job), job) {
			value = line.Value
		}
	}
	return value
}

// Of is what was said in a stage of the steps: Pre, Main or Post.
func (l Log) Of(stage string) Log {
	return slices.DeleteFunc(slices.Clone(l), func(line Line) bool { return line.Stage != stage })
}

// Summaries are all that steps added to the summaries of their jobs.
func (l Log) Summaries() (all string) {
	for _, line := range l {
		all += line.Content
	}
	return all
}

// Results are how the jobs ended, by name.
func (l Log) Results() map[string]string {
	results := map[string]string{}
	for _, line := range l {
		if line.Result != "" {
			results[strings.TrimSpace(line.Job)] = line.Result
		}
	}
	return results
}

// Contains tells whether a message holds a text.
func (l Log) Contains(text string) bool {
	return slices.ContainsFunc(l, func(line Line) bool { return strings.Contains(line.Message, text) })
}

// String is what a reader of the log on GitHub sees. Lines that ask to mask
// something are left out, as they are there.
func (l Log) String() string {
	var shown strings.Builder
	for _, line := range l {
		if line.Command == "add-mask" {
			continue
		}
		fmt.Fprintf(&shown, "%s | %s\n", strings.TrimSpace(line.Job), strings.TrimRight(line.Message, "\n"))
	}
	return shown.String()
}
