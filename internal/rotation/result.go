package rotation

import (
	"errors"
	"maps"
	"slices"
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
)

// Result is what a run did. It holds no secret.
type Result struct {
	Status     Status
	RotationID string
	Username   string
	RotatedAt  time.Time // database clock
	Began      time.Time
	Elapsed    time.Duration
	FailedStep string
	// RefusedWindow is the measured time from ALTER ROLE to the end of the
	// restart, in which new logins with the former password were refused; 0
	// where this run did not see both ends.
	RefusedWindow time.Duration
	Reason        string // why nothing was done, or what the person who asked said
	Steps         []StepResult
	Workloads     []Target
	Copies        []Target
	Plan          []Line
	Warnings      []string
	Err           error // what stopped the run, or turned it back
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
	UpdatedAt time.Time // of a copy, where its store says so
	Err       error
}

// Unhealthy returns the workloads that did not come up well.
func (res Result) Unhealthy() []Target {
	return slices.DeleteFunc(slices.Clone(res.Workloads), func(t Target) bool { return t.Err == nil })
}

// ExitCode is 0 when done or when there was nothing to do; 1 when rolled back,
// or committed with unhealthy workloads; 2 when nothing was touched; 3 when the
// journal is open or somebody else is at it.
func (res Result) ExitCode() int {
	switch res.Status {
	case StatusRotated, StatusUnchanged, StatusPlanned:
		return min(1, len(res.Unhealthy()))
	case StatusRolledBack:
		return 1
	case StatusUnfinished, StatusBusy:
		return 3
	}
	return 2
}

// finish turns how the machine ended into a Result.
func (r *run) finish(err error) Result {
	res := &r.result
	res.Began, res.Elapsed = r.began, r.Now().Sub(r.began)
	res.RotationID, res.Username = r.state.ID, r.served.Credential.User
	if res.RotatedAt.IsZero() {
		res.RotatedAt = r.served.RotatedAt
	}
	if err == nil {
		return *res
	}
	var idle *nothing
	if errors.As(err, &idle) {
		if res.Status == "" {
			res.Status, res.Reason = StatusUnchanged, idle.reason
		}
		return *res
	}
	res.Status, res.Err = r.stoppedAs(err), errors.Join(r.because, err)
	return *res
}

// stoppedAs names a run that did not reach its end.
func (r *run) stoppedAs(err error) Status {
	switch {
	case ClassOf(err) == Busy:
		return StatusBusy
	case r.state.Phase == Forward, r.state.Phase == Back:
		return StatusUnfinished
	case r.claimed == 0 && ClassOf(err) != Conflict:
		return StatusRefused
	case ClassOf(err) == Conflict:
		return StatusBusy
	case ClassOf(err) == Unavailable && r.result.FailedStep == "journal":
		return StatusUnfinished // the write may have arrived
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

// conclude notes a commit.
func (r *run) conclude(turned Phase) {
	if turned == Back {
		r.result.Status, r.result.Err = StatusRolledBack, r.because
		return
	}
	r.result.Status = StatusRotated
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

func (r *run) keepPlan(lines []Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Plan = lines
}

func (r *run) copies() []Copy { return slices.Concat(r.ClusterCopies, r.RemoteCopies) }

// targets lists every copy with the time at which its store was seen updated.
func (r *run) targets() []Stored {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Stored
	for _, c := range r.copies() {
		one := Stored{Name: c.String()}
		for _, t := range r.result.Copies {
			if t.Name == one.Name {
				one.UpdatedAt = optional(t.UpdatedAt)
			}
		}
		all = append(all, one)
	}
	return all
}

func sameDocument(stored, wanted secret.Document) bool {
	return maps.Equal(stored.Annotations, wanted.Annotations) &&
		maps.EqualFunc(stored.Data, wanted.Data, secret.Value.Equal)
}

// label names a step on the way back apart from the same one on the way forward.
func (r *run) label(name string) string {
	if r.state.Phase == Back && slices.Contains([]string{"database", "served Secret", "cluster copies", "restart", "GitHub", "verify"}, name) {
		return "back: " + name
	}
	return name
}
