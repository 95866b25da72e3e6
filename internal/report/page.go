package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// page is a report before it has a form: summary and terminal text are two
// forms of the same page, so they never disagree.
type page struct {
	Icon, Title, Meaning string
	Urgent               []section // what went wrong and what to do, above all facts
	Facts                []fact
	Timeline             string // a Gantt chart of Mermaid, of words of ours alone; empty: none
	Sections             []section
	Foot                 []cell
}

type fact struct {
	Name  string
	Value cell
}

// section is a table, or a list where it has no Head.
type section struct {
	Title string
	Head  []string
	Rows  []row
	Fold  bool // closed at first where that is possible
	More  int  // rows that were left out
}

type row []cell

type cell struct {
	Text string
	Kind kind
}

// kind is how a cell looks.
type kind int

const (
	prose  kind = iota // a sentence; words between back-ticks are code
	code               // a name
	label              // a few words that stay on one line
	number             // a duration or a time
	good               // a result
	bad                // a result
	aside              // a result that says that nothing was done
	link               // the address of a page, http or https
)

// limits keep a page readable and below what GitHub accepts.
type limits struct {
	rows int // of one section
	text int // characters of one cell
}

// builder makes the page of one result.
type builder struct {
	rotation.Result
	meta Meta
	limits
	problems []finding
}

func newBuilder(res rotation.Result, meta Meta, l limits) builder {
	return builder{Result: res, meta: meta, limits: l, problems: found(res)}
}

func newPage(res rotation.Result, meta Meta, l limits) page {
	b := newBuilder(res, meta, l)
	end := endingOf(res, meta, len(b.problems))
	p := page{Icon: end.icon, Title: end.title, Meaning: end.meaning, Facts: b.facts(), Timeline: b.timeline(), Foot: b.foot()}
	if res.ExitCode() != 0 {
		p.Urgent = telling(b.happened(), b.left(), b.next(end))
	}
	p.Sections = telling(b.checks(), b.lingering(), b.plan(), b.steps(), b.workloads(), b.pods(), b.laggards(), b.refusals(),
		b.copies("GitHub secrets", true), b.copies("Copies in the cluster", false), b.warnings())
	if res.ExitCode() == 0 {
		p.Sections = append(p.Sections, telling(b.next(end))...)
	}
	return p
}

// telling leaves out the sections and the columns that have nothing to say.
func telling(sections ...section) []section {
	var all []section
	for _, s := range sections {
		if len(s.Rows) > 0 {
			all = append(all, s.withoutEmptyColumns())
		}
	}
	return all
}

// tidy makes a text fit to be shown.
func (b builder) tidy(s string) string {
	s = b.meta.scrubbed(s)
	return clip(clean(s), b.text)
}

func (b builder) cell(k kind, s string) cell { return cell{Text: b.tidy(s), Kind: k} }

// table makes a section of the items, as many as the limit allows.
func table[T any](b builder, title string, head []string, items []T, toRow func(T) row) section {
	s := section{Title: title, Head: head, More: max(0, len(items)-b.rows)}
	for _, item := range items[:len(items)-s.More] {
		s.Rows = append(s.Rows, toRow(item))
	}
	return s
}

// texts makes a list of sentences.
func (b builder) texts(title string, texts []string) section {
	return table(b, title, nil, texts, func(s string) row { return row{b.cell(prose, s)} })
}

func (s section) withoutEmptyColumns() section {
	for i := len(s.Head) - 1; i >= 0; i-- {
		if !slices.ContainsFunc(s.Rows, func(r row) bool { return r[i].Text != "" }) {
			s.Head = slices.Delete(slices.Clone(s.Head), i, i+1)
			for n, r := range s.Rows {
				s.Rows[n] = slices.Delete(slices.Clone(r), i, i+1)
			}
		}
	}
	return s
}

func (b builder) facts() []fact {
	all := []fact{
		{"Status", cell{Text: string(b.Status), Kind: code}},
		{"Reason", b.cell(prose, b.Reason)},
		{"Role", b.cell(code, b.Username)},
		{"Secret", b.cell(code, b.meta.Secret)},
		{b.rotationName(), b.cell(code, b.RotationID)},
		{b.rotatedName(), b.cell(number, moment(b.RotatedAt))},
		{"Former role", b.cell(prose, b.former())},
		{"Next rotation", b.cell(prose, b.nextRotation())},
		{"Refused logins", b.cell(prose, b.window())},
		{"Strategy", b.cell(code, b.strategy())},
		{"Mode", b.cell(code, b.mode())},
		{"Undoes", b.cell(code, b.Undone)},
		{"Way back", b.cell(prose, b.wayBack())},
		{"Run by", b.cell(prose, b.postStep())},
		{"Took", b.cell(number, span(b.Elapsed))},
	}
	return slices.DeleteFunc(all, func(f fact) bool { return f.Value.Text == "" })
}

func (b builder) mode() string { return modeOf(b.Result, b.meta) }

func (b builder) strategy() string { return strategyOf(b.Result, b.meta) }

// former tells until when the role that was served before still opens a door.
func (b builder) former() string {
	switch {
	case b.Retired != "":
		return "`" + b.Retired + "` was retired: it has no password any more"
	case b.FormerRole == "":
		return ""
	case b.RetireAt.IsZero():
		return "`" + b.FormerRole + "` may still log in: `resume` closes it"
	}
	return "`" + b.FormerRole + "` still logs in with its password; the first `rotate` or `resume` after " + moment(b.RetireAt) + " that sees no session of it takes that away"
}

// wayBack says that there is none, where somebody may expect one.
func (b builder) wayBack() string {
	if b.OneWay {
		return "none: the database refused the password that was served before (`on-drift: repair`)"
	}
	return ""
}

// postStep names the step that is nowhere in the workflow.
func (b builder) postStep() string {
	if b.meta.Post {
		return "the action's post step: the main step had not ended its rotation"
	}
	return ""
}

// walked says that the run was on the way of a rotation.
func (b builder) walked() bool {
	return !b.checked() && slices.Contains([]rotation.Status{rotation.StatusRotated, rotation.StatusRolledBack, rotation.StatusUnfinished, rotation.StatusFailed}, b.Status)
}

func (b builder) rotationName() string {
	if b.walked() {
		return "Rotation"
	}
	return "Last rotation"
}

func (b builder) rotatedName() string {
	if b.Status == rotation.StatusRotated {
		return "Rotated at"
	}
	return "Last rotated at"
}

// window tells how long an in-place rotation kept new logins out. A run that
// did not see ALTER ROLE and the end of the restart has not measured it.
func (b builder) window() string {
	switch {
	case b.strategy() == rotation.Alternate && b.Status == rotation.StatusRotated && b.mode() == string(rotation.Planned):
		return "none by this rotation: what was served before logged in all the time"
	case b.strategy() != rotation.InPlace || !b.walked() || b.Status == rotation.StatusFailed:
		return ""
	case b.RefusedWindow > 0 && b.mode() == string(rotation.Emergency):
		return "possible for " + span(b.RefusedWindow) + ", measured from closing the role to the end of the restart; every open connection was ended"
	case b.RefusedWindow > 0:
		return "possible for " + span(b.RefusedWindow) + ", measured from `ALTER ROLE` to the end of the restart; open connections were not affected"
	case b.Status == rotation.StatusUnfinished:
		return "not measured; from `ALTER ROLE` until the rotation has ended, pods that have not been restarted may be refused"
	}
	return "not measured: this run did not see both `ALTER ROLE` and the end of the restart"
}

func (b builder) foot() []cell {
	kindOfRun := prose
	if strings.HasPrefix(b.meta.RunURL, "https://") || strings.HasPrefix(b.meta.RunURL, "http://") {
		kindOfRun = link
	}
	all := []cell{b.cell(prose, strings.TrimSpace("pgrotate "+b.meta.Version)), b.cell(code, b.meta.Command), b.cell(kindOfRun, b.meta.RunURL), b.cell(link, b.guide())}
	return slices.DeleteFunc(all, func(c cell) bool { return c.Text == "" })
}

func windowMillis(res rotation.Result) *int64 {
	if res.RefusedWindow <= 0 {
		return nil
	}
	ms := int64((res.RefusedWindow + time.Millisecond - 1) / time.Millisecond)
	return &ms
}

// failuresFirst keeps what went wrong above what is folded away.
func failuresFirst(targets []rotation.Target) []rotation.Target {
	sorted := slices.Clone(targets)
	slices.SortStableFunc(sorted, func(x, y rotation.Target) int { return cmp.Compare(rank(x), rank(y)) })
	return sorted
}

func rank(t rotation.Target) int {
	if t.Err != nil {
		return 0
	}
	return 1
}
