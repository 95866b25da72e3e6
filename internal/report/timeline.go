package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// steps of the runbook, and those before and after it: what may stand in the
// timeline. Mermaid has a syntax of its own, so no other text gets into it.
var timed = []string{"lock", "look", "preflight", "claim", "fence", "journal",
	"database", "served Secret", "cluster copies", "standbys", "restart", "GitHub", "health", "verify", "sessions", "refused logins", "revoke",
	"turn back", "copies", "commit", "retire", "check"}

// longestTimeline is how many steps are drawn: more than a rotation with three
// lost locks and a way back has.
const longestTimeline = 60

// bar is one step in the timeline.
type bar struct {
	name          string
	back, failed  bool
	start, length time.Duration
}

// timeline draws the steps of a rotation as a Gantt chart of Mermaid, which
// GitHub shows in the reader's colours; empty where there is no way to show.
// Lengths are measured. Steps follow each other as they ended, restart and
// GitHub, which run side by side, begin together.
// https://mermaid.js.org/syntax/gantt.html
func (b builder) timeline() string {
	if !b.walked() || len(b.Steps) < 2 {
		return ""
	}
	var chart strings.Builder
	chart.WriteString("gantt\n    dateFormat x\n    axisFormat %s s\n") // seconds since the start, in every time zone
	section := ""
	for _, one := range b.bars() {
		if now := sectionOf(one); now != section {
			section = now
			fmt.Fprintf(&chart, "    section %s\n", section)
		}
		mark := "done"
		if one.failed {
			mark = "crit"
		}
		fmt.Fprintf(&chart, "    %s %s :%s, %d, %d\n", one.name, span(max(one.length, time.Millisecond)), mark, one.start.Milliseconds(), (one.start + max(one.length, time.Millisecond)).Milliseconds())
	}
	return chart.String()
}

func (b builder) bars() []bar {
	var all []bar
	now := time.Duration(0)
	for i, s := range b.Steps[:min(len(b.Steps), longestTimeline)] {
		one := b.bar(s)
		one.start = now
		if i > 0 && beside(all[i-1], one) {
			one.start = all[i-1].start
		}
		now = max(now, one.start+one.length)
		all = append(all, one)
	}
	return all
}

func (b builder) bar(s rotation.StepResult) bar {
	name, back := strings.CutPrefix(s.Name, "back: ")
	if !slices.Contains(timed, name) {
		name = "another step"
	}
	return bar{name: name, back: back, failed: b.ended(s).Kind == bad, length: s.Elapsed}
}

// beside tells whether two steps run at the same time.
func beside(x, y bar) bool {
	return x.back == y.back && (x.name == "restart" && y.name == "GitHub" || x.name == "GitHub" && y.name == "restart")
}

// sectionOf is the part of the way that a step belongs to.
func sectionOf(one bar) string {
	switch {
	case one.back:
		return "way back"
	case slices.Contains(timed[:6], one.name):
		return "before"
	case one.name == "commit", one.name == "retire":
		return "end"
	case one.name == "turn back":
		return "way back"
	}
	return "rotation"
}
