package rotation

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// action does something and says in a few words what came of it.
type action func(ctx context.Context) (detail string, err error)

// task is an action that reports itself.
type task func(ctx context.Context) error

const (
	lateAfter = 3 * time.Second  // for what is under way when the run is told to stop
	lastAfter = 5 * time.Second  // for putting the former password back after that
	attempts  = 3                // for a call whose outcome is not known
	patience  = 10 * time.Second // for one of them
	pause     = 300 * time.Millisecond
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
// was told to stop but has just changed the password.
func (r *run) urgent(name string, do action) task {
	return func(ctx context.Context) error {
		if ctx.Err() != nil && r.sent.IsZero() {
			return fmt.Errorf("start the step %q: %w", name, context.Cause(ctx))
		}
		return r.observed(r.late, name, do)
	}
}

func (r *run) observed(ctx context.Context, name string, do action) error {
	began := r.Now()
	r.emit(Event{Kind: StepStarted, Step: r.label(name)})
	detail, err := do(ctx)
	if err != nil && context.Cause(ctx) == errBeside && ClassOf(err) == Unavailable {
		err = fmt.Errorf("stop the step %q: %w", name, errBeside) // what it was at says nothing
	}
	outcome := Event{Kind: StepDone, Step: r.label(name), Detail: detail, Elapsed: r.Now().Sub(began)}
	switch {
	case isNothing(err):
		outcome.Detail = err.Error()
	case err != nil:
		outcome.Kind, outcome.Err = StepFailed, err
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

// when leaves a task out.
func when(wanted bool, do task) task {
	if !wanted {
		return skip
	}
	return do
}

// together performs the tasks at once and waits for all of them. A failure that
// ends the matter cuts the others short, which is no failure of theirs; any other
// leaves them alone.
func together(ends func(error) bool, tasks ...task) task {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		errs := each(tasks, func(do task) error {
			err := do(ctx)
			if err != nil && ends(err) {
				cancel(errBeside)
			}
			return err
		})
		return errors.Join(slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, errBeside) })...)
	}
}

// each calls do for every item at once and returns the answers in their order. A
// panic of one is the caller's, when all have ended: it must not end the process
// before anybody has said what is open.
func each[T, A any](items []T, do func(T) A) []A {
	answers, panics := make([]A, len(items)), make(chan string, len(items))
	var wg sync.WaitGroup
	for i, item := range items {
		wg.Go(func() {
			defer func() {
				if cause := recover(); cause != nil {
					panics <- fmt.Sprintf("%v, in:\n%s", cause, debug.Stack())
				}
			}()
			answers[i] = do(item)
		})
	}
	wg.Wait()
	if len(panics) > 0 {
		panic(<-panics)
	}
	return answers
}

// insist repeats a call that may be repeated while its outcome is not known.
func insist(ctx context.Context, call func(context.Context) error) error {
	err := limited(ctx, call)
	for n := 1; n < attempts && err != nil && ClassOf(err) == Unavailable; n++ {
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause << (n - 1)):
			err = limited(ctx, call)
		}
	}
	return err
}

// insistOn asks a question again while its answer is not known.
func insistOn[T any](ctx context.Context, question func(context.Context) (T, error)) (answer T, err error) {
	err = insist(ctx, func(ctx context.Context) error {
		answer, err = question(ctx)
		return err
	})
	return answer, err
}

// limited gives up on a call that is not answered: a server that is gone may
// look like one that thinks.
func limited(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return call(ctx)
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
