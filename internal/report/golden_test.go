package report

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestReportsMatchTheirGoldenFiles(t *testing.T) {
	for name, res := range allCases() {
		t.Run(name, func(t *testing.T) {
			document, err := JSON(res, metaOf(name))
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".md", Summary(res, metaOf(name)))
			golden(t, name+".txt", Terminal(res, metaOf(name)))
			golden(t, name+".json", string(document)+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs from its golden file (-want +got; -update writes it):\n%s", name, diff)
	}
}
