package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pgrotate/pgrotate"

// imports is the direction of the dependencies: each package of the product,
// the packages of ours that it may import, and the client libraries that are
// its own. The standard library is open to all.
var imports = map[string]struct{ ours, theirs []string }{
	".":                 {ours: []string{"internal/action"}},
	"internal/action":   {ours: []string{"internal/report", "internal/rotation", "internal/secret", "internal/postgres", "internal/kube", "internal/github"}, theirs: []string{"github.com/sethvargo/go-githubactions"}},
	"internal/report":   {ours: []string{"internal/rotation"}},
	"internal/rotation": {ours: []string{"internal/secret"}},
	"internal/secret":   {},
	"internal/postgres": {ours: []string{"internal/secret"}, theirs: []string{"github.com/jackc/pgx/v5", "golang.org/x/text"}},
	"internal/kube":     {ours: []string{"internal/secret"}, theirs: []string{"k8s.io/client-go", "k8s.io/api", "k8s.io/apimachinery", "k8s.io/klog/v2", "sigs.k8s.io", "github.com/go-logr/logr", "github.com/jackc/pgx/v5"}},
	"internal/github":   {ours: []string{"internal/secret"}, theirs: []string{"github.com/google/go-github/v62", "golang.org/x/crypto", "golang.org/x/sync", "github.com/gofri/go-github-ratelimit/v2", "github.com/hashicorp/go-retryablehttp"}},
}

// testSupport is never linked into the product.
var testSupport = []string{"internal/labtest", "internal/labtest/fixture", "internal/github/githubtest", "internal/rotation/rotationtest", "internal/rotation/model", "internal/rotation/mutants"}

// reveals lists the files that may open a secret, and why.
var reveals = map[string]string{
	"internal/secret/value.go":      "declares it, and compares in constant time",
	"internal/rotation/journal.go":  "writes the pending and the previous credential into the journal",
	"internal/postgres/config.go":   "parses the administrator's connection",
	"internal/postgres/connect.go":  "hands the password to the login",
	"internal/postgres/verifier.go": "computes the verifier, and judges one",
	"internal/postgres/alter.go":    "puts the verifier into ALTER ROLE",
	"internal/kube/kubeconfig.go":   "parses the kubeconfig",
	"internal/kube/write.go":        "writes the served Secret",
	"internal/kube/journal.go":      "writes the journal",
	"internal/kube/render.go":       "edits the keys of the served Secret in place",
	"internal/kube/unmapped.go":     "looks for the password in keys that are not mapped",
	"internal/github/client.go":     "hands the token to the API client",
	"internal/github/seal.go":       "seals a value to GitHub's public key",
}

func TestImportsPointOneWay(t *testing.T) {
	for path, file := range sources(t) {
		folder := filepath.ToSlash(filepath.Dir(path))
		allowed, known := imports[folder]
		if !known {
			t.Errorf("%s: the package is not in the table of imports", path)
			continue
		}
		for _, spec := range file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			switch rest, ours := strings.CutPrefix(name, module+"/"); {
			case ours && !slices.Contains(allowed.ours, rest):
				t.Errorf("%s imports %s", path, name)
			case !ours && strings.Contains(strings.Split(name, "/")[0], ".") && !within(name, allowed.theirs):
				t.Errorf("%s imports %s, which is not a library of this package", path, name)
			}
		}
	}
}

func TestOnlyTheRevealTableOpensSecrets(t *testing.T) {
	used := map[string]bool{}
	for path, file := range sources(t) {
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Reveal" {
				used[path] = true
			}
			return true
		})
	}
	for path := range used {
		if reveals[path] == "" {
			t.Errorf("%s opens secrets and is not in the Reveal table", path)
		}
	}
	for path := range reveals {
		if !used[path] {
			t.Errorf("%s is in the Reveal table and opens no secret", path)
		}
	}
}

func within(name string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool { return name == root || strings.HasPrefix(name, root+"/") })
}

// sources parses every file of the product, tests and test support left out.
func sources(t *testing.T) map[string]*ast.File {
	files := map[string]*ast.File{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path = filepath.ToSlash(path)
		if d.IsDir() && (path == "lab" || d.Name() == "testdata" || strings.HasPrefix(path, ".git") || slices.Contains(testSupport, path)) {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			files[path] = file
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
