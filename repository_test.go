package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// issueForm is a form for a new issue. A form that cannot be parsed is not
// offered, without a word.
// https://docs.github.com/en/communities/using-templates-to-encourage-useful-issues-and-pull-requests/syntax-for-issue-forms
type issueForm struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Labels      []string `json:"labels"`
	Body        []struct {
		Type        string          `json:"type"`
		ID          string          `json:"id"`
		Attributes  map[string]any  `json:"attributes"`
		Validations map[string]bool `json:"validations"`
	} `json:"body"`
}

// chooser is what stands beside the forms.
type chooser struct {
	Blank bool `json:"blank_issues_enabled"`
	Links []struct {
		Name  string `json:"name"`
		URL   string `json:"url"`
		About string `json:"about"`
	} `json:"contact_links"`
}

// dependabot is the part of dependabot.yml that is used here.
// https://docs.github.com/en/code-security/dependabot/working-with-dependabot/dependabot-options-reference
type dependabot struct {
	Version int `json:"version"`
	Updates []struct {
		Ecosystem   string                    `json:"package-ecosystem"`
		Directory   string                    `json:"directory"`
		Directories []string                  `json:"directories"`
		Schedule    map[string]string         `json:"schedule"`
		Cooldown    map[string]int            `json:"cooldown"`
		Groups      map[string]map[string]any `json:"groups"`
	} `json:"updates"`
}

// readStrictly reads a file that may name nothing but the fields of into.
func readStrictly(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

func TestTheIssueFormsAreComplete(t *testing.T) {
	paths, err := filepath.Glob(".github/ISSUE_TEMPLATE/*.yml")
	if err != nil || len(paths) < 2 {
		t.Fatalf("found %d issue forms: %v", len(paths), err)
	}
	for _, path := range paths {
		if filepath.Base(path) == "config.yml" {
			readStrictly(t, path, &chooser{})
			continue
		}
		var form issueForm
		readStrictly(t, path, &form)
		if form.Name == "" || form.Description == "" || len(form.Body) == 0 {
			t.Errorf("%s: needs name, description and body", path)
		}
		for i, part := range form.Body {
			if part.Type != "markdown" && (part.ID == "" || part.Attributes["label"] == nil) {
				t.Errorf("%s: part %d needs an id and a label", path, i+1)
			}
		}
	}
}

func TestDependabotWatchesEveryKindOfDependency(t *testing.T) {
	var file dependabot
	readStrictly(t, ".github/dependabot.yml", &file)
	watched := map[string]bool{}
	for _, one := range file.Updates {
		watched[one.Ecosystem] = true
		if one.Cooldown["default-days"] < 7 {
			t.Errorf("%s: a release is proposed before it is seven days old", one.Ecosystem)
		}
	}
	for _, kind := range []string{"gomod", "github-actions", "docker"} {
		if !watched[kind] {
			t.Errorf("nobody watches %s", kind)
		}
	}
}

// Compiled with other flags in one place, the same packages are compiled once more
// there, Kubernetes' among them; and the program would not be the one that is tested.
func TestEverythingIsCompiledWithTheSameFlags(t *testing.T) {
	flags := regexp.MustCompile(`-trimpath["', ]+-gcflags=[^"' \n]+`)
	const want = "-trimpath -gcflags=all=-dwarf=false"
	for _, name := range []string{"Makefile", ".ci/run", "Dockerfile", "lab/program/program.go", "lab/image/build.go", "lab/node/kubernetes.go", "lab/act/golang/Dockerfile"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range flags.FindAllString(string(text), -1) {
			if got := strings.NewReplacer(`"`, "", ",", "").Replace(match); got != want {
				t.Errorf("%s compiles with %q, the others with %q", name, got, want)
			}
		}
		if !flags.Match(text) {
			t.Errorf("%s does not say how it compiles", name)
		}
	}
}
