package program

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Told is what the program's JSON report tells of its time. The whole is not in it:
// the program measures that without its start and its search for the workloads, see Run.Took.
type Told struct {
	Preflight time.Duration
	Window    time.Duration // in which logins were refused; zero: not known
}

// ReadReport reads the file that the program was told to write.
func ReadReport(path string) (Told, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Told{}, fmt.Errorf("read the report: %w", err)
	}
	var r struct {
		WindowMS int64 `json:"refused_window_ms"`
		Steps    []struct {
			Name      string `json:"name"`
			ElapsedMS int64  `json:"elapsed_ms"`
		} `json:"steps"`
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return Told{}, fmt.Errorf("read the report: %w", err)
	}
	told := Told{Window: milliseconds(r.WindowMS)}
	for _, s := range r.Steps {
		if s.Name == "preflight" {
			told.Preflight = milliseconds(s.ElapsedMS)
		}
	}
	return told, nil
}

func milliseconds(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
