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
	Steps       []struct {
		Uses string         `json:"uses"`
		With map[string]any `json:"with"`
	} `json:"steps"`
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

// target is a line of .github/rotation-targets.json. The names of the optional
// ones are those of the action's inputs.
type target struct {
	Name        string `json:"name"`
	Environment string `json:"environment"`
	Namespace   string `json:"namespace"`
	Secret      string `json:"secret"`
	Role        string `json:"role"`
	Schedule    string `json:"schedule"`

	Strategy      string `json:"strategy"`
	PostgresPod   string `json:"postgres-pod"`
	Keys          string `json:"kubernetes-secret-keys"`
	Copies        string `json:"kubernetes-secret-copies"`
	Workloads     string `json:"workloads"`
	Health        string `json:"health-command"`
	GitHubSecrets string `json:"github-secrets"`
	RunsOn        string `json:"runs-on"`
}

func readTargets(t *testing.T) []target {
	t.Helper()
	text, err := os.ReadFile(".github/rotation-targets.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Targets []target `json:"targets"`
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		t.Fatalf("rotation-targets.json: %v", err)
	}
	return file.Targets
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
	// environment and strategy are choices of the button.
	want := []string{"github-secrets", "health-command", "kubernetes-secret-copies", "kubernetes-secret-keys", "namespace", "postgres-pod", "role", "runs-on", "secret", "workloads"}
	for file, jobs := range map[string][]string{"rotate-scheduled.yml": {"rotate", "resume", "check"}, "rotate-emergency.yml": {"plan", "rotate"}} {
		for _, name := range jobs {
			caller := readWorkflow(t, workflows+file).Jobs[name]
			fields := map[string]bool{}
			for _, value := range caller.With {
				for _, match := range ofTarget.FindAllStringSubmatch(value, -1) {
					fields[match[1]] = true
				}
			}
			for _, field := range want {
				if !fields[field] {
					t.Errorf("%s, job %s: does not pass %q of the target", file, name, field)
				}
			}
			if file == "rotate-scheduled.yml" && (!fields["environment"] || !fields["strategy"]) {
				t.Errorf("%s, job %s: does not pass environment and strategy of the target", file, name)
			}
		}
	}
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
