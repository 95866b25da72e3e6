package action_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pgrotate/pgrotate/internal/action"
	"github.com/pgrotate/pgrotate/internal/kube"
	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// situation is one in which no rotation may begin, or in which whoever asks for
// one has to be told something. $ROLE, $TWIN, $ROTATOR, $NAMESPACE, $ELSEWHERE,
// $PASSWORD and $SERVER in its texts stand for those of the platform.
type situation struct {
	name   string
	set    func(*stage) // makes it so, and has it undone; nil: the inputs do
	inputs []string     // NAME=value; an empty value unsets the input
	want   string       // regular expression of the one error, or of a warning; empty: there need be none
	remedy string       // regular expression of its hint; empty: the error says it all
	never  string       // regular expression that no hint and no warning matches; empty: none is ruled out
	warned bool         // a plan warns and ends well
}

// fewest is how many situations there are at least.
const fewest = 60

// TestBadSituations makes every situation for real and runs `rotate` in it, and in
// every third `plan`, whose preflight is the same. Both end with exit code 2 and
// one finding that says what is wrong and what to do, and neither has written
// anything anywhere. Those of a group share a platform, which is put back after each.
func TestBadSituations(t *testing.T) {
	lab := labtest.Open(t)
	silence(t, lab)
	count := 0
	for name, group := range map[string][]situation{
		"inputs": wrongInputs(), "PostgreSQL": wrongDatabase(), "Secret": wrongSecret(), "owners": owned(), "admission": wrongAdmission(),
		"workloads": wrongWorkloads(), "journal": wrongJournal(), "cluster": wrongCluster(), "GitHub": wrongGitHub(),
	} {
		count += len(group)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			openStage(t, lab).all(group)
		})
	}
	t.Run("rights", func(t *testing.T) {
		t.Parallel()
		st := openStage(t, lab)
		st.all(missingRights(st))
		st.all(noJournal(st))
	})
	t.Logf("%d situations, and one for each right", count)
	if count < fewest {
		t.Errorf("there are %d situations, fewer than %d", count, fewest)
	}
}

// silence has the product turn off client-go's log, as it does once for the whole
// process, before the platforms use client-go.
func silence(t *testing.T, lab labtest.Lab) {
	t.Helper()
	if _, err := kube.Connect(kube.Config{Path: lab.Kubeconfig, Keeper: secret.NewKeeper(nil)}); err != nil {
		t.Fatal(err)
	}
}

// stage is the platform in one situation.
type stage struct {
	*testing.T
	*fixture.Platform
	env   map[string]string // what the program is given
	plans bool              // `plan` is tried beside `rotate`
}

// openStage makes a platform with one workload of each kind, which have no pods, a
// copy in another namespace, and a service account.
func openStage(t *testing.T, lab labtest.Lab) *stage {
	t.Helper()
	made, err := fixture.New(context.Background(), lab)
	t.Cleanup(func() { _ = made.Close() })
	st := &stage{T: t, Platform: made}
	st.must(err)
	st.env, err = made.Inputs()
	st.must(err)
	st.must(made.OpenCreator())
	st.must(made.MakeSecret(made.Elsewhere(), fixture.Copy))
	st.must(made.Deploy("shop", 0))
	st.create(statefulSet("store", nil), daemonSet("agent", nil))
	return st
}

// on is the stage in a test of its own, with inputs of its own.
func (st *stage) on(t *testing.T) *stage {
	return &stage{T: t, Platform: st.Platform, env: maps.Clone(st.env), plans: st.plans}
}

func (st *stage) must(err error) {
	st.Helper()
	if err != nil {
		st.Fatal(err)
	}
}

func (st *stage) expand(text string) string {
	server := &platform{Platform: st.Platform}
	return strings.NewReplacer("$ROLE", st.Name, "$NAMESPACE", st.Name, "$TWIN", st.Twin(), "$ROTATOR", st.Rotator,
		"$ELSEWHERE", st.Elsewhere(), "$PASSWORD", st.Password, "$SERVER", server.server()).Replace(text)
}

// give sets inputs.
func (st *stage) give(inputs ...string) {
	for _, line := range inputs {
		name, value, _ := strings.Cut(st.expand(line), "=")
		st.env["INPUT_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = value
	}
}

// all judges every situation of a group: first, between two looks, those that
// only the inputs make, then each of the others by itself.
func (st *stage) all(group []situation) {
	st.untouched(func() {
		for i, s := range group {
			if st.plans = i%3 == 0; s.set == nil {
				st.Run(s.name, func(t *testing.T) { st.on(t).judge(s) })
			}
		}
	})
	for i, s := range group {
		if st.plans = i%3 == 0; s.set != nil {
			st.Run(s.name, func(t *testing.T) {
				st := st.on(t)
				s.set(st)
				st.untouched(func() { st.judge(s) })
			})
		}
	}
}

// untouched fails the test where do has something written.
func (st *stage) untouched(do func()) {
	before, err := st.Look()
	st.must(err)
	do()
	if err := st.Unchanged(before); err != nil {
		st.Error(err)
	}
}

func (st *stage) judge(s situation) {
	st.give(s.inputs...)
	commands := []string{"rotate"}
	switch {
	case s.warned:
		commands = []string{"plan"}
	case st.plans:
		commands = append(commands, "plan")
	}
	if fixed := st.env["INPUT_COMMAND"]; fixed != "" {
		commands = []string{fixed}
	}
	var running sync.WaitGroup
	for _, command := range commands {
		running.Go(func() { st.expect(s, command) })
	}
	running.Wait()
}

// told is what the report of a run says.
type told struct {
	ExitCode int `json:"exit_code"`
	Findings []struct {
		Error string
		Hints []string
	}
	Warnings []string
}

func (st *stage) expect(s situation, command string) {
	code, said, out := st.run(command)
	matches := func(expression, text string) bool {
		return regexp.MustCompile(st.expand(expression)).MatchString(text)
	}
	switch {
	case s.warned:
		warns := func(expression string) bool {
			return expression != "" && slices.ContainsFunc(said.Warnings, func(text string) bool { return matches(expression, text) })
		}
		if code != 0 || warns(s.want) != (s.want != "") || warns(s.never) {
			st.Errorf("%s: exit code %d, warnings %q\n%s", command, code, said.Warnings, out)
		}
		return
	case code != 2 || said.ExitCode != 2 || len(said.Findings) != 1:
		st.Errorf("%s: exit code %d, findings %q\n%s", command, code, said.Findings, out)
		return
	}
	found := said.Findings[0]
	if !matches(s.want, found.Error) || !matches(s.remedy, strings.Join(found.Hints, "\n")) {
		st.Errorf("%s: %q\nremedies %q", command, found.Error, found.Hints)
	}
	if s.never != "" && matches(s.never, strings.Join(found.Hints, "\n")) {
		st.Errorf("%s: a remedy that is none: %q", command, found.Hints)
	}
	if strings.Contains(out, st.Password) || strings.Contains(out, st.Admin) {
		st.Errorf("%s shows a password:\n%s", command, out)
	}
}

// run runs the program in this process.
func (st *stage) run(command string) (code int, said told, out string) {
	report := filepath.Join(st.TempDir(), command+".json")
	env := maps.Clone(st.env)
	env["INPUT_COMMAND"], env["INPUT_REPORT"] = command, report
	var written bytes.Buffer
	code = action.Main(context.Background(), []string{"pgrotate"}, func(name string) string { return env[name] }, &written)
	text, err := os.ReadFile(report)
	if err == nil {
		err = json.Unmarshal(text, &said)
	}
	if err != nil {
		st.Error(err)
	}
	return code, said, written.String()
}
