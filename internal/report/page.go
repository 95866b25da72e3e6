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
	Facts                []fact
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
	number             // a duration or a time
	good               // a result
	bad                // a result
	aside              // a result that says that nothing was done
	link               // an address
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
}

func newPage(res rotation.Result, meta Meta, l limits) page {
	b := builder{Result: res, meta: meta, limits: l}
	end := endingOf(res, meta)
	p := page{Icon: end.icon, Title: end.title, Meaning: end.meaning, Facts: b.facts(), Foot: b.foot()}
	wentWell := res.ExitCode() == 0
	p.add(b.happened(), b.next(end, wentWell), b.plan(), b.steps(), b.workloads())
	p.add(b.copies("GitHub secrets", true), b.copies("Copies in the cluster", false), b.warnings())
	return p
}

// add appends the sections that have something to say.
func (p *page) add(sections ...section) {
	for _, s := range sections {
		if len(s.Rows) > 0 {
			p.Sections = append(p.Sections, s.withoutEmptyColumns())
		}
	}
}

// tidy makes a text fit to be shown.
func (b builder) tidy(s string) string {
	if b.meta.Scrub != nil {
		s = b.meta.Scrub(s)
	}
	return clip(clean(s), b.text)
}

func (b builder) cell(k kind, s string) cell { return cell{Text: b.tidy(s), Kind: k} }

// section cuts rows at the limit.
func (b builder) section(title string, head []string, rows []row) section {
	s := section{Title: title, Head: head, Rows: rows}
	if extra := len(rows) - b.rows; extra > 0 {
		s.Rows, s.More = rows[:b.rows], extra
	}
	return s
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
		{"Reason", b.cell(prose, b.Reason)},
		{"Role", b.cell(code, b.Username)},
		{"Secret", b.cell(code, b.meta.Secret)},
		{b.rotationName(), b.cell(code, b.RotationID)},
		{b.rotatedName(), b.cell(number, moment(b.RotatedAt))},
		{"Refused logins", b.cell(prose, b.window())},
		{"Strategy", b.cell(code, b.meta.Strategy)},
		{"Mode", b.cell(code, b.meta.Mode)},
		{"Took", b.cell(number, span(b.Elapsed))},
	}
	return slices.DeleteFunc(all, func(f fact) bool { return f.Value.Text == "" })
}

// walked says that the run was on the way of a rotation.
func (b builder) walked() bool {
	return slices.Contains([]rotation.Status{rotation.StatusRotated, rotation.StatusRolledBack, rotation.StatusUnfinished, rotation.StatusFailed}, b.Status)
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
	case b.meta.Strategy != rotation.InPlace || !b.walked() || b.Status == rotation.StatusFailed:
		return ""
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
	all := []cell{b.cell(prose, strings.TrimSpace("pgrotate "+b.meta.Version)), b.cell(code, b.meta.Command), b.cell(kindOfRun, b.meta.RunURL)}
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
