package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// tally counts logins. Safe for concurrent use.
type tally struct {
	mu                             sync.Mutex
	accepted, refused, unreachable int
	last                           outcome
	begun                          chan struct{} // closed by the first login
}

func newTally() *tally { return &tally{begun: make(chan struct{})} }

func (t *tally) add(o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.accepted+t.refused+t.unreachable == 0 {
		close(t.begun)
	}
	switch o.sqlstate {
	case accepted:
		t.accepted++
	case "":
		t.unreachable++
	default:
		t.refused++
	}
	t.last = o
}

// verdict tells in one line how the service is: healthy when its last login was
// accepted.
func (t *tally) verdict() (healthy bool, line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := fmt.Sprintf("%d logins accepted, %d refused, %d without an answer", t.accepted, t.refused, t.unreachable)
	if t.last.sqlstate == accepted {
		return true, "healthy: " + counts
	}
	return false, fmt.Sprintf("unhealthy: %s; the last: %s", counts, t.last.message)
}

// record writes down the logins that the server refused, also for those who
// come when the pod is gone.
type record struct {
	file *os.File // nil: keep no record
	line refusal
}

// refusal is one line of the record.
type refusal struct {
	Time     time.Time `json:"time"`
	Pod      string    `json:"pod"`
	Workload string    `json:"workload"`
	Revision string    `json:"revision"` // label pod-template-hash
	Mark     string    `json:"mark"`     // annotation pgrotate.io/restart
	SQLState string    `json:"sqlstate"`
}

// openRecord begins the record of this pod in the folder LOGINS.
func openRecord(getenv func(string) string) (*record, error) {
	r := &record{line: refusal{
		Pod: getenv("POD"), Workload: getenv("WORKLOAD"), Revision: getenv("REVISION"), Mark: getenv("MARK"),
	}}
	folder := getenv("LOGINS")
	if folder == "" {
		return r, nil
	}
	name := filepath.Join(folder, r.line.Pod+".jsonl")
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the record of refused logins: %w", err)
	}
	r.file = file
	return r, nil
}

// add logs what went wrong and records what was refused.
func (r *record) add(o outcome) {
	if o.sqlstate == accepted {
		return
	}
	fmt.Printf("%s login failed: %s\n", o.at.Format(time.RFC3339Nano), o.message)
	if o.sqlstate == "" || r.file == nil {
		return
	}
	line := r.line
	line.Time, line.SQLState = o.at, o.sqlstate
	if err := write(r.file, line); err != nil {
		fmt.Fprintln(os.Stderr, "record a refused login:", err)
	}
}

// write appends v as one line in one write, which O_APPEND does not tear.
func write(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// Close ends the record.
func (r *record) Close() {
	if r.file != nil {
		r.file.Close()
	}
}
