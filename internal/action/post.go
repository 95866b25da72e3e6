package action

import (
	"context"
	"path/filepath"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// The runner starts the post step when the job ends, whatever happened to the
// main step: it was cancelled, timed out or killed. The action's metadata can
// name a path for it and no arguments, so the image holds the program under a
// second name. It resumes the rotation that the main step began and did not end.
// https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax#runspost-entrypoint
const postName = "pgrotate-resume"

// stateName is how the main step tells the post step its rotation; the runner
// shows it to the post step with STATE_ before it.
const stateName = "ROTATION"

func isPostStep(args []string) bool { return filepath.Base(args[0]) == postName }

// announce leaves the rotation to the post step, before the first change. Where
// that cannot be written a later `resume` still finds it in the journal.
func (p *program) announce(id string) { p.saveState(id) }

// forget takes it back when the rotation has ended: the post step then asks no
// server again.
func (p *program) forget(result rotation.Result) {
	if result.RotationID != "" && result.Status != rotation.StatusUnfinished {
		p.saveState("")
	}
}

func (p *program) saveState(id string) {
	if p.getenv("GITHUB_STATE") == "" || p.only != "" {
		return
	}
	p.guarded("state for the post step", func() { p.files.SaveState(stateName, oneLine(id)) })
}

// postStep resumes the main step's rotation and no other one; where that was to be
// rolled back, it is. It says so when there is nothing to do.
func (p *program) postStep(ctx context.Context) int {
	p.only = p.getenv("STATE_" + stateName)
	if reason := p.idle(&inputs{getenv: p.getenv}); reason != "" {
		p.console.line("Nothing to resume: %s.", reason)
		return 0
	}
	result, meta := p.run(ctx, nil)
	if result.Status == rotation.StatusUnchanged {
		p.console.line("Nothing to resume: %s.", result.Reason)
		return 0
	}
	p.publish(result, meta)
	return result.ExitCode()
}

// idle tells why the post step has nothing to do, without asking any server;
// empty: it has.
func (p *program) idle(in *inputs) string {
	switch {
	case in.text("command") == "plan":
		return "`command: plan` changes nothing"
	case p.only == "":
		return "the main step left no rotation open"
	case in.text("on-failure") == "stop":
		return "rotation " + p.only + " is left to a later run, as `on-failure: stop` asks"
	}
	return ""
}
