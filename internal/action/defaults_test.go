package action

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

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
	p := newProgram(func(string) string { return "" }, io.Discard)
	p.config = Config{Workloads: workloads, Secret: "postgres-credentials"}
	kubeconfig := `{"clusters":[{"name":"c","cluster":{"server":"` + server.URL + `"}}],"contexts":[{"name":"c","context":{"cluster":"c"}}],"current-context":"c"}`
	cluster, err := kube.Connect(kube.Config{Kubeconfig: secret.New(kubeconfig), Namespace: "alfred", Keeper: p.keeper})
	if err != nil {
		t.Fatal(err)
	}
	database, err := postgres.Open(postgres.Config{URL: secret.New("postgres://rotator@127.0.0.1/postgres?sslmode=disable"), Keep: secret.New,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			ask("the database")
			return nil, errors.New("unreachable")
		}})
	if err != nil {
		t.Fatal(err)
	}
	r := &rotation.Rotation{}
	p.discover(t.Context(), &targets{cluster: cluster, database: database}, r)
	if r.Undiscovered == nil {
		t.Fatal("the server refused everything and nothing was said")
	}
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(d.Requests)
	d.Discovered, d.Trouble = r.Discovered, strings.ReplaceAll(r.Undiscovered.Error(), server.URL, "SERVER")
	return d
}
