package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// round is one start of several processes at once.
type round struct{ n int }

func (r round) String() string { return fmt.Sprintf("round %d", r.n) }

const racers = 8

// race starts eight rotations at once: one rotates, the others find nothing to
// do or say whose rotation is under way.
func (s *suite) race(t *testing.T) {
	var rounds []round
	for n := range 50 {
		rounds = append(rounds, round{n + 1})
	}
	f := spread(s, t, false, part(s, rounds, 3, func(round) bool { return false }), raced)
	fmt.Fprintf(os.Stdout, "race, %d planned at once: %s\n", racers, f)
}

func raced(b *Bench, _ round) outcome {
	before, err := b.Look()
	if err != nil {
		return outcome{err: err}
	}
	b.Proxy.Begin(nil)
	b.Proxy.Observe = together(racers)
	began := time.Now()
	runs, err := line(b, racers)
	count := map[string]int{}
	o := outcome{err: err}
	for _, run := range runs {
		status, err := raceEnd(run)
		ended, failed := b.Finish(run, began)
		o.err = errors.Join(o.err, err, failed)
		o.said += ended.Said
		count[status]++
	}
	b.Proxy.End()
	b.Proxy.Observe = nil
	if count["rotated"] != 1 || count["rotated"]+count["unchanged"]+count["busy"] != racers {
		o.err = errors.Join(o.err, fmt.Errorf("eight rotations at once ended as %v", count))
	}
	o.err = errors.Join(o.err, b.Settled(), once(b, before))
	if o.err != nil {
		return o
	}
	return o.then(b)
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

// line starts n rotations; every other one does not wait for the lock.
func line(b *Bench, n int) (runs []*program.Run, err error) {
	for i := range n {
		more := map[string]string{}
		if i%2 == 1 {
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

// raceEnd reads how a run ended, and holds a busy one to naming the owner.
func raceEnd(run *program.Run) (string, error) {
	if _, err := run.Wait(limit); err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(run.Folder, program.Report))
	if err != nil {
		return "", err
	}
	var told struct{ Status string }
	if err := json.Unmarshal(text, &told); err != nil {
		return "", fmt.Errorf("read the report: %w", err)
	}
	if owner := "https://github.com/" + fixture.Repository + "/actions/runs/"; told.Status == "busy" && !strings.Contains(run.Said(), owner) {
		return told.Status, errors.New("a busy run does not name the owner")
	}
	return told.Status, nil
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
