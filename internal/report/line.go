package report

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// largestLine is what the output with the report may take, in bytes. GitHub allows
// the outputs of a job 1 MB together and counts two bytes for each unit of UTF-16;
// a text has no more units than bytes of UTF-8.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idoutputs
const largestLine = 400_000

// Line returns the report of JSON on one line, for the output of the action. One
// that would be too long goes without its long lists, and says so in "shortened".
// The error is that of JSON.
func Line(res rotation.Result, meta Meta) ([]byte, error) {
	d := newBuilder(res, meta, limits{text: longestText}).document()
	line, err := encode(d, "")
	for err == nil && len(line) > largestLine && d.shorten() {
		line, err = encode(d, "")
	}
	return line, err
}

// list is an array of the document.
type list struct {
	name    string
	entries int
	size    int // of its JSON
	clear   func()
}

func listOf[T any](name string, items *[]T) list {
	text, _ := json.Marshal(*items) // texts and numbers always encode
	return list{name, len(*items), len(text), func() { *items = []T{} }}
}

// shorten leaves the next list out and notes how many entries it had; false: there
// is none.
func (d *document) shorten() bool {
	all := d.lists()
	next := slices.IndexFunc(all, func(l list) bool { return l.entries > 0 })
	if next < 0 {
		return false
	}
	if d.Shortened == nil {
		d.Shortened = map[string]int{}
	}
	d.Shortened[all[next].name] = all[next].entries
	all[next].clear()
	return true
}

// lists are the arrays in the order in which they are left out: the pods, whose
// workloads stay, then the plan, which the steps tell better, then the largest.
func (d *document) lists() []list {
	others := []list{
		listOf("findings", &d.Findings), listOf("left", &d.Left), listOf("next", &d.Next), listOf("lingering", &d.Lingering),
		listOf("checks", &d.Checks), listOf("steps", &d.Steps), listOf("workloads", &d.Workloads), listOf("copies", &d.Copies),
		listOf("laggards", &d.Laggards), listOf("refused_logins", &d.Refusals), listOf("warnings", &d.Warnings),
	}
	slices.SortStableFunc(others, func(x, y list) int { return cmp.Compare(y.size, x.size) })
	return append([]list{d.pods(), listOf("plan", &d.Plan)}, others...)
}

// pods are those of all workloads.
func (d *document) pods() list {
	all := list{name: "pods", clear: func() {
		for i := range d.Workloads {
			d.Workloads[i].Pods = []proofInJSON{}
		}
	}}
	for _, w := range d.Workloads {
		all.entries += len(w.Pods)
	}
	return all
}
