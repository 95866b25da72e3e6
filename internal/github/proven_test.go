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
		"shortly after another, not moved":      {at(-time.Second), noon, at(-time.Second), false},
		"no Date, moved":                        {at(-time.Hour), never, noon, true},
		"no Date, not moved":                    {noon, never, noon, false},
	} {
		if got := (&write{before: test.before, answered: test.answered}).proven(test.updated); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestApart(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		before, now time.Time
		want        time.Duration
	}{
		"new":                   {time.Time{}, noon, 0},
		"clock not told":        {noon, time.Time{}, 0},
		"long ago":              {noon.Add(-time.Hour), noon, 0},
		"this second":           {noon, noon, 2 * time.Second},
		"the second before":     {noon, noon.Add(time.Second), time.Second},
		"two seconds ago":       {noon, noon.Add(2 * time.Second), 0},
		"a clock ahead of ours": {noon.Add(time.Second), noon, 3 * time.Second},
		"a clock gone wrong":    {noon.Add(time.Hour), noon, 4 * time.Second},
	} {
		if got := apart(test.before, test.now); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}
