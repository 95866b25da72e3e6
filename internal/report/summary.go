package report

import (
	"html"
	"strconv"
	"strings"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// GitHub drops a whole summary of more than 1 MiB.
const largestSummary = 1 << 20

// shownRows of a section stand open, the others folded below them.
const shownRows = 25

// Summary returns the job summary of a run: Markdown with HTML tables as GitHub
// shows it, status first. It stays below 1 MiB: long lists are folded, longer
// ones are cut and say by how much.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#adding-a-job-summary
func Summary(res rotation.Result, meta Meta) string {
	for l := (limits{rows: 500, text: 2000}); ; l = l.tighter() {
		if text := string(newPage(res, meta, l).markup()); len(text) < largestSummary || l.rows <= 1 {
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

// markup is Markdown and HTML that may be shown: constants, and text of others
// that was escaped. The compiler refuses a string in its place.
type markup string

func escaped(s string) markup { return markup(html.EscapeString(s)) }

// each puts the forms of the items one behind the other.
func each[T any](items []T, form func(T) markup) markup {
	var b strings.Builder
	for _, item := range items {
		b.WriteString(string(form(item)))
	}
	return markup(b.String())
}

func (p page) markup() markup {
	head := "### " + escaped(p.Icon+" "+p.Title) + "\n\n<p>" + sentence(p.Meaning) + "</p>\n" + each(p.Urgent, section.markup)
	if len(p.Urgent) > 0 {
		head += "\n#### Facts\n"
	}
	facts := "\n<table>\n" + each(p.Facts, fact.markup) + "</table>\n"
	if p.Timeline != "" {
		facts += "\n#### Timeline\n\n```mermaid\n" + escaped(p.Timeline) + "```\n"
	}
	return head + facts + each(p.Sections, section.markup) + "\n<sub>" + row(p.Foot).joined(" · ") + "</sub>\n"
}

func (f fact) markup() markup {
	return `<tr><th align="left">` + unbroken(f.Name) + "</th><td>" + f.Value.markup() + "</td></tr>\n"
}

func (s section) markup() markup {
	if s.Fold {
		return "\n<details><summary>" + escaped(s.Title) + "</summary>\n" + s.list() + "</details>\n"
	}
	return "\n#### " + escaped(s.Title) + "\n\n" + s.list()
}

// list has the first rows open and the others folded.
func (s section) list() markup {
	shown := min(len(s.Rows), shownRows)
	all := s.rows(s.Rows[:shown]) + "\n"
	if hidden := s.Rows[shown:]; len(hidden) > 0 {
		all += "<details><summary>" + escaped(strconv.Itoa(len(hidden))) + " more</summary>\n" + s.rows(hidden) + "\n</details>\n"
	}
	if s.More > 0 {
		all += "<p>" + escaped(count(s.More, "more stands", "more stand")) + " in the JSON report.</p>\n"
	}
	return all
}

// rows makes a table, or a list where there is no head. No blank line may stand
// inside it: it would end GitHub's HTML block.
func (s section) rows(rows []row) markup {
	if len(s.Head) == 0 {
		return "<ul>\n" + each(rows, row.item) + "</ul>"
	}
	head := each(s.Head, func(name string) markup { return `<th align="left">` + escaped(name) + "</th>" })
	return "<table>\n<tr>" + head + "</tr>\n" + each(rows, row.markup) + "</table>"
}

func (r row) markup() markup {
	return "<tr>" + each(r, func(c cell) markup {
		if c.Kind == number {
			return `<td align="right">` + c.markup() + "</td>"
		}
		return "<td>" + c.markup() + "</td>"
	}) + "</tr>\n"
}

func (r row) item() markup { return "<li>" + r.joined("<br>→ ") + "</li>\n" }

func (r row) joined(by markup) markup {
	return markup(strings.TrimPrefix(string(each(r, func(c cell) markup { return by + c.markup() })), string(by)))
}

func (c cell) markup() markup {
	switch c.Kind {
	case code:
		return "<code>" + escaped(c.Text) + "</code>"
	case number, label:
		return unbroken(c.Text)
	case link:
		return `<a href="` + escaped(c.Text) + `">` + escaped(c.Text) + "</a>"
	case good:
		return "✅&nbsp;" + sentence(c.Text)
	case bad:
		return "❌&nbsp;" + sentence(c.Text)
	case aside:
		return "➖&nbsp;" + sentence(c.Text)
	}
	return sentence(c.Text)
}

// sentence shows the words between back-ticks as code. An empty comment after "@"
// keeps GitHub from taking a name for a person's.
func sentence(s string) markup {
	parts := strings.Split(html.EscapeString(s), "`")
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
	return markup(b.String())
}

// unbroken keeps a short text on one line.
func unbroken(s string) markup { return escaped(strings.ReplaceAll(s, " ", "\u00a0")) }
