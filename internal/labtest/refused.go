package labtest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// Refused counts the logins that services of the lab have recorded as refused in
// a folder so far, those of pods that are gone included.
func Refused(folder string) (count int, err error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.jsonl"))
	if err != nil {
		return 0, err
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return 0, fmt.Errorf("count the refused logins: %w", err)
		}
		count += bytes.Count(text, []byte("\n"))
	}
	return count, nil
}
