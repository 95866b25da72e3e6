package github

import (
	"testing"
	"time"
)

func TestProven(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return noon.Add(d) }
	never := time.Time{}
	for name, test := range map[string]struct {
		before, answered, updated time.Time
		want                      bool
	}{
		"moved":                                 {at(-time.Hour), noon, noon, true},
		"created":                               {never, noon, noon, true},
		"not moved":                             {at(-time.Hour), noon, at(-time.Hour), false},
		"not there":                             {at(-time.Hour), noon, never, false},
		"not created":                           {never, noon, never, false},
		"the answer took a while":               {at(-time.Hour), noon, at(-20 * time.Second), true},
		"clock ahead of the answer's":           {at(-time.Hour), noon, at(2 * time.Second), true},
		"somebody else's, between look and PUT": {at(-time.Hour), noon, at(-time.Minute), false},
		"twice in one second":                   {noon, noon, noon, true},
		"shortly after another, not moved":      {at(-time.Second), noon, at(-time.Second), false},
		"no Date, moved":                        {at(-time.Hour), never, noon, true},
		"no Date, not moved":                    {noon, never, noon, false},
	} {
		if got := (&write{before: test.before, answered: test.answered}).proven(test.updated); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
