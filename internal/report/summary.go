package report

import (
	_ "embed"
	"html/template"
	"strings"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// GitHub drops a whole summary of more than 1 MiB.
const largestSummary = 1 << 20

// shownRows of a section stand open, the others folded below them.
const shownRows = 25

//go:embed summary.tmpl
var summaryText string

var summaryForm = template.Must(template.New("summary").Funcs(template.FuncMap{"prose": proseHTML, "unbroken": unbroken}).Parse(summaryText))

// Summary returns the job summary of a run: Markdown with HTML tables as GitHub
// shows it, status first. It stays below 1 MiB: long lists are folded, longer
// ones are cut and say by how much.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary
func Summary(res rotation.Result, meta Meta) string {
	for l := (limits{rows: 500, text: 2000}); ; l = l.tighter() {
		if text := render(newPage(res, meta, l)); len(text) < largestSummary || l.rows <= 1 {
			return text
		}
	}
}

// tighter shortens long texts first, then the lists.
func (l limits) tighter() limits {
	if l.text > 250 {
		return limits{rows: l.rows, text: l.text / 2}
	}
	return limits{rows: l.rows / 2, text: l.text}
}

func render(p page) string {
	var b strings.Builder
	if err := summaryForm.Execute(&b, p); err != nil {
		panic("report: the summary's template does not fit its page: " + err.Error())
	}
	return strings.TrimSpace(b.String()) + "\n"
}

// Shown returns the rows that stand open.
func (s section) Shown() section {
	s.Rows = s.Rows[:min(len(s.Rows), shownRows)]
	return s
}

// Hidden returns the rows that are folded.
func (s section) Hidden() section {
	s.Rows = s.Rows[min(len(s.Rows), shownRows):]
	return s
}

// Cut names the rows that are in no list.
func (s section) Cut() string { return count(s.More, "more stands", "more stand") }

// proseHTML escapes a sentence and shows the words between back-ticks as code.
// An empty comment after "@" keeps GitHub from taking a name for a person's.
func proseHTML(s string) template.HTML {
	parts := strings.Split(template.HTMLEscapeString(s), "`")
	var b strings.Builder
	for i, part := range parts {
		if opened := i%2 == 1; opened && i < len(parts)-1 {
			b.WriteString("<code>" + part + "</code>")
			continue
		} else if opened {
			b.WriteString("&#96;")
		}
		b.WriteString(strings.ReplaceAll(part, "@", "@<!-- -->"))
	}
	return template.HTML(b.String())
}

// unbroken keeps a short text on one line.
func unbroken(s string) string { return strings.ReplaceAll(s, " ", "\u00a0") }

func (k kind) Code() bool   { return k == code }
func (k kind) Label() bool  { return k == label }
func (k kind) Number() bool { return k == number }
func (k kind) Link() bool   { return k == link }

// Icon is the mark of a result.
func (k kind) Icon() string {
	switch k {
	case good:
		return "✅"
	case bad:
		return "❌"
	case aside:
		return "➖"
	}
	return ""
}
