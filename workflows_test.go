package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// workflow is the part of a workflow file that the tests judge.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
type workflow struct {
	On          triggers        `json:"true"` // `on`, as YAML 1.1 reads it
	Permissions *map[string]any `json:"permissions"`
	Jobs        map[string]job  `json:"jobs"`
}

type triggers struct {
	Call     call `json:"workflow_call"`
	Dispatch call `json:"workflow_dispatch"`
}

type call struct {
	Inputs map[string]struct {
		Type    string   `json:"type"`
		Default any      `json:"default"`
		Options []string `json:"options"`
	} `json:"inputs"`
	Outputs map[string]struct {
		Value string `json:"value"`
	} `json:"outputs"`
}

type job struct {
	Uses        string            `json:"uses"`
	With        map[string]string `json:"with"`
	Outputs     map[string]string `json:"outputs"`
	Timeout     any               `json:"timeout-minutes"`
	Permissions *map[string]any   `json:"permissions"`
	Steps       []step            `json:"steps"`
}

type step struct {
	ID   string            `json:"id"`
	Uses string            `json:"uses"`
	With map[string]any    `json:"with"`
	Env  map[string]string `json:"env"`
}

const workflows = ".github/workflows/"

func readWorkflow(t *testing.T, path string) workflow {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var w workflow
	if err := yaml.Unmarshal(text, &w); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return w
}

// byEnvironment are the inputs that rotate.yml takes from secrets.
var byEnvironment = map[string]string{
	"postgres-url": "ADMIN_DATABASE_URL", "postgres-password": "ADMIN_DATABASE_PASSWORD", "postgres-ca": "DATABASE_CA",
	"kubeconfig": "KUBECONFIG_BASE64", "github-token": "SECRETS_WRITER",
}

// notPassed are the inputs that rotate.yml leaves to the action, and why.
var notPassed = map[string]string{
	"github-api-url": "the runner knows it",
	"report":         "the job has no workspace to keep a file in; the output of this name holds the same",
}

func TestTheReusableWorkflowPassesEveryInputOfTheAction(t *testing.T) {
	rotate := readWorkflow(t, workflows+"rotate.yml")
	passed := rotate.Jobs["rotate"].Steps[0].With
	want := map[string]any{}
	for name, input := range readMetadata(t).Inputs {
		switch secret, ours := byEnvironment[name], rotate.On.Call.Inputs[name]; {
		case notPassed[name] != "":
		case secret != "":
			want[name] = "${{ secrets." + secret + " }}"
		default:
			want[name] = "${{ inputs." + name + " }}"
			if ours.Type != "string" || ours.Default != *input.Default {
				t.Errorf("input %q has type %s and default %q, the action %q", name, ours.Type, ours.Default, *input.Default)
			}
		}
	}
	if diff := cmp.Diff(want, passed); diff != "" {
		t.Errorf("what rotate.yml should pass (-) and passes (+):\n%s", diff)
	}
}

func TestTheReusableWorkflowHandsOnEveryOutputOfTheAction(t *testing.T) {
	rotate := readWorkflow(t, workflows+"rotate.yml")
	for name := range readMetadata(t).Outputs {
		if got, want := rotate.Jobs["rotate"].Outputs[name], "${{ steps.pgrotate.outputs."+name+" }}"; got != want {
			t.Errorf("output %q of the job is %q, want %q", name, got, want)
		}
		if got, want := rotate.On.Call.Outputs[name].Value, "${{ jobs.rotate.outputs."+name+" }}"; got != want {
			t.Errorf("output %q of the workflow is %q, want %q", name, got, want)
		}
	}
}

// target is a line of .github/rotation-targets.json.
type target struct {
	Name        string `json:"name"`
	Environment string `json:"environment"`
	Namespace   string `json:"namespace"`
	Secret      string `json:"secret"`
	Role        string `json:"role"`
	Schedule    string `json:"schedule"`
}

func readTargets(t *testing.T) []target {
	t.Helper()
	var file struct {
		Targets []map[string]string `json:"targets"`
	}
	text, err := os.ReadFile(".github/rotation-targets.json")
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		t.Fatalf("rotation-targets.json: %v", err)
	}
	fields := targetFields(t)
	var targets []target
	for _, one := range file.Targets {
		for name := range one {
			if !slices.Contains(fields, name) {
				t.Errorf("target %q: %q is no field", one["name"], name)
			}
		}
		targets = append(targets, target{one["name"], one["environment"], one["namespace"], one["secret"], one["role"], one["schedule"]})
	}
	return targets
}

// ofTheRun are the inputs of rotate.yml that no target has, and why.
var ofTheRun = map[string]string{
	"command": "each job has its own", "mode": "the button's", "reason": "of this run",
	"minimum-age": "the schedule's", "maximum-age": "the schedule's",
	"on-drift": "whoever repairs has looked first", "job-summary": "the next action stands there",
}

// byOtherNames are the fields of a target that are called otherwise than the input.
var byOtherNames = map[string]string{"kubernetes-secret": "secret", "postgres-role": "role"}

// targetFields are the fields that a target may have.
func targetFields(t *testing.T) []string {
	t.Helper()
	fields := []string{"name", "schedule"}
	for input := range readWorkflow(t, workflows+"rotate.yml").On.Call.Inputs {
		switch field := byOtherNames[input]; {
		case ofTheRun[input] != "":
		case field != "":
			fields = append(fields, field)
		default:
			fields = append(fields, input)
		}
	}
	slices.Sort(fields)
	return fields
}

// What is no field is refused by name, so that a slip is not a setting that is missing.
func TestTheFieldsOfATargetAreKnown(t *testing.T) {
	want := targetFields(t)
	for file, job := range map[string]string{"rotate-scheduled.yml": "targets", "rotate-emergency.yml": "target"} {
		steps := readWorkflow(t, workflows+file).Jobs[job].Steps
		read := steps[slices.IndexFunc(steps, func(s step) bool { return s.ID == "read" })]
		got := slices.Sorted(slices.Values(strings.Fields(read.Env["REQUIRED"] + " " + read.Env["OPTIONAL"])))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("fields of a target (-) and those that %s knows (+):\n%s", file, diff)
		}
	}
	text, err := os.ReadFile("docs/targets.md")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`.*?) \\|").FindAllSubmatch(text, -1) {
		for _, name := range regexp.MustCompile("`([a-z-]+)`").FindAllSubmatch(row[1], -1) {
			told = append(told, string(name[1]))
		}
	}
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(told))); diff != "" {
		t.Errorf("fields of a target (-) and those of docs/targets.md (+):\n%s", diff)
	}
}

func TestTheTargetsAreComplete(t *testing.T) {
	named := map[string]bool{}
	for _, one := range readTargets(t) {
		if named[one.Name] {
			t.Errorf("target %q stands there twice", one.Name)
		}
		named[one.Name] = true
		if slices.Contains([]string{one.Name, one.Environment, one.Namespace, one.Secret, one.Role}, "") {
			t.Errorf("target %q needs name, environment, namespace, secret and role", one.Name)
		}
		if one.Schedule != "monthly" && one.Schedule != "quarterly" {
			t.Errorf("target %q: schedule %q is neither monthly nor quarterly", one.Name, one.Schedule)
		}
	}
}

func TestTheEmergencyButtonOffersTheTargets(t *testing.T) {
	var names []string
	for _, one := range readTargets(t) {
		names = append(names, one.Name)
	}
	button := readWorkflow(t, workflows+"rotate-emergency.yml").On.Dispatch.Inputs["target"]
	if diff := cmp.Diff(names, button.Options); diff != "" {
		t.Errorf("targets (-) and options of the button (+):\n%s", diff)
	}
}

// ofTarget finds the fields of a target that a workflow passes on.
var ofTarget = regexp.MustCompile(`(?:matrix\.target|with\))\.([a-z-]+)`)

// A field that one of the callers forgot would make `resume` another rotation
// than the one that `rotate` left open.
func TestEveryCallerPassesTheWholeTarget(t *testing.T) {
	ofTheButton := []string{"environment", "strategy"}
	for file, jobs := range map[string][]string{"rotate-scheduled.yml": {"rotate", "resume", "check"}, "rotate-emergency.yml": {"plan", "rotate"}} {
		for _, name := range jobs {
			passed := fieldsPassed(readWorkflow(t, workflows+file).Jobs[name])
			for _, field := range targetFields(t) {
				chosen := file == "rotate-emergency.yml" && slices.Contains(ofTheButton, field)
				if field != "name" && field != "schedule" && !chosen && !passed[field] {
					t.Errorf("%s, job %s: does not pass %q of the target", file, name, field)
				}
			}
		}
	}
}

// fieldsPassed are the fields of a target that a job passes to the input that
// means the same.
func fieldsPassed(caller job) map[string]bool {
	fields := map[string]bool{}
	for input, value := range caller.With {
		for _, match := range ofTarget.FindAllStringSubmatch(value, -1) {
			if match[1] == input || match[1] == byOtherNames[input] {
				fields[match[1]] = true
			}
		}
	}
	return fields
}

// pinned is a `uses:` by commit, with the version beside it.
var pinned = regexp.MustCompile(`^uses: ([\w./-]+)@([0-9a-f]{40}) # (v[\d.]+)$`)

// unpinned are the actions that need no commit: those of this repository.
var unpinned = regexp.MustCompile(`^uses: (\./\S*|pgrotate/pgrotate@v1 # .*)`)

func TestEveryActionIsPinnedByItsCommit(t *testing.T) {
	commits := map[string]string{}
	for _, path := range workflowFiles(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "- ")
			if !strings.HasPrefix(line, "uses: ") || unpinned.MatchString(line) {
				continue
			}
			match := pinned.FindStringSubmatch(line)
			if match == nil {
				t.Errorf("%s: %q is not pinned by a commit with its version", path, line)
				continue
			}
			owner := strings.Join(strings.Split(match[1], "/")[:2], "/")
			if before := commits[owner]; before != "" && before != match[2]+match[3] {
				t.Errorf("%s: %s has another commit elsewhere", path, owner)
			}
			commits[owner] = match[2] + match[3]
		}
	}
	if len(commits) < 3 {
		t.Errorf("found %d pinned actions only", len(commits))
	}
}

// A job without a limit runs six hours; one without permissions of its own has
// none here.
func TestEveryWorkflowBeginsWithNoPermissionAndEveryJobEnds(t *testing.T) {
	for _, path := range workflowFiles(t) {
		w := readWorkflow(t, path)
		if w.Permissions == nil || len(*w.Permissions) > 0 {
			t.Errorf("%s: does not begin with `permissions: {}`", path)
		}
		for name, one := range w.Jobs {
			if one.Uses == "" && one.Timeout == nil {
				t.Errorf("%s, job %s: has no timeout-minutes", path, name)
			}
			if checksOut(one) && one.Permissions == nil {
				t.Errorf("%s, job %s: may not read what it checks out", path, name)
			}
		}
	}
}

func checksOut(one job) bool {
	for _, step := range one.Steps {
		if strings.HasPrefix(step.Uses, "actions/checkout@") {
			return true
		}
	}
	return false
}

func workflowFiles(t *testing.T) []string {
	paths, err := filepath.Glob(workflows + "*.yml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no workflow was found: %v", err)
	}
	return paths
}

func TestWhatIsNotPassedIsAnInput(t *testing.T) {
	inputs := readMetadata(t).Inputs
	for _, name := range slices.Concat(slices.Collect(maps.Keys(notPassed)), slices.Collect(maps.Keys(byEnvironment))) {
		if _, ok := inputs[name]; !ok {
			t.Errorf("%q is no input of the action", name)
		}
	}
}
