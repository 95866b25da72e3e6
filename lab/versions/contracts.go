package versions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// Figures are what became of the tests of a package. Those within tests are not counted.
type Figures struct {
	Passed          int
	Failed, Skipped []string // by name
}

func (f Figures) String() string {
	return fmt.Sprintf("%d tests passed, %d failed, %d skipped", f.Passed, len(f.Failed), len(f.Skipped))
}

// Contracts runs the tests of internal/postgres, in the module in folder, against
// the servers that the lab's description in the file lab names. said is all that
// they said.
func Contracts(ctx context.Context, folder, lab string) (f Figures, said string, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-json", "-count=1", "-timeout=30m", "./internal/postgres")
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "PGROTATE_LAB="+lab)
	events, err := cmd.Output()
	f, said, malformed := read(string(events))
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		err = fmt.Errorf("run the tests: %w\n%s", err, failed.Stderr)
	}
	return f, said, errors.Join(err, malformed)
}

// read reads what `go test -json` tells, see `go doc test2json`.
func read(events string) (f Figures, said string, err error) {
	var all strings.Builder
	for each := json.NewDecoder(strings.NewReader(events)); ; {
		var event struct{ Action, Test, Output string }
		err := each.Decode(&event)
		if errors.Is(err, io.EOF) {
			return f, all.String(), nil
		}
		if err != nil {
			return f, all.String(), fmt.Errorf("read what the tests tell: %w", err)
		}
		all.WriteString(event.Output)
		if event.Test != "" && !strings.Contains(event.Test, "/") {
			f.count(event.Action, event.Test)
		}
	}
}

func (f *Figures) count(action, test string) {
	switch action {
	case "pass":
		f.Passed++
	case "fail":
		f.Failed = append(f.Failed, test)
	case "skip":
		f.Skipped = append(f.Skipped, test)
	}
}
