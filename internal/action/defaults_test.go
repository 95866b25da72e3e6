package action

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/pgrotate/pgrotate/internal/kube"
	"github.com/pgrotate/pgrotate/internal/postgres"
	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// runnerSets is what the runner sets for every action, and what it puts in
// place of the expressions in action.yml.
var runnerSets = map[string]string{"GITHUB_API_URL": "https://github.example/api/v3", "GITHUB_REPOSITORY": "acme/shop"}

// declared are the defaults of action.yml, as the runner hands them over.
func declared(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var metadata struct {
		Inputs map[string]struct{ Default string }
	}
	if err := yaml.Unmarshal(text, &metadata); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for name, input := range metadata.Inputs {
		value := strings.ReplaceAll(input.Default, "${{ github.api_url }}", runnerSets["GITHUB_API_URL"])
		if strings.Contains(value, "${{") {
			t.Errorf("input %q: this test does not know the expression %s", name, value)
		}
		env["INPUT_"+strings.ToUpper(name)] = value
	}
	if len(env) < len(InputNames()) {
		t.Fatalf("action.yml has %d inputs, the program %d", len(env), len(InputNames()))
	}
	return env
}

// readWith reads the inputs from env and what the runner sets.
func readWith(env map[string]string) (Config, []string) {
	in := &inputs{getenv: func(name string) string {
		if value, ok := runnerSets[name]; ok {
			return value
		}
		return env[name]
	}}
	c := read(in, secret.New)
	var problems []string
	for _, p := range in.problems {
		problems = append(problems, p.Error())
	}
	return c, problems
}

// Who runs the program without the action gets the same behaviour.
func TestDefaultsOfTheActionAreThoseOfTheProgram(t *testing.T) {
	byAction, itsProblems := readWith(declared(t))
	byProgram, problems := readWith(nil)
	if diff := cmp.Diff(itsProblems, problems); diff != "" {
		t.Errorf("problems with the defaults of action.yml (-) and with nothing set (+):\n%s", diff)
	}
	if !slices.Equal(byAction.Workloads, []string{"auto"}) || byProgram.Workloads != nil {
		t.Errorf("workloads are %q and %q, want auto and nothing, which TestWorkloadsAutoMeansNothingSet compares", byAction.Workloads, byProgram.Workloads)
	}
	byAction.Workloads = nil
	if diff := cmp.Diff(byAction, byProgram); diff != "" {
		t.Errorf("with the defaults of action.yml (-) and with nothing set (+):\n%s", diff)
	}
}

func TestWorkloadsAutoMeansNothingSet(t *testing.T) {
	auto, unset, listed := discovers(t, []string{"auto"}), discovers(t, nil), discovers(t, []string{"deployment/core"})
	if diff := cmp.Diff(auto, unset); diff != "" {
		t.Errorf("auto (-) and unset (+):\n%s", diff)
	}
	if !auto.Discovered || cmp.Equal(auto, listed) {
		t.Errorf("auto does not discover more than a list: %+v, %+v", auto, listed)
	}
}

// TestNoWorkloadIsFoundWhereTheDatabaseDoesNotAnswer: any of them may be the database
// itself, and the lock may be had a moment later.
func TestNoWorkloadIsFoundWhereTheDatabaseDoesNotAnswer(t *testing.T) {
	for _, mode := range []string{"planned", "emergency"} {
		cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, oneStatefulSet()[path.Base(r.URL.Path)])
		}))
		defer cluster.Close()
		r := discovered(t, Config{Workloads: []string{"auto"}, Secret: "postgres-credentials", Mode: mode}, cluster.URL, func() {})
		if r.Undiscovered == nil || !strings.Contains(r.Undiscovered.Error(), "connect to PostgreSQL as the administrator: ") || len(r.Workloads) > 0 {
			t.Errorf("%s: %v, found %v", mode, r.Undiscovered, r.Workloads)
		}
		listed := discovered(t, Config{Workloads: []string{"statefulset/db"}, Secret: "postgres-credentials", Mode: mode}, cluster.URL, func() {})
		if listed.Undiscovered != nil || len(listed.Workloads) != 1 {
			t.Errorf("%s, listed: %v, found %v", mode, listed.Undiscovered, listed.Workloads)
		}
	}
}

// oneStatefulSet is what an API server answers where there is nothing else.
func oneStatefulSet() map[string]string {
	return map[string]string{
		"deployments": `{"kind":"DeploymentList","apiVersion":"apps/v1"}`,
		"statefulsets": `{"kind":"StatefulSetList","apiVersion":"apps/v1","items":[{"metadata":{"name":"db"},"spec":{"template":{"spec":{"containers":[` +
			`{"name":"db","envFrom":[{"secretRef":{"name":"postgres-credentials"}}]}]}}}}]}`,
		"daemonsets":               `{"kind":"DaemonSetList","apiVersion":"apps/v1"}`,
		"cronjobs":                 `{"kind":"CronJobList","apiVersion":"batch/v1"}`,
		"pods":                     `{"kind":"PodList","apiVersion":"v1"}`,
		"selfsubjectaccessreviews": `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":true}}`,
	}
}

// discovery is what a list of workloads makes the program ask and conclude.
type discovery struct {
	Discovered bool
	Requests   []string // to the API server, and to the database, in no order
	Trouble    string
}

// discovers meets an API server that refuses everything and a database that
// cannot be reached.
func discovers(t *testing.T, workloads []string) discovery {
	t.Helper()
	var mu sync.Mutex
	var d discovery
	ask := func(request string) {
		mu.Lock()
		defer mu.Unlock()
		d.Requests = append(d.Requests, request)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ask(r.Method + " " + r.URL.Path)
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer server.Close()
	r := discovered(t, Config{Workloads: workloads, Secret: "postgres-credentials"}, server.URL, func() { ask("the database") })
	if r.Undiscovered == nil {
		t.Fatal("the server refused everything and nothing was said")
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(d.Requests)
	d.Discovered, d.Trouble = r.Discovered, strings.ReplaceAll(r.Undiscovered.Error(), server.URL, "SERVER")
	return d
}

// discovered is what is found where the database cannot be reached.
func discovered(t *testing.T, c Config, api string, dialled func()) *rotation.Rotation {
	t.Helper()
	p := newProgram(func(string) string { return "" }, io.Discard)
	p.config = c
	kubeconfig := `{"clusters":[{"name":"c","cluster":{"server":"` + api + `"}}],"contexts":[{"name":"c","context":{"cluster":"c"}}],"current-context":"c"}`
	cluster, err := kube.Connect(kube.Config{Kubeconfig: secret.New(kubeconfig), Namespace: "alfred", Keeper: p.keeper})
	if err != nil {
		t.Fatal(err)
	}
	database, err := postgres.Open(postgres.Config{URL: secret.New("postgres://rotator@127.0.0.1/postgres?sslmode=disable"), Keep: secret.New,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			dialled()
			return nil, errors.New("unreachable")
		}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rotation.Rotation{}
	p.discover(t.Context(), &targets{cluster: cluster, database: database}, r)
	return r
}

// TestTheSearchForWorkloadsIsPartOfTheTime has an API server that takes its time to list them.
func TestTheSearchForWorkloadsIsPartOfTheTime(t *testing.T) {
	const slow = 300 * time.Millisecond
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/apis/apps/") {
			time.Sleep(slow)
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	defer cluster.Close()
	inputs := map[string]string{"INPUT_COMMAND": "plan", "INPUT_WORKLOADS": "deployment/core", "INPUT_POSTGRES_URL": "postgres://rotator:x@127.0.0.1:1/shop?sslmode=disable",
		"INPUT_KUBECONFIG": `{"clusters":[{"name":"c","cluster":{"server":"` + cluster.URL + `"}}],"contexts":[{"name":"c","context":{"cluster":"c"}}],"current-context":"c"}`}
	result, _ := newProgram(func(name string) string { return inputs[name] }, io.Discard).run(t.Context(), nil)
	if result.Status != rotation.StatusRefused || result.FailedStep != "look" || result.Elapsed < slow {
		t.Errorf("%s in step %q after %s: %v", result.Status, result.FailedStep, result.Elapsed, result.Err)
	}
}
