package act

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// HandOver gives the state that the running action has saved to its post step:
// GitHub's runner does it for all actions, act for those in JavaScript only. Both
// read command files of one format when a step has ended; this copies the file of
// states, with their prefix, to the one of environment variables.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
func (r Runner) HandOver(ctx context.Context) error {
	job, _, err := r.containers(ctx)
	if err != nil {
		return err
	}
	_, err = r.Engine.Docker(ctx, nil, "exec", "--workdir", "/var/run/act/workflow", job,
		"sh", "-c", "sed 's/^ROTATION<</STATE_&/' statecmd.txt >> envs.txt")
	return err
}

// KillAction kills the container of the running action.
func (r Runner) KillAction(ctx context.Context) error {
	_, action, err := r.containers(ctx)
	if err != nil {
		return err
	}
	_, err = r.Engine.Docker(ctx, nil, "kill", action)
	return err
}

// containers finds the container of the only job that runs, and the one of its action.
func (r Runner) containers(ctx context.Context) (job, action string, err error) {
	list, err := r.Engine.Docker(ctx, nil, "ps", "--format", "{{.ID}} {{.Image}}")
	if err != nil {
		return "", "", err
	}
	for line := range strings.Lines(list) {
		id, image, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case image == runner && job == "":
			job = id
		case image != runner && action == "":
			action = id
		default:
			return "", "", fmt.Errorf("find the container of the action: more than one job runs:\n%s", list)
		}
	}
	if job == "" || action == "" {
		return "", "", errors.New("find the container of the action: none runs")
	}
	return job, action, nil
}
