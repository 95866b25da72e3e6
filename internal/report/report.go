// Package report turns what a run did into what people and programs read of it:
// the job summary, the terminal text, the JSON document, the outputs and the
// annotation. It is pure: the same result gives the same text.
//
// Texts of servers and people end up in it (errors, names, reasons). They are
// folded to one line, stripped of control characters and escaped for where they
// go; none of them can become HTML, Markdown or a workflow command.
package report

import (
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// Meta is what a report says about a run beyond its Result.
type Meta struct {
	Command  string // rotate, plan, resume, rollback or check
	Secret   string // name of the served Secret
	Strategy string
	Mode     string // that was asked for; a Result that has one knows better
	Post     bool   // the run is the action's post step
	RunURL   string // of the workflow run; elsewhere who ran the program
	Version  string // of pgrotate
	// MinimumAge is the age at which a scheduled run changes the password; 0: at any.
	MinimumAge time.Duration
	// Scrub takes secrets out of a text before it is escaped and wrapped, after
	// which a search would not find them any more; nil leaves texts as they are.
	Scrub func(string) string
}

func (m Meta) scrubbed(text string) string {
	if m.Scrub == nil {
		return text
	}
	return m.Scrub(text)
}

// Output is one output of the action.
type Output struct{ Name, Value string }

// Outputs returns the outputs that describe res, in the order of action.yml. All
// are there for every status; what is not known is empty. Times are RFC 3339 in
// UTC, refused-window-ms is whole milliseconds and empty where nothing was measured.
func Outputs(res rotation.Result) []Output {
	window := ""
	if ms := windowMillis(res); ms != nil {
		window = decimal(*ms)
	}
	return []Output{
		{"status", string(res.Status)},
		{"rotation-id", clean(res.RotationID)},
		{"username", clean(res.Username)},
		{"rotated-at", instant(res.RotatedAt)},
		{"failed-step", clean(res.FailedStep)},
		{"refused-window-ms", window},
	}
}

// An annotation is cut at 4,096 characters by GitHub; these leave room for the
// words between them.
const (
	annotatedText = 1800
	annotatedHint = 1200
)

// Annotation returns a titled error annotation: what went wrong first, its
// remedy, and how much more the summary tells; under 4,096 characters together.
// Both are empty for a run that ended well. They hold no workflow command; who
// prints them escapes them as the runner demands.
func Annotation(res rotation.Result, meta Meta) (title, message string) {
	if res.ExitCode() == 0 {
		return "", ""
	}
	found := found(res)
	end := endingOf(res, Meta{}, len(found))
	title = "pgrotate: " + end.title
	if res.FailedStep != "" {
		title += ", step " + clip(clean(res.FailedStep), 80)
	}
	if len(found) == 0 {
		return title, clean(end.meaning)
	}
	message = clip(clean(meta.scrubbed(found[0].Text)), annotatedText)
	if hints := found[0].Hints; len(hints) > 0 {
		message += "\nWhat to do: " + clip(clean(meta.scrubbed(hints[0])), annotatedHint)
	} else if len(end.next) > 0 {
		message += "\nWhat to do: " + end.next[0]
	}
	if more := len(found) - 1; more > 0 {
		message += "\n" + count(more, "more problem is", "more problems are") + " in the job summary."
	}
	return title, message
}
