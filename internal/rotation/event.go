package rotation

import "time"

// Kind is what an Event tells.
type Kind int

const (
	StepStarted Kind = iota
	StepProgress
	StepDone
	StepFailed
)

// Event is one thing that an observer may show. It holds no secret.
type Event struct {
	Kind    Kind
	Step    string
	Target  string // of a progress
	Detail  string
	Elapsed time.Duration // of the step, when it has ended
	Err     error
}

func (r *run) progress(step, target, detail string) {
	r.emit(Event{Kind: StepProgress, Step: r.label(step), Target: target, Detail: detail})
}

// emit notes the end of a step in the result and shows the event.
func (r *run) emit(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.Kind == StepDone || e.Kind == StepFailed {
		r.result.Steps = append(r.result.Steps, StepResult{Name: e.Step, Detail: e.Detail, Elapsed: e.Elapsed, Err: e.Err})
	}
	if e.Kind == StepFailed && r.result.FailedStep == "" {
		r.result.FailedStep = e.Step
	}
	if r.Observe != nil {
		r.Observe(e)
	}
}
