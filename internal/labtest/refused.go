package labtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Refused returns the times of the logins that services of the lab have recorded
// as refused in a folder so far, those of pods that are gone included, in order.
func Refused(folder string) (times []time.Time, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read the refused logins: %w", err)
		}
		for line := range bytes.Lines(text) {
			var login struct{ Time time.Time }
			if err := json.Unmarshal(line, &login); err != nil {
				return nil, fmt.Errorf("read the refused logins in %s: %w", name, err)
			}
			times = append(times, login.Time)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times, nil
}

// Window is the time from the first to the last.
func Window(times []time.Time) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[len(times)-1].Sub(times[0])
}
