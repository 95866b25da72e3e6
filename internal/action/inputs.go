package action

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// inputs reads the action's inputs and collects everything that is wrong with
// them. The runner hands an input over as INPUT_ and its name in capitals,
// hyphens kept; shells cannot set such a name, so underscores work as well.
type inputs struct {
	getenv   func(string) string
	problems []error
}

// problem is what is wrong with one input, and what to do about it.
type problem struct {
	input, text, hint string
}

func (p *problem) Error() string { return fmt.Sprintf("input `%s`: %s", p.input, p.text) }

// Hint tells what to do about it.
func (p *problem) Hint() string { return p.hint }

// invalid joins the problems of all inputs.
func (in *inputs) invalid() error { return errors.Join(in.problems...) }

func (in *inputs) wrong(input, hint, format string, args ...any) {
	in.problems = append(in.problems, &problem{input: input, text: fmt.Sprintf(format, args...), hint: hint})
}

// refuse says that arguments are not read: who writes `pgrotate plan` must not
// get a rotation. They are not repeated, one of them may be a secret.
func (in *inputs) refuse(arguments []string) {
	if len(arguments) > 0 {
		in.wrong("command", "set the inputs as environment variables, for example `INPUT_COMMAND=plan`", "the program takes no arguments, and was given %d", len(arguments))
	}
}

// blame files the errors of a parser under the input that it read.
func (in *inputs) blame(input string, err error) {
	if err == nil {
		return
	}
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range all.Unwrap() {
			in.blame(input, one)
		}
		return
	}
	var h interface{ Hint() string }
	hint := ""
	if errors.As(err, &h) {
		hint = h.Hint()
	}
	in.wrong(input, hint, "%v", err)
}

// InputNames lists the inputs of the action, in the order of action.yml.
func InputNames() []string {
	return []string{
		"command", "mode", "strategy", "reason",
		"postgres-url", "postgres-password", "postgres-ca", "postgres-pod", "postgres-role", "postgres-alternate-role", "postgres-replicas", "password-length",
		"kubeconfig", "kube-context", "namespace", "kubernetes-secret", "kubernetes-secret-keys", "kubernetes-secret-copies",
		"workloads", "health-command", "health-selector", "log-lines", "print-logs", "rollout-timeout",
		"github-token", "github-secrets", "github-api-url",
		"on-failure", "on-drift", "managed-secret", "terminate-sessions", "keep-previous", "retire-after", "minimum-age", "maximum-age",
		"timeout", "lock-timeout", "report", "job-summary",
	}
}

// text returns an input without the white space around it; empty is unset.
func (in *inputs) text(name string) string {
	upper := strings.ToUpper(name)
	for _, key := range []string{upper, strings.ReplaceAll(upper, "-", "_")} {
		if value := strings.TrimSpace(in.getenv("INPUT_" + key)); value != "" {
			return value
		}
	}
	return ""
}

func (in *inputs) textOr(name, fallback string) string {
	if value := in.text(name); value != "" {
		return value
	}
	return fallback
}

// secret returns an input whose value must never be seen.
func (in *inputs) secret(name string, keep func(string) secret.Value) secret.Value {
	return keep(in.text(name))
}

// choice returns one of the allowed words, the first where the input is unset.
func (in *inputs) choice(name string, allowed ...string) string {
	value := in.textOr(name, allowed[0])
	if !slices.Contains(allowed, value) {
		in.wrong(name, "", "%q is not one of: %s", value, strings.Join(allowed, ", "))
	}
	return value
}

func (in *inputs) flag(name string, fallback bool) bool {
	switch value := in.text(name); value {
	case "":
		return fallback
	case "true", "false":
		return value == "true"
	default:
		in.wrong(name, "", "%q is neither `true` nor `false`", value)
		return fallback
	}
}

func (in *inputs) number(name string, fallback, lowest, highest int) int {
	value := in.text(name)
	if value == "" {
		return fallback
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < lowest || n > highest {
		in.wrong(name, "", "%q is not a whole number from %d to %d", value, lowest, highest)
		return fallback
	}
	return n
}

// duration needs a unit, days included.
func (in *inputs) duration(name string, fallback time.Duration) time.Duration {
	value := in.text(name)
	if value == "" {
		return fallback
	}
	d, err := parseDuration(value)
	if err != nil {
		in.wrong(name, "", "%q is not a duration with a unit, such as 90s, 10m, 24h or 80d", value)
		return fallback
	}
	return d
}

const day = 24 * time.Hour

// longest keeps sums of durations from overflowing.
const longest = 3650 * day

func parseDuration(text string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, errors.New("no unit")
	}
	total := time.Duration(0)
	if days, rest, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseUint(days, 10, 12)
		if err != nil {
			return 0, err
		}
		if total = time.Duration(n) * day; rest == "" {
			return total, within(total)
		}
		text = rest
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, err
	}
	if err := errors.Join(within(d), within(total)); err != nil {
		return 0, err
	}
	return total + d, within(total + d)
}

func within(d time.Duration) error {
	if d < 0 || d > longest {
		return errors.New("out of range")
	}
	return nil
}

// list returns the lines of an input, without blank ones and comments.
func (in *inputs) list(name string) []string {
	var lines []string
	for line := range strings.Lines(in.text(name)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// places returns the host:port entries of a list, without those that are none.
func (in *inputs) places(name string) (all []string) {
	for _, line := range in.list(name) {
		host, port, err := net.SplitHostPort(line)
		if n, wrong := strconv.ParseUint(port, 10, 16); err != nil || host == "" || wrong != nil || n == 0 {
			in.wrong(name, "one host:port per line, an IPv6 address in brackets", "%q is not host:port", line)
			continue
		}
		all = append(all, line)
	}
	return all
}

// argv returns a command: an argument per line, or one line split at spaces.
func (in *inputs) argv(name string) []string {
	if lines := in.list(name); len(lines) != 1 {
		return lines
	}
	return strings.Fields(in.list(name)[0])
}
