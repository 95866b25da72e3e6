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

	"github.com/pgrotate/pgrotate/internal/secret"
)

// When to print the last lines of the pods' logs.
const (
	PrintNever     = "never"
	PrintOnFailure = "on-failure"
	PrintAlways    = "always"
)

// Options say how the restart of a workload is proven.
type Options struct {
	RolloutTimeout time.Duration // required: for one workload, from its restart to its last old pod's end; and again for pods that come while it is asked
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

// prove asks every new pod whether it is well, and returns the proof of each that
// was asked. A pod that is gone again, scaled down or evicted, proves nothing
// either way.
func (a *attempt) prove(ctx context.Context, pods []pod) ([]secret.Proof, []pod, error) {
	return each(pods, func(p pod) (secret.Proof, error) { return a.provePod(ctx, p) })
}

// search looks for refused logins in the logs of the pods. A log that cannot be
// read yet shows none.
func (w *Workload) search(ctx context.Context, pods []pod) ([]secret.Proof, []pod) {
	proofs, asked, _ := each(pods, func(p pod) (secret.Proof, error) {
		proof, _, err := w.scan(ctx, p)
		return proof, err
	})
	return proofs, asked
}

// each asks some pods at once and returns the answers of those that gave one.
func each(pods []pod, ask func(pod) (secret.Proof, error)) (proofs []secret.Proof, asked []pod, err error) {
	answers, errs := make([]secret.Proof, len(pods)), make([]error, len(pods))
	slots := make(chan struct{}, together)
	var running sync.WaitGroup
	for i, p := range pods {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			answers[i], errs[i] = ask(p)
		})
	}
	running.Wait()
	for i, p := range pods {
		if errs[i] == nil {
			proofs, asked = append(proofs, answers[i]), append(asked, p)
		} else if classOf(errs[i]) != missing {
			err = errors.Join(err, errs[i])
		}
	}
	return proofs, asked, err
}

func (a *attempt) provePod(ctx context.Context, p pod) (secret.Proof, error) {
	proof, lines, err := a.scan(ctx, p)
	switch {
	case err != nil || isRefuted(proof):
	case a.agreed(p):
		proof.Evidence = secret.ByHealthCommand
	default:
		proof.Evidence, proof.Reason, err = a.ask(ctx, p, a.progress)
	}
	if classOf(err) == missing {
		a.progress(fmt.Sprintf("pod %q is gone before it could be asked", p.name))
		return proof, err
	}
	if a.options.PrintLogs == PrintAlways || (err != nil || isRefuted(proof)) && a.options.PrintLogs == PrintOnFailure {
		a.print(p, lines, a.progress)
	}
	return proof, err
}

// scan searches the last lines of a pod's log. The reason counts the lines that
// tell of a refused login and shows none.
func (w *Workload) scan(ctx context.Context, p pod) (proof secret.Proof, lines []string, err error) {
	proof = secret.Proof{Pod: p.name, Addresses: p.addresses}
	if w.options.LogLines <= 0 {
		return proof, nil, nil
	}
	if lines, err = w.tail(ctx, p); err != nil {
		return proof, nil, err
	}
	found := 0
	for _, line := range lines {
		if authFailure.MatchString(line) {
			found++
		}
	}
	if found > 0 {
		proof.Evidence, proof.Reason = secret.Refuted, fmt.Sprintf("%d of the last %d lines of its log tell of a refused login", found, len(lines))
	}
	return proof, lines, nil
}

// tail reads the last lines of the log of a pod's container, or of the one
// before it that crashed.
func (w *Workload) tail(ctx context.Context, p pod) ([]string, error) {
	count, limit := int64(w.options.LogLines), int64(logBytes)
	raw, err := w.cluster.log(ctx, w.cluster.namespace, p.name, &corev1.PodLogOptions{Container: p.container, TailLines: &count, LimitBytes: &limit, Previous: p.crashed})
	if err != nil {
		return nil, err
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
