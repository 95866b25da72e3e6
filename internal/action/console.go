package action

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sethvargo/go-githubactions"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// console is what a person watches. Rules of the output:
//   - everything goes to stdout: the runner reads stderr first, before the masks;
//   - on GitHub each step is a folded group, and its outcome a line outside of it;
//   - no line of ours is a workflow command, whatever a server has answered;
//   - no secret: texts are scrubbed before they are folded or escaped, after which a
//     search would not find one any more, and the writer below scrubs every line.
type console struct {
	w      io.Writer
	scrub  func(string) string
	github *githubactions.Action // nil: not on GitHub
	open   int                   // steps that have started and not ended
	ended  []string              // outcomes that wait for the group to close
}

// Observe shows an event of the rotation.
func (c *console) Observe(e rotation.Event) {
	switch e.Kind {
	case rotation.StepStarted:
		if c.open++; c.open == 1 {
			c.group(e.Step)
		}
	case rotation.StepProgress:
		c.line("  %s: %s: %s", e.Step, e.Target, e.Detail)
	case rotation.StepDone, rotation.StepFailed:
		c.ended = append(c.ended, outcome(e))
		if c.open--; c.open == 0 {
			c.endGroup()
		}
	}
}

func outcome(e rotation.Event) string {
	took := e.Elapsed.Round(time.Millisecond)
	switch {
	case e.Kind == rotation.StepFailed:
		return fmt.Sprintf("✗ %s, %s: %v", e.Step, took, e.Err)
	case e.Err != nil:
		return fmt.Sprintf("– %s: %v", e.Step, e.Err)
	}
	return fmt.Sprintf("✓ %s, %s: %s", e.Step, took, e.Detail)
}

func (c *console) group(name string) {
	if c.github != nil {
		c.github.Group(name)
	}
}

func (c *console) endGroup() {
	if c.github != nil {
		c.github.EndGroup()
	}
	for _, text := range c.ended {
		c.line("%s", text)
	}
	c.ended = nil
}

// line prints one line; what would be a workflow command is defused.
func (c *console) line(format string, args ...any) {
	text := oneLine(c.scrub(fmt.Sprintf(format, args...)))
	if strings.HasPrefix(format, "  ") {
		text = "  " + text
	}
	_, _ = fmt.Fprintln(c.w, harmless(text))
}

// harmless keeps a line from being a workflow command: the runner takes "::" at
// its beginning, white space passed over, and "##[" anywhere.
func harmless(line string) string {
	if strings.HasPrefix(strings.TrimSpace(line), "::") {
		line = strings.Replace(line, "::", "∶:", 1)
	}
	return strings.ReplaceAll(line, "##[", "##\u2060[")
}

// annotate shows a titled error or warning, on GitHub beside the run.
func (c *console) annotate(level, title, message string) {
	if c.github == nil {
		c.line("%s: %s: %s", level, title, message)
		return
	}
	message = c.scrub(message)
	titled := c.github.WithFieldsMap(map[string]string{"title": title})
	if level == "warning" {
		titled.Warningf("%s", message)
		return
	}
	titled.Errorf("%s", message)
}
