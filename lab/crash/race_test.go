package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/program"
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
	var runs []*program.Run
	began := time.Now()
	for i := range racers {
		more := map[string]string{}
		if i%2 == 1 {
			more["INPUT_LOCK_TIMEOUT"] = "20ms" // these do not wait for the others
		}
		run, err := b.Start(b.direct, more)
		if err != nil {
			return outcome{err: err}
		}
		runs = append(runs, run)
	}
	count := map[string]int{}
	var o outcome
	for _, run := range runs {
		status, err := raceEnd(run)
		ended, failed := b.Finish(run, began)
		o.err = errors.Join(o.err, err, failed)
		o.said += ended.Said
		count[status]++
	}
	if count["rotated"] != 1 || count["rotated"]+count["unchanged"]+count["busy"] != racers {
		o.err = errors.Join(o.err, fmt.Errorf("eight rotations at once ended as %v", count))
	}
	o.err = errors.Join(o.err, b.Settled(), once(b, before))
	if o.err != nil {
		return o
	}
	return o.then(b)
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
