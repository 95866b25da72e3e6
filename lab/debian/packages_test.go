package debian

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestMissing(t *testing.T) {
	p := Packages{Files: map[string]string{
		"here":  t.TempDir(),
		"there": filepath.Join(t.TempDir(), "there"),
		"gone":  filepath.Join(t.TempDir(), "gone"),
	}}
	if got, want := p.Missing(), []string{"gone", "there"}; !slices.Equal(got, want) {
		t.Errorf("missing %q, want %q", got, want)
	}
	if p.Ready(t.Context()) == nil {
		t.Error("ready while packages are missing")
	}
	delete(p.Files, "there")
	delete(p.Files, "gone")
	if err := p.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}
