package act

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
)

// rotating waits until a run has changed the served Secret and is not done, and
// returns the id of the rotation.
func rotating(t *testing.T, p *fixture.Platform, running *Running) string {
	t.Helper()
	for {
		now, err := p.Look()
		check(t, err)
		id := now.Journal.Annotations["pgrotate.io/rotation-id"]
		switch {
		case now.Served() != p.Password && now.Journal.Annotations["pgrotate.io/phase"] == "forward":
			return id
		case now.Served() != p.Password:
			t.Fatal("the rotation has ended before it was met")
		}
		select {
		case <-running.Done():
			log, _, err := running.Wait()
			t.Fatalf("the run has ended without a rotation: %v\n%s", err, log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// rotated demands that all places hold a new password, the former one is
// refused, and that the last rotation is the one called id, where it is not empty.
func rotated(t *testing.T, p *fixture.Platform, id string) {
	t.Helper()
	now, err := p.Look()
	check(t, err)
	check(t, p.Consistent())
	check(t, p.Ready(shop))
	accepted, err := p.Accepts(now.User(), p.Password)
	check(t, err)
	if accepted {
		t.Error("the database accepts the former password")
	}
	last := now.Journal.Annotations["pgrotate.io/rotation-id"]
	if mark, err := p.Mark(shop); err != nil || last == "" || mark != last || id != "" && id != last {
		t.Errorf("the last rotation is %q, want %q; the workload has the mark %q: %v", last, id, mark, err)
	}
	if violations := p.GitHub.Violations(); len(violations) > 0 {
		t.Errorf("requests that GitHub does not describe: %v", violations)
	}
}

// want compares an output of the jobs called job.
func want(t *testing.T, log Log, job, name, value string) {
	t.Helper()
	if got := log.Output(job, name); got != value {
		t.Errorf("output %q of %q is %q, want %q", name, job, got, value)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// missing returns an error for each text that the log does not hold.
func missing(log Log, texts ...string) (err error) {
	for _, text := range texts {
		if !log.Contains(text) {
			err = errors.Join(err, fmt.Errorf("the log does not hold %q", text))
		}
	}
	return err
}

// ended compares how a run ended, and looks for texts in the summary.
func ended(t *testing.T, log Log, got, want bool, summary ...string) {
	t.Helper()
	if got != want {
		t.Errorf("the run ended with success %t: %v", got, log.Results())
	}
	for _, text := range summary {
		if !strings.Contains(log.Summaries(), text) {
			t.Errorf("the summary does not hold %q", text)
		}
	}
}
