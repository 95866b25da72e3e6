package kube

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// When to print the last lines of the pods' logs.
const (
	PrintNever     = "never"
	PrintOnFailure = "on-failure"
	PrintAlways    = "always"
)

// Options say how the restart of a workload is proven.
type Options struct {
	RolloutTimeout time.Duration // required: for one workload, from its restart to its last old pod's end
	LogLines       int           // last lines of each new pod that are searched for refused logins; 0: none
	PrintLogs      string        // PrintNever (also when empty), PrintOnFailure or PrintAlways
	HealthCommand  []string      // executed in each new pod, exit 0 is healthy; none when empty
	// Unhealthy is what to do about a workload that is not healthy even before the
	// restart, and about pods that nothing restarts and that keep the old password.
	Unhealthy Reaction
}

const (
	// together is how many pods of a workload are asked at once.
	together = 8
	// logBytes limits what is read of a log, whatever its lines are.
	logBytes = 1 << 20
)

// authFailure finds the words by which PostgreSQL and its drivers refuse a
// password. https://www.postgresql.org/docs/current/errcodes-appendix.html
var authFailure = regexp.MustCompile(`(?i)\b28P01\b|password authentication failed|SASL authentication failed|authentication failed (for user|against database)|no password supplied`)

// prove asks every new pod whether it is well. A pod that is gone again, scaled
// down or evicted, proves nothing either way.
func (w *Workload) prove(ctx context.Context, pods []pod, progress func(string)) error {
	errs := make([]error, len(pods))
	slots := make(chan struct{}, together)
	var asked sync.WaitGroup
	for i, p := range pods {
		slots <- struct{}{}
		asked.Go(func() {
			defer func() { <-slots }()
			errs[i] = w.provePod(ctx, p, progress)
		})
	}
	asked.Wait()
	return errors.Join(errs...)
}

func (w *Workload) provePod(ctx context.Context, p pod, progress func(string)) error {
	lines, err := w.scan(ctx, p)
	if err == nil {
		err = w.ask(ctx, p, progress)
	}
	if classOf(err) == missing {
		progress(fmt.Sprintf("pod %q is gone before it could be asked", p.name))
		return nil
	}
	if w.options.PrintLogs == PrintAlways || err != nil && w.options.PrintLogs == PrintOnFailure {
		w.print(p, lines, progress)
	}
	return err
}

// scan searches the last lines of a pod's log. The error counts the lines that
// tell of a refused login and shows none.
func (w *Workload) scan(ctx context.Context, p pod) ([]string, error) {
	if w.options.LogLines <= 0 {
		return nil, nil
	}
	lines, err := w.tail(ctx, p)
	if err != nil {
		return nil, err
	}
	found := 0
	for _, line := range lines {
		if authFailure.MatchString(line) {
			found++
		}
	}
	if found > 0 {
		return lines, fail(unhealthy, "the pod may have started with the former password, or another of its credentials is wrong: see its log",
			"check pod %q of %s: %d of the last %d lines of its log tell of a refused login", p.name, w, found, len(lines))
	}
	return lines, nil
}

// tail reads the last lines of the log of a pod's container, or of the one
// before it that crashed.
func (w *Workload) tail(ctx context.Context, p pod) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	count, limit := int64(w.options.LogLines), int64(logBytes)
	raw, err := w.cluster.core.Get().Namespace(w.cluster.namespace).Resource("pods").Name(p.name).SubResource("log").
		VersionedParams(&corev1.PodLogOptions{Container: p.container, TailLines: &count, LimitBytes: &limit, Previous: p.crashed}, w.cluster.codec).
		Do(ctx).Raw()
	if err != nil {
		return nil, w.cluster.failed(fmt.Sprintf("read the log of pod %q", p.name), err, rule{resource: "pods/log", verbs: []string{"get"}})
	}
	text := strings.TrimRight(string(raw), "\n")
	if text == "" {
		return nil, nil
	}
	return strings.Split(text, "\n"), nil
}

// report prints the logs of the pods of a rollout that failed.
func (w *Workload) report(ctx context.Context, pods []pod, progress func(string)) {
	if w.options.LogLines <= 0 || w.options.PrintLogs != PrintAlways && w.options.PrintLogs != PrintOnFailure {
		return
	}
	for _, p := range pods {
		lines, err := w.tail(ctx, p)
		if err != nil && classOf(err) != missing {
			progress(fmt.Sprintf("pod %q: %v", p.name, err))
		}
		w.print(p, lines, progress)
	}
}

// print hands lines on without secrets, control characters and excess length.
func (w *Workload) print(p pod, lines []string, progress func(string)) {
	for _, line := range lines {
		progress(p.name + " | " + oneLine(w.cluster.keeper.Scrub(line)))
	}
}
