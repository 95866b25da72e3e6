package act

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/debian"
)

// TestTheTargetsAreRead runs what the scheduled and the emergency workflow read
// their targets with.
func TestTheTargetsAreRead(t *testing.T) {
	labtest.Open(t)
	programs := debian.Packages{Files: map[string]string{"jq": "/usr/bin/jq"}, Say: t.Logf}
	if len(programs.Missing()) > 0 {
		check(t, programs.Start(t.Context()))
	}
	const whole = `"name": "a", "environment": "e", "namespace": "n", "secret": "s", "role": "r", "schedule": "monthly"`
	const scheduled, button = "rotate-scheduled.yml", "rotate-emergency.yml"
	for _, one := range []struct{ workflow, targets, output, told string }{
		{scheduled, `{` + whole + `}`, `"minimum":"27d","maximum":"41d"}]`, ``},
		{scheduled, `{` + whole + `, "health-comand": "/x"}`, ``, `::error file=.github/rotation-targets.json::.github/rotation-targets.json: target "a": "health-comand" is no field`},
		{scheduled, `{` + whole + `, "log-lines": 3}`, ``, `target "a": "log-lines" is no text`},
		{scheduled, `{` + whole + `, "timeout-minutes": "1h"}`, ``, `target "a": timeout-minutes "1h" is no number of minutes`},
		{scheduled, `{` + whole + `}, {` + whole + `}`, ``, `2 targets are called "a"`},
		{scheduled, `{"name": "a", "namespace": "", "schedule": "weekly"}`, ``, `target "a": "namespace" is missing`},
		{scheduled, `{"name": "a", "namespace": "", "schedule": "weekly"}`, ``, `target "a": schedule "weekly" is neither monthly nor quarterly`},
		{scheduled, ``, ``, `it has 0 targets`},
		{scheduled, `{`, ``, `is no list of targets, jq says why`},
		{button, `{` + whole + `}`, `"role":"r"`, ``},
		{button, `{` + whole + `, "health-comand": "/x"}`, `"role":"r"`, `::warning file=.github/rotation-targets.json::target "a": "health-comand" is no field`},
		{button, `{"name": "a", "namespace": "n", "secret": "s"}`, ``, `target "a": "role" is missing`},
		{button, `{"name": "b"}`, ``, `0 targets are called "a"`},
		{button, `{`, ``, `is no list of targets, jq says why`},
	} {
		t.Run(fmt.Sprintf("%s reads [%s]", one.workflow, one.targets), func(t *testing.T) {
			output, told := readTargets(t, one.workflow, `{"targets": [`+one.targets+`]}`)
			if !strings.Contains(output, one.output) || (one.output == "") != (output == "") {
				t.Errorf("the output is %q, want %q in it", output, one.output)
			}
			if !strings.Contains(told, one.told) || (one.told == "") != (told == "") {
				t.Errorf("told was %q, want %q in it", told, one.told)
			}
		})
	}
}

// readTargets runs the step `read` of a workflow where the file of targets has
// that text. It returns the step's outputs, which are empty when it failed, and
// what it printed.
func readTargets(t *testing.T, workflow, targets string) (outputs, told string) {
	t.Helper()
	step := readStep(t, workflow)
	folder := t.TempDir()
	check(t, os.Mkdir(filepath.Join(folder, ".github"), 0o755))
	check(t, os.WriteFile(filepath.Join(folder, ".github/rotation-targets.json"), []byte(targets), 0o644))
	kept := filepath.Join(folder, "outputs")
	cmd := exec.CommandContext(t.Context(), "bash", "-e", "-c", step.Run)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "GITHUB_OUTPUT="+kept)
	for name, value := range step.Env {
		cmd.Env = append(cmd.Env, name+"="+strings.ReplaceAll(value, "${{ inputs.target }}", "a"))
	}
	printed, failed := cmd.Output()
	text, err := os.ReadFile(kept)
	if (failed == nil) != (err == nil) {
		t.Errorf("the step ended with %v, its outputs with %v", failed, err)
	}
	return string(text), string(printed)
}

type scripted struct {
	ID  string            `json:"id"`
	Run string            `json:"run"`
	Env map[string]string `json:"env"`
}

// readStep finds the step called read.
func readStep(t *testing.T, workflow string) scripted {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", workflows, workflow))
	check(t, err)
	var file struct {
		Jobs map[string]struct {
			Steps []scripted `json:"steps"`
		} `json:"jobs"`
	}
	check(t, yaml.Unmarshal(text, &file))
	for _, job := range file.Jobs {
		for _, step := range job.Steps {
			if step.ID == "read" {
				return step
			}
		}
	}
	t.Fatalf("%s reads no targets", workflow)
	return scripted{}
}
