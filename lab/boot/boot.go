// Package boot starts the parts of the lab, each as soon as those it needs are
// ready, and stops them in the reverse order.
package boot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pgrotate/pgrotate/lab/process"
)

// Part is one thing that the lab is made of.
type Part interface {
	// Start begins what makes the part ready, and changes nothing where it is.
	Start(ctx context.Context) error
	// Ready returns nil when the part does its work. It answers at once.
	Ready(ctx context.Context) error
	// Stop ends the part and undoes what it did to the machine. It does nothing
	// where the part does not run.
	Stop(ctx context.Context) error
}

// Step is a part with its place in the order.
type Step struct {
	Name  string
	After []string // names of the steps that must be ready before it starts
	Part  Part
	Where string        // shown with the name: an address, a file
	Limit time.Duration // how long it may take to become ready; zero: 2 minutes
}

const (
	limit  = 2 * time.Minute
	answer = 5 * time.Second       // for a part to say whether it is ready
	pause  = 50 * time.Millisecond // before it is asked again
)

// Log writes one line per event, with the time since the beginning.
type Log struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
}

// NewLog returns a Log that writes to w and begins now.
func NewLog(w io.Writer) *Log { return &Log{w: w, start: time.Now()} }

// Say writes one line.
func (l *Log) Say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.w, "%6.1fs  %s\n", time.Since(l.start).Seconds(), fmt.Sprintf(format, args...))
}

// Up makes every step ready, those that do not wait for each other at the same
// time. The first failure ends it; what runs by then runs on.
func Up(ctx context.Context, steps []Step, log *Log) error {
	ready := make(map[string]chan struct{}, len(steps))
	for _, s := range steps {
		ready[s.Name] = make(chan struct{})
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, s := range steps {
		group.Go(func() error {
			if err := s.wait(ctx, ready); err != nil {
				return err
			}
			if err := s.up(ctx, log); err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			close(ready[s.Name])
			return nil
		})
	}
	return group.Wait()
}

// wait returns when every step that s comes after is ready.
func (s Step) wait(ctx context.Context, ready map[string]chan struct{}) error {
	for _, name := range s.After {
		before, ok := ready[name]
		if !ok {
			return fmt.Errorf("%s: there is no step %q to come after", s.Name, name)
		}
		select {
		case <-before:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (s Step) up(ctx context.Context, log *Log) error {
	begin := time.Now()
	wait := cmp.Or(s.Limit, limit)
	ctx, cancel := context.WithTimeoutCause(ctx, wait, fmt.Errorf("not ready after %s", wait))
	defer cancel()
	if s.Part.Ready(ctx) == nil {
		log.Say("%-20s ready already   %s", s.Name, s.Where)
		return nil
	}
	if err := s.Part.Start(ctx); err != nil {
		return err
	}
	if err := await(ctx, s.Part); err != nil {
		return err
	}
	log.Say("%-20s ready after %4.1fs %s", s.Name, time.Since(begin).Seconds(), s.Where)
	return nil
}

// await asks until the part is ready, its program has ended, or ctx ends.
func await(ctx context.Context, p Part) error {
	for {
		err := p.Ready(ctx)
		if err == nil {
			return nil
		}
		if ended(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(pause):
		}
	}
}

// Probe asks every part once, all at the same time, and returns why those that
// are not ready are not, by name.
func Probe(ctx context.Context, steps []Step) map[string]error {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	missing := map[string]error{}
	for _, s := range steps {
		all.Go(func() {
			if err := s.Part.Ready(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				missing[s.Name] = err
			}
		})
	}
	all.Wait()
	return missing
}

// Settle is Probe for parts that may be busy: it asks again for up to patience,
// unless a program has ended, which no patience brings back.
func Settle(ctx context.Context, steps []Step, patience time.Duration) map[string]error {
	over := time.After(patience)
	for {
		missing := Probe(ctx, steps)
		if len(missing) == 0 || anyEnded(missing) {
			return missing
		}
		select {
		case <-over:
			return missing
		case <-ctx.Done():
			return missing
		case <-time.After(pause):
		}
	}
}

func anyEnded(errs map[string]error) bool {
	for _, err := range errs {
		if ended(err) {
			return true
		}
	}
	return false
}

func ended(err error) bool { return errors.As(err, &process.Ended{}) }

// Down stops every step in the reverse order, and goes on where one fails.
func Down(ctx context.Context, steps []Step, log *Log) error {
	var failed []error
	for _, s := range slices.Backward(steps) {
		begin := time.Now()
		if err := s.Part.Stop(ctx); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", s.Name, err))
			continue
		}
		log.Say("%-20s stopped after %4.1fs", s.Name, time.Since(begin).Seconds())
	}
	return errors.Join(failed...)
}
