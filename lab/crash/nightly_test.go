package crash

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestNightlyRunsEveryProof compares the tests of `make crash` with what the workflow
// asks it for: go test says nothing of one that no pattern names.
func TestNightlyRunsEveryProof(t *testing.T) {
	workflow, err := os.ReadFile("../../.github/workflows/nightly.yml")
	if err != nil {
		t.Fatal(err)
	}
	var patterns []string
	for _, m := range regexp.MustCompile(`- crash PROOF=(.+)`).FindAllStringSubmatch(string(workflow), -1) {
		patterns = append(patterns, alternatives(m[1])...)
	}
	for _, name := range append(proofs(), append(testsIn(t, "."), testsIn(t, "../leak")...)...) {
		if !named(patterns, name) {
			t.Errorf("%s is run by none of the patterns %q", name, patterns)
		}
	}
}

func TestPatternsNameWhatGoTestRuns(t *testing.T) {
	for name, want := range map[string]bool{"TestA/b": true, "TestA/c": true, "TestA/d": false, "TestB": true, "TestC": false, "TestA/e/f": true, "TestA/e": false} {
		if got := named(alternatives("TestA/(b|c)|TestB|TestA/e/f"), name); got != want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// proofs are the names of what TestNothingIsLost runs.
func proofs() (all []string) {
	s := &suite{}
	for _, p := range s.long() {
		all = append(all, "TestNothingIsLost/"+p.name)
	}
	for _, p := range s.busy() {
		if p.name != "kill" {
			all = append(all, "TestNothingIsLost/busy/"+p.name)
		}
	}
	for _, m := range allModes() { // they are too many for one job
		all = append(all, "TestNothingIsLost/busy/kill/"+m.name)
	}
	return all
}

// testsIn are the other tests of a package.
func testsIn(t *testing.T, folder string) (all []string) {
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no tests in %s: %v", folder, err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, is := d.(*ast.FuncDecl); is && strings.HasPrefix(f.Name.Name, "Test") && f.Name.Name != "TestNothingIsLost" {
				all = append(all, f.Name.Name)
			}
		}
	}
	return all
}

// alternatives are the parts of a pattern between bars that stand in no parentheses,
// as go test takes them.
func alternatives(pattern string) (all []string) {
	depth, from := 0, 0
	for i, r := range pattern {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == '|' && depth == 0:
			all, from = append(all, pattern[from:i]), i+1
		}
	}
	return append(all, pattern[from:])
}

// named tells whether go test runs the whole of a test for one of the patterns.
func named(patterns []string, name string) bool {
	for _, pattern := range patterns {
		parts, elements := strings.Split(name, "/"), strings.Split(pattern, "/")
		all := len(elements) <= len(parts)
		for i := 0; all && i < len(elements); i++ {
			all = regexp.MustCompile(elements[i]).MatchString(strings.ReplaceAll(parts[i], " ", "_"))
		}
		if all {
			return true
		}
	}
	return false
}
