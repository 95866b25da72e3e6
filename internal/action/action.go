// Package action is the program: it reads the inputs, wires a Rotation to the
// real targets, runs the command and tells GitHub and the person what came of it.
package action

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sethvargo/go-githubactions"

	"github.com/pgrotate/pgrotate/internal/report"
	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// Main runs the action with the environment that getenv shows and returns the
// exit code: 0 done or nothing to do; 1 rolled back or committed with unhealthy
// workloads; 2 nothing touched; 3 journal open or busy. All output goes to stdout.
func Main(ctx context.Context, getenv func(string) string, stdout io.Writer) (code int) {
	p := newProgram(getenv, stdout)
	defer p.out.Close()
	defer func() {
		if cause := recover(); cause != nil {
			p.console.annotate("error", "pgrotate stopped by a fault of its own", fmt.Sprintf("%v; run it again, or with `command: resume`", cause))
			_, _ = p.out.Write(debug.Stack())
			code = 3
		}
	}()
	result, meta := p.run(ctx)
	p.publish(result, meta)
	return result.ExitCode()
}

type program struct {
	getenv  func(string) string
	keeper  *secret.Keeper
	out     io.WriteCloser // scrubbed
	console *console
	files   *githubactions.Action // outputs and summary, on GitHub or where their files are set
	config  Config
}

func newProgram(getenv func(string) string, stdout io.Writer) *program {
	var mask func(string)
	onGitHub := getenv("GITHUB_ACTIONS") == "true"
	if onGitHub {
		raw := githubactions.New(githubactions.WithWriter(stdout), githubactions.WithGetenv(getenv))
		mask = raw.AddMask
	}
	p := &program{getenv: getenv, keeper: secret.NewKeeper(mask)}
	p.out = p.keeper.Writer(stdout)
	p.files = githubactions.New(githubactions.WithWriter(p.out), githubactions.WithGetenv(getenv))
	p.console = &console{w: p.out}
	if onGitHub {
		p.console.github = p.files
	}
	return p
}

// run reads the inputs, wires the rotation and performs the command.
func (p *program) run(ctx context.Context) (rotation.Result, report.Meta) {
	began := time.Now()
	in := &inputs{getenv: p.getenv}
	p.config = read(in, p.keeper.Keep)
	wired := p.wire(ctx, in)
	defer wired.close()
	if err := in.invalid(); err != nil {
		return rotation.Result{Status: rotation.StatusRefused, Began: began, Elapsed: time.Since(began), FailedStep: "inputs", Err: err}, p.meta()
	}
	return p.perform(ctx, wired.rotation), p.meta()
}

func (p *program) perform(ctx context.Context, r *rotation.Rotation) rotation.Result {
	switch p.config.Command {
	case "plan":
		return r.Plan(ctx)
	case "resume":
		return r.Resume(ctx)
	}
	return r.Rotate(ctx)
}

func (p *program) meta() report.Meta {
	return report.Meta{
		Secret: p.config.Secret, Strategy: p.config.Strategy, Mode: p.config.Mode, Command: p.config.Command, Scrub: p.keeper.Scrub,
		RunURL: runURL(p.getenv), Version: version(),
	}
}

// runURL is the address of the workflow run, or who runs the program elsewhere.
func runURL(getenv func(string) string) string {
	if id := getenv("GITHUB_RUN_ID"); id != "" {
		return strings.Join([]string{cmp.Or(getenv("GITHUB_SERVER_URL"), "https://github.com"), getenv("GITHUB_REPOSITORY"), "actions/runs", id}, "/")
	}
	host, _ := os.Hostname()
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
}

// version is what `go install` or the release build has written into the binary.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
