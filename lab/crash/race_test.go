package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// round is one start of several processes at once.
type round struct {
	n       int
	planned int  // how many
	alarm   bool // and one emergency
}

func (r round) String() string {
	if r.alarm {
		return fmt.Sprintf("round %d, %d planned and an emergency", r.n, r.planned)
	}
	return fmt.Sprintf("round %d, %d planned", r.n, r.planned)
}

func (r round) all() int {
	if r.alarm {
		return r.planned + 1
	}
	return r.planned
}

// race starts eight rotations at once: one rotates, the others find nothing to
// do or say whose rotation is under way. And four with an emergency: what it
// has brought stays.
func (s *suite) race(t *testing.T) {
	t.Parallel()
	for _, r := range []round{{planned: 8}, {planned: 4, alarm: true}} {
		var rounds []round
		for n := range 50 {
			rounds = append(rounds, round{n + 1, r.planned, r.alarm})
		}
		f := spread(s, t, kind{"planned", false}, part(s, rounds, 3, func(round) bool { return false }), raced)
		fmt.Fprintf(os.Stdout, "race, %d at once, with an emergency: %t: %s\n", r.all(), r.alarm, f)
	}
}

func raced(b *Bench, r round) outcome {
	before, err := b.Look()
	if err != nil {
		return outcome{err: err}
	}
	b.Proxy.Begin(nil)
	b.Proxy.Observe = together(r.all())
	began := time.Now()
	runs, err := line(b, r)
	var ends []told
	o := outcome{err: err}
	for _, run := range runs {
		end, err := raceEnd(run)
		ended, failed := b.Finish(run, began)
		o.err = errors.Join(o.err, err, failed)
		o.said += ended.Said
		ends = append(ends, end)
	}
	b.Proxy.End()
	b.Proxy.Observe = b.glance
	if o.err = errors.Join(o.err, b.Settled(), once(b, before)); o.err == nil {
		o.err = won(b, r, ends)
	}
	if o.err == nil && r.alarm {
		o.err = b.shutOut(before)
	}
	if o.err != nil {
		return o
	}
	return o.then(b)
}

// won tells whether the right one has rotated, and the others have not or were
// overtaken by the emergency.
func won(b *Bench, r round, ends []told) error {
	count := map[string]int{}
	for _, end := range ends {
		count[end.Status]++
		if !slices.Contains([]string{"rotated", "unchanged", "busy", "unfinished"}, end.Status) || end.code != codes()[end.Status] {
			return fmt.Errorf("a run ended as %q with exit code %d; all ended as %v", end.Status, end.code, count)
		}
		if end.Status == "busy" && !slices.ContainsFunc(ends, end.names) {
			return fmt.Errorf("a busy run names none of the others: %v", end.Findings)
		}
	}
	if !r.alarm && (count["rotated"] != 1 || count["rotated"]+count["unchanged"]+count["busy"] != r.planned) {
		return fmt.Errorf("%d rotations at once ended as %v", r.planned, count)
	}
	now, err := b.Look()
	if err != nil || !r.alarm {
		return err
	}
	alarm := ends[len(ends)-1]
	if served := now.Secret.Annotations["pgrotate.io/rotation-id"]; alarm.Status != "rotated" || alarm.RotationID != served {
		return fmt.Errorf("the emergency ended as %q with rotation %q, rotation %q is served; all ended as %v", alarm.Status, alarm.RotationID, served, count)
	}
	return nil
}

// together holds those who ask for the lock until n do, so that none begins
// when another one has ended. It gives up when somebody does not come.
func together(n int) func(proxy.Request) {
	var mu sync.Mutex
	come, all := 0, make(chan struct{})
	return func(r proxy.Request) {
		if !strings.Contains(r.Kind, "pg_advisory_lock") {
			return
		}
		mu.Lock()
		if come++; come == n {
			close(all)
		}
		mu.Unlock()
		select {
		case <-all:
		case <-time.After(time.Minute):
		}
	}
}

// line starts the rotations, the emergency last; every other planned one does
// not wait for the lock.
func line(b *Bench, r round) (runs []*program.Run, err error) {
	for i := range r.all() {
		more := map[string]string{}
		switch {
		case i == r.planned:
			more["INPUT_MODE"], more["INPUT_REASON"] = "emergency", "a proof"
		case i%2 == 1:
			more["INPUT_LOCK_TIMEOUT"] = "20ms"
		}
		run, err := b.Start(b.through, more)
		if err != nil {
			return runs, err
		}
		runs = append(runs, run)
	}
	return runs, nil
}

type finding struct{ Error string }

// told is what is read of a run's report.
type told struct {
	Status     string
	RotationID string `json:"rotation_id"`
	Findings   []finding
	RunURL     string `json:"run_url"`
	ExitCode   int    `json:"exit_code"`
	code       int    // of the process
}

// names tells whether it names another run as the owner.
func (end told) names(other told) bool {
	return other.RunURL != end.RunURL && slices.ContainsFunc(end.Findings, func(f finding) bool {
		_, rest, found := strings.Cut(f.Error, other.RunURL)
		return found && !strings.ContainsAny(rest[:min(1, len(rest))], "0123456789")
	})
}

// raceEnd reads how a run ended.
func raceEnd(run *program.Run) (end told, err error) {
	if end.code, err = run.Wait(limit); err != nil {
		return end, err
	}
	text, err := os.ReadFile(filepath.Join(run.Folder, program.Report))
	if err != nil {
		return end, err
	}
	if err := json.Unmarshal(text, &end); err != nil {
		return end, fmt.Errorf("read the report: %w", err)
	}
	return end, nil
}

// once tells whether the password has changed.
func once(b *Bench, before *fixture.State) error {
	now, err := b.Look()
	if err != nil {
		return err
	}
	if now.Served() == before.Served() || now.Verifier == before.Verifier {
		return errors.New("the password is still the same")
	}
	return nil
}
