package action

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// GitHub takes 1 MB of outputs from a job, a file takes everything.
func TestAReportAtSizeFitsTheOutputAndIsWholeInTheFile(t *testing.T) {
	folder := t.TempDir()
	output, file := filepath.Join(folder, "output"), filepath.Join(folder, "report.json")
	if err := os.WriteFile(output, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := newProgram(func(name string) string { return map[string]string{"GITHUB_OUTPUT": output}[name] }, io.Discard)
	p.config.Report = file
	p.publish(manyPods(1000), p.meta())
	inOutput, inFile := podsIn(t, output), podsIn(t, file)
	if inOutput != "1000 workloads, 0 pods, map[pods:5000]" || inFile != "1000 workloads, 5000 pods, map[]" {
		t.Errorf("in the output %s; in the file %s", inOutput, inFile)
	}
	if text, err := os.ReadFile(output); err != nil || len(text) > 450_000 {
		t.Errorf("%d bytes of outputs: %v", len(text), err)
	}
}

func manyPods(workloads int) rotation.Result {
	res := rotation.Result{Status: rotation.StatusRotated}
	for i := range workloads {
		one := rotation.Target{Kind: "workload", Name: fmt.Sprintf("deployment/service-%d", i)}
		for pod := range 5 {
			one.Pods = append(one.Pods, secret.Proof{Pod: fmt.Sprintf("service-%d-7c8d5f9b4-q8w2%d", i, pod), Reason: "no health command is given; no session of it was seen"})
		}
		res.Workloads = append(res.Workloads, one)
	}
	return res
}

// podsIn counts what the JSON in a file, or in a block of a command file, lists.
func podsIn(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Workloads []struct{ Pods []any }
		Shortened map[string]int
	}
	if err := json.NewDecoder(bytes.NewReader(text[bytes.IndexByte(text, '{'):])).Decode(&report); err != nil {
		t.Fatal(err)
	}
	pods := 0
	for _, w := range report.Workloads {
		pods += len(w.Pods)
	}
	return fmt.Sprintf("%d workloads, %d pods, %v", len(report.Workloads), pods, report.Shortened)
}
