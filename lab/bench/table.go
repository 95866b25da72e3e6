package bench

import (
	"fmt"
	"strings"
	"time"
)

// Table is a Markdown table with a column for each way.
func Table(ways []Way, costs []Cost) string {
	var b strings.Builder
	row := func(title string, cell func(Cost) string) {
		b.WriteString("| " + title + " |")
		for _, c := range costs {
			b.WriteString(" " + cell(c) + " |")
		}
		b.WriteString("\n")
	}
	b.WriteString("| |")
	for _, w := range ways {
		b.WriteString(" " + w.Name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(ways)) + "\n")
	row("refused logins", func(c Cost) string { return fmt.Sprint(c.Refused) })
	row("from the first to the last of them", func(c Cost) string { return seconds(c.Window) })
	row("the Secret is not there for", func(c Cost) string { return seconds(c.Absent) })
	row("from ALTER ROLE to the Secret", func(c Cost) string { return known(c.Gap >= 0, fmt.Sprintf("%d ms", c.Gap.Milliseconds())) })
	row("whole", func(c Cost) string { return seconds(c.Total) })
	row("preflight", func(c Cost) string { return some(c.Preflight) })
	row("beyond the slowest rollout", beyond)
	row("requests to the API server", func(c Cost) string { return fmt.Sprint(c.Requests) })
	row("bytes to and from it", func(c Cost) string { return fmt.Sprintf("%.2f MiB", float64(c.Bytes)/(1<<20)) })
	row("processor time", func(c Cost) string { return seconds(c.Processor) })
	row("peak memory", func(c Cost) string { return known(c.Memory > 0, fmt.Sprintf("%.1f MiB", float64(c.Memory)/(1<<20))) })
	return b.String()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

// beyond is what the rollouts do not take; who does not wait for the old pods may be over before them.
func beyond(c Cost) string {
	if c.Slowest > c.Total {
		return "over before it"
	}
	return known(c.Slowest > 0, seconds(c.Total-c.Slowest))
}

func some(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return seconds(d)
}

func known(is bool, text string) string {
	if !is {
		return "not measured"
	}
	return text
}
