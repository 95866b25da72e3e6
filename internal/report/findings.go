package report

import (
	"errors"
	"slices"
	"strings"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// finding is one thing that went wrong, with the remedies that are known.
type finding struct {
	Text  string
	Hints []string
}

// found lists what went wrong in res: what stopped or turned the run, then the
// workloads that stayed unhealthy after it. The texts are as the errors give them.
func found(res rotation.Result) []finding {
	var all []finding
	if res.Err != nil {
		all = split("", res.Err)
	}
	for _, target := range res.Unhealthy() {
		all = append(all, split("", target.Err)...)
	}
	named := map[string]bool{}
	return slices.DeleteFunc(all, func(f finding) bool { return twice(named, f.Text) })
}

func twice(named map[string]bool, text string) bool {
	before := named[text]
	named[text] = true
	return before
}

// split takes joined errors apart, also below a wrapper, whose words then stand
// before each of them.
func split(prefix string, err error) []finding {
	if parts := joined(err); parts != nil {
		var all []finding
		for _, part := range parts {
			all = append(all, split(prefix, part)...)
		}
		return all
	}
	if inner := errors.Unwrap(err); inner != nil && ownHint(err) == "" {
		if lead, ok := strings.CutSuffix(err.Error(), inner.Error()); ok {
			if below := split(prefix+lead, inner); len(below) > 1 {
				return below
			}
		}
	}
	return []finding{{Text: prefix + err.Error(), Hints: distinct(rotation.Hints(err))}}
}

// joined returns what errors.Join joined. An error that weaves several others
// into a sentence of its own is left whole.
func joined(err error) []error {
	many, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	parts := many.Unwrap()
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = part.Error()
	}
	if err.Error() != strings.Join(texts, "\n") {
		return nil
	}
	return parts
}

// message is an error on one line, the parts of a joined one set apart.
func (b builder) message(err error) string {
	if err == nil {
		return ""
	}
	var texts []string
	for _, f := range split("", err) {
		texts = append(texts, b.tidy(f.Text))
	}
	return clip(strings.Join(texts, "; "), b.text)
}

func ownHint(err error) string {
	if h, ok := err.(interface{ Hint() string }); ok {
		return h.Hint()
	}
	return ""
}

func distinct(texts []string) []string {
	named := map[string]bool{}
	return slices.DeleteFunc(texts, func(text string) bool { return twice(named, text) })
}
