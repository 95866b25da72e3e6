package postgres

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/labtest"
)

// TestServerStepsBack looks for the running server in its control group.
func TestServerStepsBack(t *testing.T) {
	labtest.Own(t)
	lab := labtest.OwnServer(t)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(lab.PostgresLog), "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	if g := (Server{Name: "postgres"}).group(); !g.Holds(pid) {
		t.Errorf("process %d is not in %q", pid, g)
	}
}
