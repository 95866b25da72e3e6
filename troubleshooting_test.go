package main

import (
	"go/ast"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// makers are the functions of the product that make an error, and which of
// their arguments is its text.
var makers = map[string]int{
	"fail": 2, "wrong": 2, // class or input, hint, text
	"no": 0, "unknown": 0, "failed": 0, // the text first
	"altering": 1, "drift": 1, "undo": 0,
	"New": 0, "Errorf": 0, // of the packages errors and fmt
}

// texts are the fields of the error types that hold their text.
var texts = map[string]string{"failure": "text", "Error": "op", "problem": "text"}

// TestEveryErrorHasItsEntry holds the tables of TROUBLESHOOTING.md to the errors
// that the program makes: one that is not explained there fails the test, and so
// does an entry for one that is gone.
func TestEveryErrorHasItsEntry(t *testing.T) {
	made := errorsMade(t)
	if len(made) < 200 {
		t.Fatalf("only %d errors are found in the sources", len(made))
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(made)), slices.Sorted(maps.Keys(explained(t)))); diff != "" {
		t.Errorf("errors of the program (-) and entries of TROUBLESHOOTING.md (+):\n%s", diff)
	}
}

// code is a span of code in Markdown, with the spaces that keep its own backticks apart.
var code = regexp.MustCompile("^(?:``|`) ?(.*?) ?(?:``|`)$")

// explained reads the first cells of the tables; the others say why the error
// comes, and what to do.
func explained(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("TROUBLESHOOTING.md")
	if err != nil {
		t.Fatal(err)
	}
	entries := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "| "), " | ")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		if len(cells) != 3 || cells[1] == "" || cells[2] == "" {
			t.Errorf("an entry has a message, a cause and a remedy: %s", line)
		}
		for _, span := range strings.Split(cells[0], "<br>") {
			parts := code.FindStringSubmatch(span)
			if parts == nil {
				t.Fatalf("%q is not code", span)
			}
			entry := parts[1]
			if entries[entry] {
				t.Errorf("%q has two entries", entry)
			}
			entries[entry] = true
		}
	}
	return entries
}

// errorsMade finds the texts of all errors that the program makes itself, with an
// ellipsis for what is filled in.
func errorsMade(t *testing.T) map[string]bool {
	t.Helper()
	made := map[string]bool{}
	for path, file := range sources(t) {
		if !strings.HasPrefix(filepath.ToSlash(path), "internal/") || strings.HasPrefix(filepath.ToSlash(path), "internal/report/") {
			continue
		}
		for _, decl := range file.Decls {
			ast.Inspect(decl, func(n ast.Node) bool {
				for _, text := range spoken(textOf(n), decl) {
					if strings.Trim(text, "…: ") != "" {
						made[text] = true
					}
				}
				return true
			})
		}
	}
	return made
}

// textOf is the expression of an error's text where n makes one.
func textOf(n ast.Node) ast.Expr {
	switch n := n.(type) {
	case *ast.CallExpr:
		i, ok := makers[calledName(n.Fun)]
		switch {
		case ok && i < len(n.Args):
			return n.Args[i]
		case ok && len(n.Args) == 1: // a closure that has filled in the rest
			return n.Args[0]
		}
	case *ast.CompositeLit:
		field, ok := texts[calledName(n.Type)]
		for _, e := range n.Elts {
			if pair, keyed := e.(*ast.KeyValueExpr); ok && keyed && calledName(pair.Key) == field {
				return pair.Value
			}
		}
	}
	return nil
}

// calledName is the last name of what is called, or of a type.
func calledName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok && e.Sel.Name == "New" && x.Name != "errors" {
			return "" // of a secret, or of a client
		}
		return e.Sel.Name
	}
	return ""
}

var verb = regexp.MustCompile(`%[+#]?[0-9.]*[a-z]`)

// spoken are the texts that an expression can have. A variable is looked up in the
// declaration around it; what cannot be known is an ellipsis.
func spoken(e ast.Expr, around ast.Node) []string {
	switch e := e.(type) {
	case nil:
		return nil
	case *ast.BasicLit:
		if text := literal(e); text != "" {
			return []string{strings.ReplaceAll(verb.ReplaceAllString(text, "…"), "%%", "%")}
		}
	case *ast.BinaryExpr:
		if e.Op != token.ADD {
			break
		}
		var all []string
		for _, left := range spoken(e.X, around) {
			for _, right := range spoken(e.Y, around) {
				all = append(all, left+right)
			}
		}
		return all
	case *ast.CallExpr:
		if calledName(e.Fun) == "Sprintf" {
			return spoken(e.Args[0], around)
		}
	case *ast.Ident:
		if all := assigned(e.Name, around); len(all) > 0 {
			return all
		}
	}
	return []string{"…"}
}

// assigned are the texts that a variable gets in a declaration.
func assigned(name string, around ast.Node) []string {
	var all []string
	ast.Inspect(around, func(n ast.Node) bool {
		a, ok := n.(*ast.AssignStmt)
		if !ok || len(a.Lhs) != len(a.Rhs) {
			return true
		}
		for i, left := range a.Lhs {
			if id, ok := left.(*ast.Ident); ok && id.Name == name {
				all = append(all, spoken(a.Rhs[i], around)...)
			}
		}
		return true
	})
	return all
}
