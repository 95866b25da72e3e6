package report

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// Rules of the terminal text: no colour and no escape sequence; at most 100
// columns; the status in capitals first; two spaces per level; columns wrap
// inside themselves, so that what is aligned stays aligned; no line can be taken
// for a workflow command.
const (
	screen    = 100
	indent    = 2
	gap       = 2
	narrowest = 8
)

// Terminal returns the report of a run as plain text with a final newline.
func Terminal(res rotation.Result, meta Meta) string {
	p := newPage(res, meta, limits{rows: 200, text: 2000})
	lines := append([]string{""}, wrap(strings.ToUpper(p.Title), screen)...)
	lines = append(lines, wrap(p.Meaning, screen)...)
	lines = append(lines, sectionLines(p.Urgent)...)
	lines = append(append(lines, ""), factRows(p.Facts)...)
	lines = append(lines, sectionLines(p.Sections)...)
	lines = append(append(lines, ""), wrap(footLine(p.Foot), screen)...)
	for i, line := range lines {
		lines[i] = harmless(strings.TrimRight(line, " "))
	}
	return strings.Join(lines, "\n") + "\n"
}

func sectionLines(sections []section) []string {
	var lines []string
	for _, s := range sections {
		lines = append(append(lines, "", s.Title), s.lines()...)
	}
	return lines
}

func factRows(facts []fact) []string {
	var rows [][]string
	for _, f := range facts {
		rows = append(rows, []string{f.Name, f.Value.text()})
	}
	return aligned(rows)
}

func (s section) lines() []string {
	var rows [][]string
	if len(s.Head) > 0 {
		rows = append(rows, s.Head)
	}
	for _, r := range s.Rows {
		cells := make([]string, len(r))
		for i, c := range r {
			cells[i] = c.text()
		}
		if len(s.Head) == 0 {
			cells = []string{"-", strings.Join(cells, " → ")}
		}
		rows = append(rows, cells)
	}
	lines := aligned(rows)
	if s.More > 0 {
		lines = append(lines, strings.Repeat(" ", indent)+"and "+count(s.More, "more", "more")+" in the JSON report")
	}
	return lines
}

func footLine(foot []cell) string {
	texts := make([]string, len(foot))
	for i, c := range foot {
		texts[i] = c.text()
	}
	return strings.Join(texts, " · ")
}

func (c cell) text() string {
	text := strings.ReplaceAll(c.Text, "##[", "## [") // a command wherever it stands in a line
	switch c.Kind {
	case good:
		return "✓ " + text
	case bad:
		return "✗ " + text
	case aside:
		return "– " + text
	}
	return text
}

// aligned aligns rows of equally many cells and wraps each cell in its column.
func aligned(rows [][]string) []string {
	if len(rows) == 0 {
		return nil
	}
	widths := columns(rows)
	var lines []string
	for _, cells := range rows {
		lines = append(lines, wrapRow(cells, widths)...)
	}
	return lines
}

// columns makes the widest column narrower until the row fits the screen.
func columns(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	room := screen - indent - gap*(len(widths)-1)
	for _, cells := range rows {
		for i, text := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(text))
		}
	}
	for total(widths) > room {
		widest := slices.Index(widths, slices.Max(widths))
		widths[widest] = max(narrowest, widths[widest]-1)
	}
	return widths
}

func total(widths []int) int {
	sum := 0
	for _, w := range widths {
		sum += w
	}
	return sum
}

func wrapRow(cells []string, widths []int) []string {
	wrapped := make([][]string, len(cells))
	height := 0
	for i, text := range cells {
		wrapped[i] = wrap(text, widths[i])
		height = max(height, len(wrapped[i]))
	}
	lines := make([]string, height)
	for n := range lines {
		var b strings.Builder
		b.WriteString(strings.Repeat(" ", indent))
		for i, column := range wrapped {
			part := ""
			if n < len(column) {
				part = column[n]
			}
			b.WriteString(part + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(part)+gap))
		}
		lines[n] = b.String()
	}
	return lines
}

// wrap breaks a text at spaces, and a word that is too long where it must.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		for runes := []rune(word); len(runes) > width; runes = runes[width:] {
			lines, word = append(lines, string(runes[:width])), string(runes[width:])
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}

// harmless keeps a line from being a workflow command, which the runner takes
// from "::" at the start of a line, behind any white space. The sign for a ratio
// looks the same and leaves the columns where they are.
func harmless(line string) string {
	if strings.HasPrefix(strings.TrimSpace(line), "::") {
		return strings.Replace(line, "::", "∶:", 1)
	}
	return line
}
