package report

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestTimelineKnowsEveryStep holds the words of the timeline to the steps of the
// runbook: one that is not among them is drawn as "another step".
func TestTimelineKnowsEveryStep(t *testing.T) {
	files, err := filepath.Glob("../rotation/*.go")
	if err != nil {
		t.Fatal(err)
	}
	step := regexp.MustCompile(`\br\w*\.(?:step|urgent)\("([^"]+)"`)
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range step.FindAllStringSubmatch(string(text), -1) {
			if found++; !slices.Contains(timed, name[1]) {
				t.Errorf("%s: step %q", file, name[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("%d steps were found", found)
	}
}
