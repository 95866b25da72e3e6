package rotation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// action does something and says in a few words what came of it.
type action func(ctx context.Context) (detail string, err error)

// task is an action that reports itself.
type task func(ctx context.Context) error

const (
	grace    = 5 * time.Second // for a call that is under way when the run is told to stop
	attempts = 3               // for a call whose outcome is not known
	pause    = 300 * time.Millisecond
)

var (
	errTimeout     = errors.New("`timeout` is over")
	errForwardOver = errors.New("the time for the way forward is over")
	errBeside      = errors.New("the step beside it failed")
)

// step makes a task of an action. It is not started when ctx has ended.
func (r *run) step(name string, do action) task {
	return func(ctx context.Context) error {
		if ctx.Err() != nil {
			return fmt.Errorf("start the step %q: %w", name, context.Cause(ctx))
		}
		return r.observed(ctx, name, do)
	}
}

// urgent makes a step that is also started, with a few seconds, when the run
// was told to stop but the password has just been changed.
func (r *run) urgent(name string, do action) task {
	return func(ctx context.Context) error {
		if ctx.Err() != nil && r.altered.IsZero() {
			return fmt.Errorf("start the step %q: %w", name, context.Cause(ctx))
		}
		ctx, cancel := outlive(ctx, grace)
		defer cancel()
		return r.observed(ctx, name, do)
	}
}

func (r *run) observed(ctx context.Context, name string, do action) error {
	began := r.Now()
	r.emit(Event{Kind: StepStarted, Step: r.label(name)})
	detail, err := do(ctx)
	outcome := Event{Kind: StepDone, Step: r.label(name), Detail: detail, Elapsed: r.Now().Sub(began), Err: err}
	if err != nil && !isNothing(err) {
		outcome.Kind = StepFailed
	}
	r.emit(outcome)
	return err
}

// sequence performs the tasks in order and stops at the first error.
func sequence(ctx context.Context, tasks ...task) error {
	for _, do := range tasks {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// together performs the tasks at once and waits for all of them. A definite
// failure of one cuts the others short; an unknown outcome does not.
func together(tasks ...task) task {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		errs := each(tasks, func(do task) error {
			err := do(ctx)
			if err != nil && ClassOf(err) != Unavailable {
				cancel(errBeside)
			}
			return err
		})
		return errors.Join(errs...)
	}
}

// each calls do for every item at once and returns the answers in their order.
func each[T, A any](items []T, do func(T) A) []A {
	answers := make([]A, len(items))
	var wg sync.WaitGroup
	for i, item := range items {
		wg.Go(func() { answers[i] = do(item) })
	}
	wg.Wait()
	return answers
}

// insist repeats a call that may be repeated while its outcome is not known.
func insist(ctx context.Context, call func() error) error {
	var err error
	for n := range attempts {
		if err = call(); err == nil || ClassOf(err) != Unavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause << n):
		}
	}
	return err
}

// outlive returns a context that ends d after ctx does.
func outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(d):
			cancel(context.Cause(ctx))
		case <-longer.Done():
		}
	})
	return longer, func() { stop(); cancel(nil) }
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
