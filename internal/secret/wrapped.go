package secret

import "strings"

// Tools wrap long text: base64 at 64 or 76 characters, YAML at 80. A form that
// goes on in the next line is no substring of the text any more.

// shortestHead is how much of a form must stand at the end of a line for the
// line to be kept back until the next one is seen. Less gives nothing away, but
// what follows does: see scrubRests.
const shortestHead = 3

// unwrapped is a text without its line breaks and the indentation after them.
type unwrapped struct {
	text string
	at   []int // position of each byte in the original
}

func unwrap(s string) unwrapped {
	u := unwrapped{at: make([]int, 0, len(s))}
	var b strings.Builder
	begins := true // of a line
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\n' || c == '\r':
			begins = true
			continue
		case begins && (c == ' ' || c == '\t'):
			continue
		}
		begins = false
		b.WriteByte(s[i])
		u.at = append(u.at, i)
	}
	u.text = b.String()
	return u
}

// scrubWrapped replaces the forms that line breaks have torn apart. Each line
// that held a part of one keeps its break.
func (k *Keeper) scrubWrapped(s string) string {
	u := unwrap(s)
	for _, form := range k.forms {
		for done := 0; len(form) >= shortestForm; {
			i := strings.Index(u.text[done:], form)
			if i < 0 {
				break
			}
			start, end := u.at[done+i], u.at[done+i+len(form)-1]+1
			stars := strings.Repeat("***\n", strings.Count(s[start:end], "\n")) + "***"
			s = s[:start] + stars + s[end:]
			u, done = unwrap(s), done+i+strings.Count(stars, "*")
		}
	}
	return s
}

// scrubRests replaces, at the start of a line, forms that lack fewer characters
// than shortestHead: these may have ended the line before.
func (k *Keeper) scrubRests(s string) string {
	lines := strings.SplitAfter(s, "\n")
	for i, line := range lines {
		body := strings.TrimLeft(line, " \t")
		for _, form := range k.forms {
			for missing := 1; missing < shortestHead && len(form) > shortestForm+missing; missing++ {
				if rest, ok := strings.CutPrefix(body, form[missing:]); ok {
					body = "***" + rest
				}
			}
		}
		lines[i] = line[:len(line)-len(strings.TrimLeft(line, " \t"))] + body
	}
	return strings.Join(lines, "")
}

// whole returns how much of text, which ends with a line break, can be
// written: not the last lines when what comes next may make them hold a form.
func (k *Keeper) whole(text string) int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	u := unwrap(text)
	first := len(u.text)
	for _, form := range k.forms {
		if len(form) < shortestForm {
			continue
		}
		for n := min(len(form)-1, len(u.text)); n >= shortestHead; n-- {
			if strings.HasSuffix(u.text, form[:n]) {
				first = min(first, len(u.text)-n)
				break
			}
		}
	}
	if first == len(u.text) {
		return len(text)
	}
	return strings.LastIndexByte(text[:u.at[first]], '\n') + 1
}
