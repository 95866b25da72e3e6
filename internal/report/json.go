package report

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// schemaVersion grows when a field changes its meaning or goes away; new fields
// may come without it.
const schemaVersion = 1

// document is the JSON report. Arrays are always there; a single value that is
// not known is left out. Times are RFC 3339 in UTC, durations whole milliseconds.
type document struct {
	SchemaVersion   int              `json:"schema_version"`
	Command         string           `json:"command,omitempty"`
	Status          string           `json:"status"`    // as the output of the same name
	ExitCode        int              `json:"exit_code"` // of the process
	Role            string           `json:"role,omitempty"`
	FormerRole      string           `json:"former_role,omitempty"`  // still opens a door, and is not served any more
	RetireAt        string           `json:"retire_at,omitempty"`    // when it may be retired; left out: it is closed by the open emergency
	Retired         string           `json:"retired_role,omitempty"` // role that this run has retired
	Secret          string           `json:"secret,omitempty"`
	Strategy        string           `json:"strategy,omitempty"`
	Mode            string           `json:"mode,omitempty"`
	RotationID      string           `json:"rotation_id,omitempty"`
	Undone          string           `json:"undone,omitempty"`    // rotation that a rollback has undone or is undoing
	Requested       bool             `json:"requested,omitempty"` // the way back was asked for
	OneWay          bool             `json:"one_way,omitempty"`   // a planned rotation that goes forward only: the database refused what was served before
	PostStep        bool             `json:"post_step,omitempty"`
	RotatedAt       string           `json:"rotated_at,omitempty"` // database clock
	DueAt           string           `json:"due_at,omitempty"`     // when a scheduled run changes it next, or, of a check, when it is too old
	BeganAt         string           `json:"began_at,omitempty"`
	ElapsedMS       int64            `json:"elapsed_ms"`
	RefusedWindowMS *int64           `json:"refused_window_ms,omitempty"` // left out: not measured
	Reason          string           `json:"reason,omitempty"`
	FailedStep      string           `json:"failed_step,omitempty"`
	Findings        []findingInJSON  `json:"findings"`  // what went wrong
	Left            []remnantInJSON  `json:"left"`      // what an unfinished emergency has not done
	Next            []string         `json:"next"`      // what to do about it
	Lingering       []string         `json:"lingering"` // what a new password does not take away
	Checks          []checkInJSON    `json:"checks"`    // what a check has looked at
	Plan            []lineInJSON     `json:"plan"`
	Steps           []stepInJSON     `json:"steps"`
	Workloads       []workloadInJSON `json:"workloads"`
	Copies          []copyInJSON     `json:"copies"`
	Laggards        []laggardInJSON  `json:"laggards"`       // who has sessions from before the change
	Refusals        []refusalInJSON  `json:"refused_logins"` // since the change, as far as the database's log was read
	Warnings        []string         `json:"warnings"`
	RunURL          string           `json:"run_url,omitempty"`
	Version         string           `json:"version,omitempty"`
	Shortened       map[string]int   `json:"shortened,omitempty"` // in the output alone: the lists that were too long for it, and how many entries each had
}

type findingInJSON struct {
	Error string   `json:"error"`
	Hints []string `json:"hints"`
}

type remnantInJSON struct {
	Step   string `json:"step"`
	Target string `json:"target,omitempty"` // left out: all that the step is about
	Error  string `json:"error,omitempty"`  // left out: not begun
}

type lineInJSON struct {
	Order    int      `json:"order"` // lines are sorted by it; those of the same number run side by side
	Step     string   `json:"step"`
	Target   string   `json:"target"`
	Change   string   `json:"change,omitempty"` // left out: listed and left alone, or refused
	Warnings []string `json:"warnings"`
	Error    string   `json:"error,omitempty"`
}

type stepInJSON struct {
	Name      string `json:"name"`
	Result    string `json:"result"` // done or failed
	ElapsedMS int64  `json:"elapsed_ms"`
	Detail    string `json:"detail,omitempty"`
}

type workloadInJSON struct {
	Name      string        `json:"name"`
	Result    string        `json:"result"` // restarted, left alone, unhealthy or unproven
	ElapsedMS int64         `json:"elapsed_ms"`
	Error     string        `json:"error,omitempty"`
	Pods      []proofInJSON `json:"pods"`
}

type copyInJSON struct {
	Name      string `json:"name"`
	Result    string `json:"result"` // updated, put back, left as it was, written or unproven
	UpdatedAt string `json:"updated_at,omitempty"`
	Error     string `json:"error,omitempty"`
}

// longestText is how many characters a text of the report may have.
const longestText = 16 << 10

// JSON returns the report for programs, indented, in the shape that document
// describes. It lists everything, whatever the summary folds. The error is
// that of encoding/json and never comes for a Result of this program.
func JSON(res rotation.Result, meta Meta) ([]byte, error) {
	return encode(newBuilder(res, meta, limits{text: longestText}).document(), "  ")
}

func encode(d document, indent string) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(d); err != nil {
		return nil, fmt.Errorf("encode the JSON report: %w", err)
	}
	return bytes.TrimSpace(buf.Bytes()), nil
}

func (b builder) document() document {
	return document{
		SchemaVersion: schemaVersion, Command: b.tidy(b.meta.Command), Status: string(b.Status), ExitCode: b.ExitCode(),
		Role: b.tidy(b.Username), FormerRole: b.tidy(b.FormerRole), RetireAt: instant(b.RetireAt), Retired: b.tidy(b.Retired),
		Secret: b.tidy(b.meta.Secret), Strategy: b.tidy(b.strategy()), Mode: b.tidy(b.mode()),
		RotationID: b.tidy(b.RotationID), Undone: b.tidy(b.Undone), Requested: b.Requested, OneWay: b.OneWay, PostStep: b.meta.Post, RotatedAt: instant(b.RotatedAt), DueAt: instant(b.due()), BeganAt: instant(b.Began), ElapsedMS: b.Elapsed.Milliseconds(),
		RefusedWindowMS: windowMillis(b.Result), Reason: b.tidy(b.Reason), FailedStep: b.tidy(b.FailedStep),
		Findings: convert(b.problems, b.findingInJSON),
		Left:     convert(b.remnants(), b.remnantInJSON), Lingering: convert(b.Lingering, b.tidy),
		Next:   convert(b.advice(endingOf(b.Result, b.meta, len(b.problems))), b.tidy),
		Checks: convert(b.Checks, b.checkInJSON), Plan: convert(b.numbered(), b.lineInJSON), Steps: convert(b.Steps, b.stepInJSON),
		Workloads: convert(b.Workloads, b.workloadInJSON), Copies: convert(b.Copies, b.copyInJSON),
		Laggards: convert(b.Laggards, b.laggardInJSON), Refusals: convert(b.Refusals, b.refusalInJSON), Warnings: convert(b.Warnings, b.tidy), RunURL: b.tidy(b.meta.RunURL), Version: b.tidy(b.meta.Version),
	}
}

func (b builder) findingInJSON(f finding) findingInJSON {
	return findingInJSON{b.tidy(f.Text), convert(f.Hints, b.tidy)}
}

func (b builder) remnantInJSON(r remnant) remnantInJSON {
	return remnantInJSON{b.tidy(r.Step), b.tidy(r.Target), b.message(r.Err)}
}

func (b builder) lineInJSON(line numbered) lineInJSON {
	return lineInJSON{line.order, b.tidy(line.Step), b.tidy(line.Target), b.tidy(line.Change), convert(line.Warnings, b.tidy), b.message(line.Err)}
}

func (b builder) stepInJSON(s rotation.StepResult) stepInJSON {
	detail := b.tidy(s.Detail)
	if s.Err != nil {
		detail = b.message(s.Err)
	}
	return stepInJSON{b.tidy(s.Name), b.ended(s).Text, s.Elapsed.Milliseconds(), detail}
}

func (b builder) workloadInJSON(t rotation.Target) workloadInJSON {
	return workloadInJSON{b.tidy(t.Name), b.restarted(t).Text, t.Elapsed.Milliseconds(), b.message(t.Err), convert(proofsOf(t), b.proofInJSON)}
}

func (b builder) copyInJSON(t rotation.Target) copyInJSON {
	return copyInJSON{b.tidy(t.Name), b.written(t).Text, instant(t.UpdatedAt), b.message(t.Err)}
}

// convert makes an empty array of nothing: readers need not ask for null.
func convert[A, B any](items []A, to func(A) B) []B {
	out := make([]B, 0, len(items))
	for _, item := range items {
		out = append(out, to(item))
	}
	return out
}
