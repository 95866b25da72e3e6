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
// exit code: 0 done or nothing to do; 1 rolled back unasked, committed with
// unhealthy workloads, or a finding of a check; 2 nothing touched; 3 journal open
// or busy. All output goes to stdout. args is the program's name and nothing else: under the name
// pgrotate-resume it is the action's post step, see post.go.
func Main(ctx context.Context, args []string, getenv func(string) string, stdout io.Writer) (code int) {
	unprotected := secret.ProtectProcess()
	p := newProgram(getenv, stdout)
	defer p.out.Close()
	if unprotected != nil {
		// Told and gone on with: a compromised password is worse than a process that root can dump.
		p.console.annotate("warning", "pgrotate", unprotected.Error())
	}
	defer func() {
		if cause := recover(); cause != nil {
			p.console.annotate("error", "pgrotate stopped by a fault of its own", fmt.Sprintf("%v; run it again, or with `command: resume`", cause))
			_, _ = p.out.Write(debug.Stack())
			code = 3
		}
	}()
	if isPostStep(args) {
		return p.postStep(ctx)
	}
	result, meta := p.run(ctx, args[1:])
	p.forget(result)
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
	only    string // the rotation that the post step resumes; empty: this is the main step
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
	p.console = &console{w: p.out, scrub: p.keeper.Scrub}
	if onGitHub {
		p.console.github = p.files
	}
	return p
}

// run reads the inputs, wires the rotation and performs the command.
func (p *program) run(ctx context.Context, arguments []string) (rotation.Result, report.Meta) {
	began := time.Now()
	in := &inputs{getenv: p.getenv}
	in.refuse(arguments)
	p.config = read(in, p.keeper.Keep)
	if p.only != "" && p.config.Command != "rollback" {
		p.config.resume()
	}
	wired := p.wire(ctx, in)
	defer wired.close()
	if err := in.invalid(); err != nil {
		return rotation.Result{Status: rotation.StatusRefused, Began: began, Elapsed: time.Since(began), FailedStep: "inputs", Err: err}, p.meta()
	}
	result := p.perform(ctx, wired.rotation)
	result.Began, result.Elapsed = began, time.Since(began) // the search for the workloads included
	result.Warnings = append(result.Warnings, p.config.Notes...)
	return result, p.meta()
}

func (p *program) perform(ctx context.Context, r *rotation.Rotation) rotation.Result {
	switch p.config.Command {
	case "plan":
		return r.Plan(ctx)
	case "resume":
		return r.Resume(ctx)
	case "rollback":
		return r.Rollback(ctx)
	case "check":
		return r.Check(ctx)
	}
	return r.Rotate(ctx)
}

func (p *program) meta() report.Meta {
	return report.Meta{
		Secret: p.config.Secret, Strategy: p.config.Strategy, Mode: p.config.Mode, Command: p.config.Command, Post: p.only != "", Scrub: p.keeper.Scrub,
		RunURL: runURL(p.getenv), Version: version(), MinimumAge: p.config.MinimumAge,
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
