package act

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Log is what a run has said, line by line.
type Log []Line

// Line is one line of act's log as JSON.
type Line struct {
	Message string `json:"msg"`
	Job     string `json:"job"`     // names of the workflow and the job, of the called ones behind them
	Stage   string `json:"stage"`   // Pre, Main or Post of a step
	Command string `json:"command"` // that a step gave the runner, such as "set-output" or "error"
	Name    string `json:"name"`    // of an output
	Value   string `json:"arg"`     // of an output or another command
	Content string `json:"content"` // of a summary
	Result  string `json:"jobResult"`
}

func readLog(text io.Reader) (log Log, err error) {
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<24) // a summary is one line
	for lines.Scan() {
		var line Line
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			line.Message = lines.Text() // act's own last words are no JSON
		}
		log = append(log, line)
	}
	return log, lines.Err()
}

// Output is what the jobs whose names end in job have set an output to, last.
func (l Log) Output(job, name string) (value string) {
	for _, line := range l {
		if line.Command == "set-output" && line.Name == name && strings.HasSuffix(strings.TrimSpace(line.Job), job) {
			value = line.Value
		}
	}
	return value
}

// Of is what was said in a stage of the steps: Pre, Main or Post.
func (l Log) Of(stage string) Log {
	return slices.DeleteFunc(slices.Clone(l), func(line Line) bool { return line.Stage != stage })
}

// Summaries are all that steps added to the summaries of their jobs.
func (l Log) Summaries() (all string) {
	for _, line := range l {
		all += line.Content
	}
	return all
}

// Results are how the jobs ended, by name.
func (l Log) Results() map[string]string {
	results := map[string]string{}
	for _, line := range l {
		if line.Result != "" {
			results[strings.TrimSpace(line.Job)] = line.Result
		}
	}
	return results
}

// Contains tells whether a message holds a text.
func (l Log) Contains(text string) bool {
	return slices.ContainsFunc(l, func(line Line) bool { return strings.Contains(line.Message, text) })
}

// String is what a reader of the log on GitHub sees. Lines that ask to mask
// something are left out, as they are there.
func (l Log) String() string {
	var shown strings.Builder
	for _, line := range l {
		if line.Command == "add-mask" {
			continue
		}
		fmt.Fprintf(&shown, "%s | %s\n", strings.TrimSpace(line.Job), strings.TrimRight(line.Message, "\n"))
	}
	return shown.String()
}
