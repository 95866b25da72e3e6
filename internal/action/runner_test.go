package action_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf16"

	"sigs.k8s.io/yaml"
)

// runner does with a step what GitHub's runner does: it hands the inputs over,
// obeys the workflow commands in the step's output, masks what it was told to
// mask, and reads the files that the step has written. The rules are those of
// github.com/actions/runner, in the files named beside them.
type runner struct {
	folder   string            // of the command files
	defaults map[string]string // of the inputs
	masks    []string

	raw         string            // what the program wrote, without the commands that hide something
	log         []string          // as the runner shows it
	annotations []string          // level, title and message of each that is kept
	outputs     map[string]string // of GITHUB_OUTPUT
	state       map[string]string // of GITHUB_STATE, for the post step
	summary     string            // as it is uploaded
}

// What the runner keeps. ExecutionContext.cs, FileCommandManager.cs.
const (
	annotationsKept = 10 // of each level, in a step
	annotationText  = 4096
	summaryBytes    = 1 << 20
)

// outputBytes is what GitHub takes of the outputs of a job, in UTF-16.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idoutputs
const outputBytes = 1_000_000

// commandFiles are the files that a step may write, by their variable.
var commandFiles = []string{"GITHUB_OUTPUT", "GITHUB_STATE", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"}

// newRunner makes a runner with the inputs that action.yml declares.
func newRunner(folder string) (*runner, error) {
	text, err := os.ReadFile("../../action.yml")
	if err != nil {
		return nil, err
	}
	var metadata struct {
		Inputs map[string]struct {
			Default string `json:"default"`
		} `json:"inputs"`
	}
	r := &runner{folder: folder, defaults: map[string]string{}, state: map[string]string{}}
	err = yaml.Unmarshal(text, &metadata)
	for name, input := range metadata.Inputs {
		r.defaults[name] = input.Default
	}
	return r, err
}

// environment is what the runner sets for a container action: inputs in its own
// spelling (Handler.cs: capitals, spaces become underscores, hyphens stay), and
// a fresh set of command files. given are the inputs of the workflow.
func (r *runner) environment(given map[string]string, github map[string]string) ([]string, error) {
	env := []string{"GITHUB_ACTIONS=true", "CI=true"}
	for name, value := range github {
		env = append(env, "GITHUB_"+name+"="+value)
	}
	for name, value := range r.defaults {
		if set := given[name]; set != "" {
			value = set
		}
		value = strings.ReplaceAll(value, "${{ github.api_url }}", github["API_URL"])
		env = append(env, "INPUT_"+strings.ToUpper(strings.ReplaceAll(name, " ", "_"))+"="+value)
	}
	for name, value := range r.state {
		env = append(env, "STATE_"+name+"="+value)
	}
	for _, name := range commandFiles {
		path := filepath.Join(r.folder, name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return nil, err
		}
		env = append(env, name+"="+path)
	}
	slices.Sort(env)
	return env, nil
}

// finish takes what a step has left: its output, and its files, also when it
// has failed (ActionRunner.cs). The error is about what the runner would refuse.
func (r *runner) finish(stdout, stderr string) error {
	// Lines of stderr may be read before the masks on stdout. ProcessInvoker.cs.
	err := errors.Join(r.listen(stderr), r.listen(stdout))
	r.outputs = map[string]string{}
	return errors.Join(err, r.pairs("GITHUB_OUTPUT", r.outputs), r.pairs("GITHUB_STATE", r.state),
		r.untouched("GITHUB_ENV"), r.untouched("GITHUB_PATH"), r.summarize(), r.handOn())
}

func (r *runner) listen(output string) error {
	var all error
	for line := range strings.Lines(output) {
		if err := r.line(strings.TrimRight(line, "\r\n")); err != nil {
			all = errors.Join(all, err)
		}
	}
	return all
}

// command is one workflow command. ActionCommand.cs.
type command struct {
	name, message string
	fields        map[string]string
}

// line shows a line, or obeys it.
func (r *runner) line(text string) error {
	c, ok := parseCommand(text)
	if c.name != "add-mask" {
		r.raw += text + "\n"
	}
	if !ok {
		r.log = append(r.log, r.mask(text))
		return nil
	}
	switch c.name {
	case "add-mask":
		r.hide(c.message)
	case "group":
		r.log = append(r.log, "##[group]"+r.mask(c.message))
	case "endgroup":
		r.log = append(r.log, "##[endgroup]")
	case "error", "warning", "notice":
		r.annotate(c)
	case "debug":
	default:
		return fmt.Errorf("a line is the workflow command %q: %s", c.name, text)
	}
	return nil
}

// parseCommand takes "::name key=value,...::message" at the beginning of a line,
// white space passed over, and "##[name]message" anywhere in it.
func parseCommand(text string) (command, bool) {
	if rest, ok := strings.CutPrefix(strings.TrimLeft(text, " \t"), "::"); ok {
		head, message, ok := strings.Cut(rest, "::")
		if !ok {
			return command{}, false
		}
		name, fields, _ := strings.Cut(head, " ")
		return command{name: name, message: unescape(message), fields: properties(fields)}, true
	}
	if _, rest, ok := strings.Cut(text, "##["); ok {
		name, message, ok := strings.Cut(rest, "]")
		return command{name: name, message: message}, ok
	}
	return command{}, false
}

func properties(text string) map[string]string {
	fields := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if name, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok {
			fields[name] = unescape(value)
		}
	}
	return fields
}

func unescape(text string) string {
	return strings.NewReplacer("%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",", "%25", "%").Replace(text)
}

func (r *runner) annotate(c command) {
	kept := 0
	for _, before := range r.annotations {
		if strings.HasPrefix(before, c.name+" ") {
			kept++
		}
	}
	message := []rune(r.mask(c.message))
	r.log = append(r.log, "##["+c.name+"]"+string(message))
	if kept < annotationsKept {
		r.annotations = append(r.annotations, fmt.Sprintf("%s %q %q", c.name, r.mask(c.fields["title"]), string(message[:min(len(message), annotationText)])))
	}
}

// hide masks a value and each of its lines, in every spelling that the runner
// knows. ActionCommandManager.cs, HostContext.cs, ValueEncoders.cs.
func (r *runner) hide(value string) {
	if strings.TrimSpace(value) == "" {
		r.annotations = append(r.annotations, `warning "" "Can't add secret mask for empty string in ##[add-mask] command."`)
		return
	}
	for _, one := range append(strings.Split(value, "\n"), value) {
		if one = strings.TrimSpace(one); one != "" {
			r.masks = append(r.masks, encodings(one)...)
		}
	}
	slices.SortFunc(r.masks, func(a, b string) int { return len(b) - len(a) })
	r.masks = slices.Compact(r.masks)
}

// encodings are the spellings of a value that the runner masks.
func encodings(value string) []string {
	quoted, _ := json.Marshal(value) // a string always encodes
	all := []string{
		value,
		strings.ReplaceAll(value, `"`, `\"`), // command line
		strings.ReplaceAll(value, "'", "''"), // expression
		strings.Trim(string(quoted), `"`),
		strings.ReplaceAll(url.QueryEscape(value), "+", "%20"),
		strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;").Replace(value),
		strings.Trim(value, `"`),
	}
	for shift := range min(3, len(value)) { // with padding: inside a longer text only a length that three divides is found
		all = append(all, base64.StdEncoding.EncodeToString([]byte(value[shift:])))
	}
	return slices.DeleteFunc(all, func(s string) bool { return s == "" })
}

func (r *runner) mask(text string) string {
	for _, secret := range r.masks {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

// pairs reads a command file: NAME=VALUE lines, and NAME<<DELIMITER blocks.
// FileCommandManager.cs, EnvFileKeyValuePairs.
func (r *runner) pairs(name string, into map[string]string) error {
	text, err := os.ReadFile(filepath.Join(r.folder, name))
	if err != nil {
		return err
	}
	if err := parsePairs(string(text), into); err != nil {
		return fmt.Errorf("unable to process file command %q: %w", name, err)
	}
	return nil
}

func parsePairs(text string, into map[string]string) error {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for len(lines) > 0 {
		head := lines[0]
		lines = lines[1:]
		if head == "" {
			continue
		}
		var name, value string
		var err error
		equals, heredoc := strings.Index(head, "="), strings.Index(head, "<<")
		switch {
		case equals >= 0 && (heredoc < 0 || equals < heredoc):
			name, value = head[:equals], head[equals+1:]
		case heredoc >= 0 && head[heredoc+2:] != "":
			name = head[:heredoc]
			value, lines, err = block(lines, head[heredoc+2:])
		default:
			return fmt.Errorf("invalid format %q", head)
		}
		if err != nil || name == "" {
			return errors.Join(err, fmt.Errorf("invalid line %q", head))
		}
		into[name] = value
	}
	return nil
}

// block takes the lines up to the delimiter.
func block(lines []string, delimiter string) (value string, rest []string, err error) {
	end := slices.Index(lines, delimiter)
	if end < 0 {
		return "", nil, fmt.Errorf("matching delimiter not found %q", delimiter)
	}
	return strings.Join(lines[:end], "\n"), lines[end+1:], nil
}

// untouched says that a file which pgrotate has no business with was written.
func (r *runner) untouched(name string) error {
	text, err := os.ReadFile(filepath.Join(r.folder, name))
	if len(text) > 0 {
		err = fmt.Errorf("%s was written: %q", name, text)
	}
	return err
}

// summarize reads the summary; one that is too large is dropped as a whole.
func (r *runner) summarize() error {
	text, err := os.ReadFile(filepath.Join(r.folder, "GITHUB_STEP_SUMMARY"))
	if len(text) > summaryBytes {
		return fmt.Errorf("$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of 1024k, got %dk", len(text)>>10)
	}
	r.summary = ""
	for line := range strings.Lines(string(text)) {
		r.summary += r.mask(line)
	}
	return err
}

// handOn makes the outputs those of the job.
func (r *runner) handOn() error {
	size := 0
	for _, value := range r.outputs {
		size += 2 * len(utf16.Encode([]rune(value)))
	}
	if size > outputBytes {
		return fmt.Errorf("the outputs have %d bytes", size)
	}
	return nil
}

// shown is everything that somebody who may read the run can see.
func (r *runner) shown() string {
	all := append(slices.Clone(r.log), r.annotations...)
	for name, value := range r.outputs {
		all = append(all, name+"="+value)
	}
	return strings.Join(append(all, r.summary), "\n")
}
