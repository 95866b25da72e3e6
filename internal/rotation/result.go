package rotation

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Status is how a run ended, in one word.
type Status string

const (
	StatusRotated    Status = "rotated"     // proven everywhere
	StatusUnchanged  Status = "unchanged"   // nothing to do, nothing written
	StatusPlanned    Status = "planned"     // a plan was made
	StatusRolledBack Status = "rolled-back" // the previous password is back everywhere
	StatusUnfinished Status = "unfinished"  // the journal is open: run again
	StatusFailed     Status = "failed"      // stopped before any password changed
	StatusRefused    Status = "refused"     // the preflight spoke against it
	StatusBusy       Status = "busy"        // somebody else is at it
	StatusOverdue    Status = "overdue"     // a check found the password too old
	StatusDrifted    Status = "drifted"     // a check found a place that has another one
)

// Result is what a run did. It holds no secret.
type Result struct {
	Status     Status
	Mode       Mode   // of the rotation that was made or is open, else of what was asked for
	Strategy   string // likewise
	RotationID string
	Username   string
	RotatedAt  time.Time // database clock
	Began      time.Time
	Elapsed    time.Duration
	FailedStep string
	// RefusedWindow is the measured time from ALTER ROLE to the end of the
	// restart (or until the former password was put back, where that came
	// first), in which new logins with it were refused; 0 where this run did not
	// see both ends.
	RefusedWindow time.Duration
	Reason        string // why nothing was done, or what the person who asked said
	Steps         []StepResult
	Workloads     []Target
	Copies        []Target
	Plan          []Line
	Targets       []Line // what a run that left a rotation open has to write and restart: step and name only
	Warnings      []string
	Laggards      []Laggard
	Refusals      []Refusal
	Lingering     []string  // what a new password does not take away from whoever had the compromised one
	Requested     bool      // the way back was asked for
	FormerRole    string    // still opens a door, and is not served any more
	RetireAt      time.Time // when it may be retired
	Retired       string    // role that this run has retired
	Others        bool      // the open rotation is somebody else's emergency, and that of this run is not begun
	OneWay        bool      // a planned rotation that was, or is, only going forward
	Undone        string    // the rotation that a rollback has undone, or is undoing
	Checks        []Check   // what a check looked at; none: it was none, or could not begin
	OverdueAt     time.Time // when the password is, or was, too old for a check; zero: at no time
	Err           error     // what stopped the run, or turned it back
}

// StepResult is one step as it ended.
type StepResult struct {
	Name    string
	Detail  string
	Elapsed time.Duration
	Err     error
}

// Target is a copy or a workload as it ended.
type Target struct {
	Kind      string // "copy" or "workload"
	Name      string
	Elapsed   time.Duration
	UpdatedAt time.Time      // of a copy, where its store says so
	Pods      []secret.Proof // of a workload
	Err       error
}

// Unhealthy returns the workloads that did not come up well.
func (res Result) Unhealthy() []Target {
	return slices.DeleteFunc(slices.Clone(res.Workloads), func(t Target) bool { return t.Err == nil })
}

// ExitCode is 0 when done or when there was nothing to do; 1 when rolled back unasked,
// committed with unhealthy workloads, or a check found something; 2 when nothing was
// touched; 3 when the journal is open, a copy could not be mended or somebody else is at it.
func (res Result) ExitCode() int {
	switch res.Status {
	case StatusRotated, StatusUnchanged, StatusPlanned:
		return min(1, len(res.Unhealthy()))
	case StatusRolledBack:
		if res.Requested && res.Err == nil {
			return min(1, len(res.Unhealthy()))
		}
		return 1
	case StatusOverdue, StatusDrifted:
		return 1
	case StatusUnfinished, StatusBusy:
		if len(res.Checks) > 0 {
			return 1
		}
		return 3
	case StatusFailed:
		if len(res.Copies) > 0 {
			return 3
		}
	}
	return 2
}

// finish turns how the machine ended into a Result.
func (r *run) finish(err error) Result {
	r.describe()
	r.endAs(err)
	return r.result
}

// describe tells what the run was about: the journal's rotation, where it has ended
// one or one is open, else what it was asked for.
func (r *run) describe() {
	res := &r.result
	res.Began, res.Elapsed = r.began, r.Now().Sub(r.began)
	res.Username, res.RotatedAt = r.served.Credential.User, r.served.RotatedAt
	res.Mode, res.Strategy = r.asked(), cmp.Or(r.Strategy, InPlace)
	if r.unfinished() || res.RotationID != "" {
		res.Mode, res.Strategy = cmp.Or(r.state.Mode, res.Mode), cmp.Or(r.state.Record.Strategy, res.Strategy)
	}
	r.doors()
	res.Others = r.emergency() && r.unfinished() && r.state.Mode == Emergency && !r.mine()
	if r.started || r.unfinished() {
		res.Undone, res.OneWay = r.state.Record.Undoes, r.state.Record.Repairs
	}
	switch {
	case r.unfinished():
		res.RotationID, res.Targets = r.state.ID, r.listed()
	case res.RotationID == "":
		res.RotationID = r.served.RotationID
	}
}

// endAs tells how it ended.
func (r *run) endAs(err error) {
	res := &r.result
	var idle *nothing
	switch turnedBack := res.Status == StatusRolledBack; {
	case err == nil:
	case errors.As(err, &idle) && turnedBack: // and is said already
	case errors.As(err, &idle):
		res.Status, res.Reason = StatusUnchanged, idle.reason
	case turnedBack && r.claimed == 0:
		res.Err = err // a way back has ended, the rotation after it did not begin
	default:
		res.Status, res.Err = r.stoppedAs(err), errors.Join(r.because, err)
	}
	if res.Status == StatusRotated || res.Err == nil && r.because == nil { // what it was is warned of
		res.FailedStep = ""
	}
}

// unfinished tells whether a rotation is under way, as far as this run knows.
func (r *run) unfinished() bool { return r.state.Phase == Forward || r.state.Phase == Back }

// stoppedAs names a run that did not reach its end.
func (r *run) stoppedAs(err error) Status {
	switch class := ClassOf(err); {
	case class == Busy:
		return StatusBusy
	case errors.As(err, new(*mismatch)), class == Missing && r.claimed == 0 && r.given == "":
		return StatusRefused
	case r.unfinished(), r.unsure:
		return StatusUnfinished
	case class == Conflict:
		return StatusBusy
	case r.claimed == 0 && (r.result.FailedStep == "preflight" || class == Refused || class == Missing):
		return StatusRefused
	}
	return StatusFailed
}

func (r *run) finishPlan(err error) Result {
	res := r.finish(err)
	switch {
	case err == nil:
		res.Status = StatusPlanned
	case !isNothing(err):
		res.Status = StatusRefused
	}
	return res
}

// asked is the mode of what this run was asked for.
func (r *run) asked() Mode {
	if r.Mode == "" {
		return Planned
	}
	return r.Mode
}

// conclude notes a commit.
func (r *run) conclude(turned Phase) {
	r.result.RotationID = r.state.ID
	switch turned {
	case Idle:
		r.result.Status, r.result.Reason = StatusUnchanged, "only copies that somebody else had written were written again"
		if r.retiring {
			r.result.Reason = "only the role that was served before was to be retired"
		}
		return
	case Back:
		r.result.Requested = r.command == rollback && r.because == nil && r.state.Record.Undoes == ""
		r.result.Status, r.result.Err = StatusRolledBack, r.because
		return
	}
	r.result.Status, r.result.Err = StatusRotated, nil
	r.result.Reason = r.state.Reason
}

func (r *run) report(t Target) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := &r.result.Copies
	if t.Kind == "workload" {
		list = &r.result.Workloads
	}
	if i := slices.IndexFunc(*list, func(old Target) bool { return old.Name == t.Name }); i >= 0 {
		(*list)[i] = t
		return
	}
	*list = append(*list, t)
}

func (r *run) warn(texts ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range texts {
		if !slices.Contains(r.result.Warnings, text) {
			r.result.Warnings = append(r.result.Warnings, text)
		}
	}
}

func (r *run) linger(texts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Lingering = texts
}

// updated is when a copy's store said, after this run wrote it, that it was updated.
func (r *run) updated(c Copy) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.result.Copies {
		if t.Name == c.String() {
			return t.UpdatedAt
		}
	}
	return time.Time{}
}

// written returns the copies that this run has written without an error.
func (r *run) written(copies []Copy) []Copy {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(copies), func(c Copy) bool {
		return slices.ContainsFunc(r.result.Copies, func(t Target) bool { return t.Name == c.String() && t.Err != nil })
	})
}

func (r *run) keepPlan(lines []Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Plan = lines
}

// listed names the copies, and the workloads that are restarted, in the order of the runbook.
func (r *run) listed() []Line {
	var all []Line
	for _, target := range r.ClusterCopies {
		all = append(all, Line{Step: "cluster copies", Target: target.String()})
	}
	for _, target := range r.restarted() {
		all = append(all, Line{Step: "restart", Target: target.String()})
	}
	for _, target := range r.RemoteCopies {
		all = append(all, Line{Step: "GitHub", Target: target.String()})
	}
	return all
}

// restarted are the workloads that a rotation restarts.
func (r *run) restarted() []Workload {
	return slices.DeleteFunc(slices.Clone(r.Workloads), Workload.LeftAlone)
}

func (r *run) copies() []Copy { return slices.Concat(r.ClusterCopies, r.RemoteCopies) }

func names(copies []Copy) (all []string) {
	for _, c := range copies {
		all = append(all, c.String())
	}
	return all
}

// targets lists every copy with the time at which its store was seen updated.
func (r *run) targets() []Stored {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Stored
	for _, c := range r.copies() {
		one := Stored{Name: c.String()}
		if i := slices.IndexFunc(r.state.Record.Targets, func(s Stored) bool { return s.Name == one.Name }); i >= 0 {
			one = r.state.Record.Targets[i]
		}
		for _, t := range r.result.Copies {
			if t.Name == one.Name && !t.UpdatedAt.IsZero() {
				one.UpdatedAt = optional(t.UpdatedAt)
			}
		}
		all = append(all, one)
	}
	return all
}

// sameDocument compares what the journal is made of; annotations of others are theirs.
func sameDocument(stored, wanted secret.Document) bool {
	ours := maps.Clone(stored.Annotations)
	maps.DeleteFunc(ours, func(name, _ string) bool { return !strings.HasPrefix(name, annotation) })
	return maps.Equal(ours, wanted.Annotations) &&
		maps.EqualFunc(stored.Data, wanted.Data, secret.Value.Equal)
}

// label names a step on the way back apart from the same one on the way forward.
func (r *run) label(name string) string {
	if r.state.Phase == Back && slices.Contains([]string{"database", "served Secret", "cluster copies", "standbys", "restart", "GitHub", "health", "verify"}, name) {
		return "back: " + name
	}
	return name
}
