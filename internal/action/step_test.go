package action_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pgrotate/pgrotate/internal/action"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// actsAsRunner gives a script its runner.
func actsAsRunner(env *testscript.Env) error {
	r, err := newRunner(env.WorkDir)
	env.Values["runner"] = r
	return err
}

// runnerCommands are those of a script that uses the action as a workflow does:
//
//	step NAME CODE      run the action with the inputs of the script's environment; it ends with this exit code
//	post NAME CODE      run its post step, with the state that the steps have left
//	hidden VALUE...     nothing that the last step has shown holds a value, in no encoding
//
// A step writes what the runner makes of it to NAME.log, NAME.annotations,
// NAME.outputs, NAME.state and NAME.summary, and fails where the runner would complain.
func runnerCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){"step": stepOf("pgrotate"), "post": stepOf("pgrotate-resume"), "hidden": hidden}
}

func stepOf(program string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		r := ts.Value("runner").(*runner)
		r.log, r.annotations, r.raw = nil, nil, ""
		env, err := r.environment(givenInputs(ts), contextOf(ts))
		ts.Check(err)
		path, err := lookPath(ts.Getenv("PATH"), program)
		ts.Check(err)
		cmd := exec.Command(path)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr, cmd.Dir, cmd.Env = &stdout, &stderr, ts.Getenv("WORK"), append(env, "PATH="+ts.Getenv("PATH"))
		_ = cmd.Run() // its exit code is what counts
		ts.Check(r.finish(stdout.String(), stderr.String()))
		keep(ts, r, args[0])
		if code := strconv.Itoa(cmd.ProcessState.ExitCode()); code != args[1] {
			ts.Fatalf("exit code %s:\n%s", code, strings.Join(r.log, "\n"))
		}
	}
}

// givenInputs are those that the script has set, by the names that a workflow uses.
func givenInputs(ts *testscript.TestScript) map[string]string {
	given := map[string]string{}
	for _, name := range action.InputNames() {
		given[name] = ts.Getenv("INPUT_" + strings.ReplaceAll(strings.ToUpper(name), "-", "_"))
	}
	return given
}

// contextOf is the part of the github context that the program reads; a scenario
// has its own server.
func contextOf(ts *testscript.TestScript) map[string]string {
	known := map[string]string{"API_URL": "https://github.example/api/v3", "SERVER_URL": "https://github.example", "REPOSITORY": "acme/shop", "RUN_ID": "8123456789"}
	for name := range known {
		if set := ts.Getenv("GITHUB_" + name); set != "" {
			known[name] = set
		}
	}
	return known
}

func keep(ts *testscript.TestScript, r *runner, name string) {
	for kind, text := range map[string]string{
		"log": strings.Join(r.log, "\n") + "\n", "annotations": strings.Join(r.annotations, "\n") + "\n", "summary": r.summary,
		"outputs": sorted(r.outputs), "state": sorted(r.state),
	} {
		ts.Check(os.WriteFile(ts.MkAbs(name+"."+kind), []byte(text), 0o644))
	}
}

func sorted(pairs map[string]string) string {
	var lines strings.Builder
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		fmt.Fprintf(&lines, "%s=%s\n", name, pairs[name])
	}
	return lines.String()
}

// hidden looks at what the runner shows, and at what the program itself has
// written: it must not need the runner's masks. Only the commands that make
// these may hold the value.
func hidden(ts *testscript.TestScript, neg bool, args []string) {
	r := ts.Value("runner").(*runner)
	keeper := secret.NewKeeper(nil)
	for _, value := range args {
		keeper.Keep(value)
	}
	for place, text := range map[string]string{"the run": r.shown(), "the program's own output": r.raw} {
		if shows := keeper.Scrub(text) != text; shows != neg {
			ts.Fatalf("%s shows one of the values: %v", place, shows)
		}
	}
}
