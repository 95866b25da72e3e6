// Package mutants holds mistakes in the state machine of package rotation, and
// proves that its tests notice each of them.
package mutants

import (
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// go test ./internal/rotation/mutants -v -timeout 2h -args -every=1
var every = flag.Int("every", 0, "try one of so many mutants; 0: only see that each is about a line that is there")

var about = flag.String("about", "", "of them only those with this in their names")

// mutant is one mistake.
type mutant struct {
	name, file string
	is, was    string
}

// read parses the list: blocks of a name, a file, lines with - and lines with +.
func read(t *testing.T) []mutant {
	text, err := os.ReadFile("list.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []mutant
	for _, block := range strings.Split(strings.TrimSpace(string(text)), "\n\n") {
		if !strings.HasPrefix(block, "#") {
			all = append(all, parse(block))
		}
	}
	return all
}

func parse(block string) (m mutant) {
	for i, line := range strings.Split(block, "\n") {
		switch {
		case i == 0:
			m.name = line
		case i == 1:
			m.file = line
		case strings.HasPrefix(line, "-"):
			m.was += "\n" + line[1:]
		case strings.HasPrefix(line, "+"):
			m.is += "\n" + line[1:]
		}
	}
	m.was, m.is = strings.TrimPrefix(m.was, "\n"), strings.TrimPrefix(m.is, "\n")
	return m
}

// source returns the file with the mistake in it.
func (m mutant) source() (string, error) {
	text, err := os.ReadFile(filepath.Join("..", m.file))
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), m.was); m.was == "" || n != 1 {
		return "", fmt.Errorf("its lines stand %d times in %s", n, m.file)
	}
	return strings.Replace(string(text), m.was, m.is, 1), nil
}

func TestEveryMutantIsAboutALineThatIsThere(t *testing.T) {
	all := read(t)
	for _, m := range all {
		if _, err := m.source(); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	if len(all) < 30 {
		t.Errorf("only %d mutants", len(all))
	}
}

// TestEveryMutantCompiles sees at once what would otherwise be found one mutant at
// a time: code that has changed since.
func TestEveryMutantCompiles(t *testing.T) {
	fset := token.NewFileSet()
	files, imports := sources(t, fset), imported(t, fset)
	for _, m := range read(t) {
		text, err := m.source()
		if err != nil {
			continue // told by another test
		}
		mistaken := maps.Clone(files)
		if mistaken[m.file], err = parser.ParseFile(fset, m.file, text, parser.SkipObjectResolution); err == nil {
			_, err = (&types.Config{Importer: imports}).Check("rotation", fset, slices.Collect(maps.Values(mistaken)), nil)
		}
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

// sources are the files of package rotation.
func sources(t *testing.T, fset *token.FileSet) map[string]*ast.File {
	names, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		if files[filepath.Base(name)], err = parser.ParseFile(fset, name, nil, parser.SkipObjectResolution); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// imported reads what package rotation imports as the compiler has left it.
func imported(t *testing.T, fset *token.FileSet) types.Importer {
	list := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", "..")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	exported := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, file, _ := strings.Cut(strings.TrimSpace(line), " "); file != "" {
			exported[path] = file
		}
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exported[path]) })
}

func TestMutantsAreKilled(t *testing.T) {
	tried, all := 0, read(t)
	if *every == 1 {
		if out, err := tested(t); err != nil {
			t.Fatalf("the tests are red without a mistake:\n%s", out)
		}
	}
	for i, m := range all {
		if *every > 0 && i%*every == 0 && strings.Contains(m.name, *about) {
			tried++
			t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) { m.kill(t) })
		}
	}
	t.Logf("%d of %d mutants tried", tried, len(all))
}

// kill runs the tests of package rotation with the mistake in place of the file.
func (m mutant) kill(t *testing.T) {
	text, err := m.source()
	if err != nil {
		t.Fatal(err)
	}
	out, err := tested(t, "-overlay", overlay(t, m.file, text))
	switch red := failures(out); {
	case err == nil:
		t.Errorf("it survives")
	case strings.Contains(out, "[build failed]"):
		t.Errorf("it does not compile:\n%s", out)
	case len(red) == 0:
		t.Errorf("no test has failed because of it:\n%s", out)
	default:
		t.Logf("killed by %s", strings.Join(red, ", "))
	}
}

// tested runs the tests of package rotation.
func tested(t *testing.T, flags ...string) (out string, err error) {
	all := append(append([]string{"test"}, flags...), "-vet=off", "-failfast", "-count=1", "..", "-args", "-pairs=sample")
	text, err := exec.CommandContext(t.Context(), "go", all...).CombinedOutput()
	return string(text), err
}

// overlay tells the go command to read another file in place of name.
// https://pkg.go.dev/cmd/go#hdr-Build_and_test_caching
func overlay(t *testing.T, name, text string) string {
	here, err := filepath.Abs(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	there, list := filepath.Join(folder, name), filepath.Join(folder, "overlay.json")
	plan, err := json.Marshal(map[string]map[string]string{"Replace": {here: there}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{there: text, list: string(plan)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// failures names the tests that went red.
func failures(out string) (names []string) {
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "--- FAIL: "); ok {
			names = append(names, strings.Fields(rest)[0])
		}
	}
	return names
}
