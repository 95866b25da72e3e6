package scale

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Row is one measurement.
type Row struct {
	Name      string
	Workloads int
	Cost
}

// Table is a Markdown table of rotations.
func Table(title string, rows []Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %s | whole | preflight | beyond the slowest rollout | requests to the API server | for each workload | to GitHub | connections | bytes, API server | peak memory | processor time |\n|---|%s\n",
		title, strings.Repeat("---:|", 10))
	for _, r := range rows {
		github := fmt.Sprint(r.GitHub)
		if r.Limited > 0 {
			github += fmt.Sprintf(", %d refused", r.Limited)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %d | %.1f | %s | %d | %s | %s | %s |\n", r.Name, seconds(r.Total), seconds(r.Preflight), seconds(r.Beyond()), r.Asked(),
			float64(r.Asked())/float64(r.Workloads), github, r.Connections, mebibytes(r.Bytes), mebibytes(r.Memory), seconds(r.Processor))
	}
	return b.String()
}

// Requests is a Markdown table of what the API server was asked for.
func Requests(rows []Row) string {
	var b strings.Builder
	b.WriteString("\n| request |")
	kinds := map[string]bool{}
	for _, r := range rows {
		b.WriteString(" " + r.Name + " |")
		for kind := range r.Requests {
			kinds[kind] = true
		}
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(rows)) + "\n")
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		b.WriteString("| " + kind + " |")
		for _, r := range rows {
			fmt.Fprintf(&b, " %d |", r.Requests[kind])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Distance is what rotations took over a way of that length.
type Distance struct {
	Name      string
	RoundTrip time.Duration
	Totals    []time.Duration // of the same rotation, again and again
}

// Distances is a Markdown table. The first row is the short way, whose time is
// taken off the others'.
func Distances(rows []Distance) string {
	var b strings.Builder
	b.WriteString("\n| round trip | whole | sequential round trips |\n|---|---:|---:|\n")
	short := median(rows[0].Totals)
	for _, r := range rows {
		count := ""
		if r.RoundTrip > 0 {
			count = fmt.Sprintf("%.0f", float64(median(r.Totals)-short)/float64(r.RoundTrip))
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.Name, seconds(median(r.Totals)), count)
	}
	return b.String()
}

func median(all []time.Duration) time.Duration { return slices.Sorted(slices.Values(all))[len(all)/2] }

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
