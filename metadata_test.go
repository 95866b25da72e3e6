package main

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/pgrotate/pgrotate/internal/report"
	"github.com/pgrotate/pgrotate/internal/rotation"
)

// metadata is what action.yml says.
// https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax
type metadata struct {
	Inputs map[string]struct {
		Description string  `json:"description"`
		Required    *bool   `json:"required"`
		Default     *string `json:"default"`
	} `json:"inputs"`
	Outputs map[string]struct {
		Description string `json:"description"`
	} `json:"outputs"`
	Runs map[string]string `json:"runs"`
}

func readMetadata(t *testing.T) metadata {
	text, err := os.ReadFile("action.yml")
	if err != nil {
		t.Fatal(err)
	}
	var m metadata
	if err := yaml.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEveryInputIsDescribedAndOptional(t *testing.T) {
	for name, input := range readMetadata(t).Inputs {
		if len(input.Description) < 20 || input.Required == nil || *input.Required || input.Default == nil {
			t.Errorf("input %q needs a description, `required: false` and a default", name)
		}
	}
}

// The runner warns about inputs that action.yml does not name, and hands over
// nothing of those that the program alone knows.
func TestTheProgramReadsTheInputsOfTheMetadata(t *testing.T) {
	declared := slices.Sorted(maps.Keys(readMetadata(t).Inputs))
	if diff := cmp.Diff(declared, slices.Sorted(maps.Keys(inputsRead(t)))); diff != "" {
		t.Errorf("inputs of action.yml (-) and of internal/action (+):\n%s", diff)
	}
}

func TestTheOutputsAreThoseOfTheMetadata(t *testing.T) {
	want := []string{"report"} // added by the caller
	for _, output := range report.Outputs(rotation.Result{}) {
		want = append(want, output.Name)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(readMetadata(t).Outputs))); diff != "" {
		t.Errorf("outputs of the program (-) and of action.yml (+):\n%s", diff)
	}
}

func TestTheImageIsBuiltFromTheDockerfile(t *testing.T) {
	want := map[string]string{"using": "docker", "image": "Dockerfile", "post-entrypoint": "/pgrotate-resume"}
	if diff := cmp.Diff(want, readMetadata(t).Runs); diff != "" {
		t.Error(diff)
	}
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(dockerfile), "ln -s pgrotate /image"+want["post-entrypoint"]+"\n") {
		t.Errorf("the image does not have the program under the name %s", want["post-entrypoint"])
	}
}

// inputsRead finds the names that internal/action asks its inputs for: literals
// given to a method of `in`, or beside `in`, and the table of those that are refused.
func inputsRead(t *testing.T) map[string]bool {
	names := map[string]bool{}
	for path, file := range sources(t) {
		if filepath.ToSlash(filepath.Dir(path)) != "internal/action" {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				note(names, named(n))
			case *ast.FuncDecl:
				if n.Name.Name == "later" {
					noteTable(names, n)
				}
			}
			return true
		})
	}
	return names
}

// noteTable notes the first word of each line of a table.
func noteTable(names map[string]bool, table ast.Node) {
	ast.Inspect(table, func(n ast.Node) bool {
		if line, ok := n.(*ast.CompositeLit); ok && len(line.Elts) > 0 {
			note(names, literal(line.Elts[0]))
		}
		return true
	})
}

func note(names map[string]bool, name string) {
	if name != "" {
		names[name] = true
	}
}

// named returns the input that a call names.
func named(call *ast.CallExpr) string {
	if len(call.Args) == 0 {
		return ""
	}
	if sel, ok := call.Fun.(*ast.SelectorExpr); ok && isIn(sel.X) && !strings.HasPrefix(sel.Sel.Name, "getenv") {
		return literal(call.Args[0])
	}
	if len(call.Args) > 1 && isIn(call.Args[0]) {
		return literal(call.Args[1])
	}
	return ""
}

func isIn(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "in"
}

func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	text, err := strconv.Unquote(lit.Value)
	if err != nil {
		return ""
	}
	return text
}
