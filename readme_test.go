package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the tables of README.md anew, from action.yml")

// TestTheReadmeHasTheTablesOfTheMetadata holds the two tables of README.md to
// action.yml; `go test . -update` writes them.
func TestTheReadmeHasTheTablesOfTheMetadata(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	action, err := os.ReadFile("action.yml")
	if err != nil {
		t.Fatal(err)
	}
	m := readMetadata(t)
	var inputs, outputs [][]string
	for _, name := range namesIn(t, action, "inputs") {
		inputs = append(inputs, []string{"`" + name + "`", quoted(*m.Inputs[name].Default), m.Inputs[name].Description})
	}
	for _, name := range namesIn(t, action, "outputs") {
		outputs = append(outputs, []string{"`" + name + "`", m.Outputs[name].Description})
	}
	want := between(t, string(text), "inputs", table([]string{"input", "default", "what it does"}, inputs))
	want = between(t, want, "outputs", table([]string{"output", "what it holds"}, outputs))
	if *update {
		if err := os.WriteFile("README.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("README.md differs from action.yml (-want +got; `go test . -update` writes it):\n%s", diff)
	}
}

// namesIn lists the names of a mapping in the order of the file.
func namesIn(t *testing.T, text []byte, key string) []string {
	t.Helper()
	var file map[string]map[string]any
	if err := yaml.Unmarshal(slices.Concat([]byte("x: {}\n"), section(text, key)), &file); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^  ([a-z-]+):`).FindAllSubmatch(section(text, key), -1) {
		names = append(names, string(match[1]))
	}
	if len(names) != len(file[key]) {
		t.Fatalf("found %d of %d %s in action.yml", len(names), len(file[key]), key)
	}
	return names
}

// section is the part of action.yml from a key to the next one of its level.
func section(text []byte, key string) []byte {
	from := regexp.MustCompile(`(?m)^` + key + `:\n`).FindIndex(text)
	if from == nil {
		return nil
	}
	rest := text[from[0]:]
	if end := regexp.MustCompile(`(?m)^[a-z#]`).FindAllIndex(rest, 2); len(end) > 1 {
		return rest[:end[1][0]]
	}
	return rest
}

func quoted(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// table makes a table in Markdown.
func table(head []string, rows [][]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat("---|", len(head)))
	for _, row := range rows {
		for i, cell := range row {
			row[i] = strings.ReplaceAll(strings.Join(strings.Fields(cell), " "), "|", `\|`)
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
	}
	return b.String()
}

// between puts a table between its two marks.
func between(t *testing.T, text, name, table string) string {
	t.Helper()
	before, rest, ok := strings.Cut(text, "<!-- "+name+" of action.yml -->\n")
	_, after, closed := strings.Cut(rest, "<!-- end of "+name+" -->")
	if !ok || !closed {
		t.Fatalf("README.md has no marks around its %s", name)
	}
	return before + "<!-- " + name + " of action.yml -->\n\n" + table + "\n<!-- end of " + name + " -->" + after
}

// link finds the target of a link, or the file of a picture.
var link = regexp.MustCompile(`(?:\]\(|src(?:set)?=")([^)"\s]+)[)"]`)

func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(documents, "README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "TROUBLESHOOTING.md", "lab/README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
			name, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(name, "://") {
				continue
			}
			file := filepath.Join(filepath.Dir(path), name)
			if name == "" {
				file = path
			}
			if !leads(file, anchor) {
				t.Errorf("%s: the link %q leads nowhere", path, match[1])
			}
		}
	}
}

// leads tells whether the file is there, and has a heading of that anchor.
func leads(file, anchor string) bool {
	text, err := os.ReadFile(file)
	if anchor == "" {
		_, err = os.Stat(file)
		return err == nil
	}
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if heading := strings.TrimLeft(line, "#"); heading != line && slug(heading) == anchor {
			return true
		}
	}
	return false
}

// slug is how GitHub makes the anchor of a heading.
func slug(heading string) string {
	heading = strings.ToLower(strings.TrimSpace(heading))
	return regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ReplaceAll(heading, " ", "-"), "")
}
