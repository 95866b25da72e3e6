package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// A pod that starts right after the Secret was written may get the former
// password all the same: its node's kubelet reads a cache
// (https://github.com/kubernetes/kubernetes/issues/129645). Waiting before the
// restart would only make that rarer. A pod that is refuted is replaced, once;
// a replacement that is refuted, too, has another reason.

// The time between two looks at the log of a pod that does not become ready
// doubles from the first to the last: a thousand workloads may wait at once. It is a
// tenth of the whole time at most, which must not be over before the next look.
const (
	inspection     = 5 * time.Second
	lastInspection = time.Minute
)

// attempt brings the pods of a marked workload to a verdict.
type attempt struct {
	*Workload
	goal     goal
	changed  <-chan struct{}
	witness  secret.Witness // nil: there is none
	progress func(string)

	first    map[types.UID]bool // pods that were there when the first was replaced; nil: none was
	replaced map[types.UID]bool
	proofs   []secret.Proof     // of the last look
	looks    map[types.UID]look // at logs of pods that are not ready
	early    early
}

// look is when the log of a pod is looked at the next time, and how long after the last.
type look struct {
	next  time.Time
	pause time.Duration
}

// rounds is how often the pods are brought up and asked at most, where others come
// or one is started again while they are asked.
const rounds = 3

// run returns when every pod is up and asked.
func (a *attempt) run(ctx context.Context) error {
	for n := 1; ; n++ {
		asked, err := a.bringUp(ctx)
		if err != nil {
			return err
		}
		if changed, err := a.changedSince(asked); err != nil || !changed || n == rounds {
			return err
		}
	}
}

// bringUp waits for the pods and asks them. Only the wait has a limit of its own.
func (a *attempt) bringUp(ctx context.Context) ([]pod, error) {
	limited, cancel := context.WithTimeoutCause(ctx, a.options.RolloutTimeout, errSlow)
	defer a.early.running.Wait()
	defer cancel()
	for {
		pods, err := a.await(limited)
		if err != nil {
			return nil, err
		}
		if again, err := a.examine(ctx, pods); err != nil || !again {
			return pods, err
		}
	}
}

// changedSince looks once more: while pods were asked one of them may have crashed,
// or another have come, which nobody has asked.
func (a *attempt) changedSince(asked []pod) (bool, error) {
	v, err := a.judged(a.see(), a.goal)
	return !v.done || slices.ContainsFunc(v.pods, func(p pod) bool {
		return !slices.ContainsFunc(asked, func(known pod) bool { return known.life() == p.life() })
	}), err
}

// examine asks every pod and replaces those that are refuted, as far as that was
// not tried; then it has to be asked again.
func (a *attempt) examine(ctx context.Context, pods []pod) (again bool, err error) {
	var asked []pod
	if a.proofs, asked, err = a.prove(ctx, pods); err != nil {
		return false, err
	}
	if a.witness != nil {
		a.proofs = a.witness(ctx, a.proofs)
	}
	return a.replaceAll(ctx, pods, asked)
}

// suspects are the pods whose logs are looked at now: those that have one and are
// not ready, all of them where something is wrong.
func (a *attempt) suspects(v verdict, wrong, tick bool) (waiting []pod) {
	if v.done || !wrong && !tick {
		return nil
	}
	if a.looks == nil {
		a.looks = map[types.UID]look{}
	}
	for _, p := range v.pods {
		if inspected(p) && (wrong || a.due(p, time.Now())) {
			waiting = append(waiting, p)
		}
	}
	return waiting
}

// inspected tells whether a pod has a log that is looked at before all pods are up.
func inspected(p pod) bool { return p.started && !p.ready }

// inspections tick while there is a pod to be inspected: where nothing happens, a
// thousand workloads wake nobody up.
type inspections struct{ ticker *time.Ticker }

// while is a channel that ticks while it is wanted, and nil while not.
func (i *inspections) while(wanted bool) <-chan time.Time {
	switch {
	case !wanted:
		i.stop()
		return nil
	case i.ticker == nil:
		i.ticker = time.NewTicker(inspection)
	}
	return i.ticker.C
}

// stop may be called at any time.
func (i *inspections) stop() {
	if i.ticker != nil {
		i.ticker.Stop()
		i.ticker = nil
	}
}

// due tells whether the log of a pod has not been looked at for long enough.
func (a *attempt) due(p pod, now time.Time) bool {
	last := a.looks[p.uid]
	if now.Add(inspection / 2).Before(last.next) { // the last tick may have come late, this one not
		return false
	}
	pause := max(inspection, min(2*last.pause, lastInspection, a.options.RolloutTimeout/10))
	a.looks[p.uid] = look{now.Add(pause), pause}
	return true
}

// inspect searches the logs of pods that are not ready. What it finds is treated
// like what a health command says: waiting does not mend a wrong password.
// there are all pods that live.
func (a *attempt) inspect(ctx context.Context, there, waiting []pod) (again bool, err error) {
	if a.options.LogLines <= 0 || len(waiting) == 0 {
		return false, nil
	}
	proofs, asked := a.search(ctx, waiting)
	if !slices.ContainsFunc(proofs, isRefuted) {
		return false, nil
	}
	a.proofs = proofs
	return a.replaceAll(ctx, there, asked)
}

func isRefuted(p secret.Proof) bool { return p.Evidence == secret.Refuted }

// replaceAll deletes the refuted pods, unless one of them has had its chance.
// a.proofs are those of asked; there are the pods that live.
func (a *attempt) replaceAll(ctx context.Context, there, asked []pod) (again bool, err error) {
	var refuted []pod
	var errs []error
	for i, p := range asked {
		if !isRefuted(a.proofs[i]) {
			continue
		}
		refuted = append(refuted, p)
		if a.first != nil && (!a.first[p.uid] || a.replaced[p.uid]) {
			errs = append(errs, a.refuted(a.proofs[i]))
		}
	}
	if len(refuted) == 0 || len(errs) > 0 {
		return false, errors.Join(errs...)
	}
	if a.first == nil {
		a.first, a.replaced = map[types.UID]bool{}, map[types.UID]bool{}
		for _, p := range there {
			a.first[p.uid] = true
		}
	}
	for _, p := range refuted {
		a.replaced[p.uid] = true
		errs = append(errs, a.replace(ctx, p))
	}
	return true, errors.Join(errs...)
}

// refuted is the failure for a pod that was replaced once already.
func (w *Workload) refuted(p secret.Proof) error {
	return fail(unhealthy, "the pod may have started with the former password, or another of its credentials is wrong: see its log",
		"check pod %q of %s: %s", p.Pod, w, p.Reason)
}

// replace deletes one pod and no other one of its name; its controller makes
// another.
func (a *attempt) replace(ctx context.Context, p pod) error {
	a.progress(fmt.Sprintf("pod %q is refuted and replaced once: it may have started with the former password", p.name))
	ctx, done, err := a.cluster.core.begin(ctx)
	if err != nil {
		return a.cluster.failed(fmt.Sprintf("replace pod %q", p.name), err, rule{})
	}
	defer done()
	err = a.cluster.core.Delete().Namespace(a.cluster.namespace).Resource("pods").Name(p.name).
		Body(&metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(p.uid))}).Do(ctx).Error()
	if class := classify(err); err == nil || class == missing || class == conflict { // it is gone
		return nil
	}
	return a.cluster.failed(fmt.Sprintf("replace pod %q", p.name), err, rule{resource: "pods", verbs: []string{"delete"}})
}

// alive leaves out the pods that were told to go.
func (a *attempt) alive(seen view) view {
	seen.pods = slices.DeleteFunc(slices.Clone(seen.pods), func(p pod) bool { return a.replaced[p.uid] })
	return seen
}

// see shows the workload without the pods that were told to go.
func (a *attempt) see() view { return a.alive(a.watcher.see(a.kind, a.id())) }

// await follows the rollout until it is judged, anew after each change only.
func (a *attempt) await(ctx context.Context) ([]pod, error) {
	var ticks inspections
	defer ticks.stop()
	var v verdict
	var err error
	shown := ""
	for tick := false; ; {
		if !tick {
			v, err = a.judged(a.see(), a.goal)
			if err == nil {
				a.askEarly(ctx, v.pods)
			}
		}
		if v.detail != "" && v.detail != shown {
			shown = v.detail
			a.progress(shown)
		}
		if waiting := a.suspects(v, classOf(err) == unhealthy, tick); len(waiting) > 0 {
			again, cause := a.inspect(ctx, v.pods, waiting)
			if again && cause == nil {
				tick = false
				continue
			}
			err = errors.Join(err, cause)
		}
		if err != nil {
			a.report(ctx, v.pods, a.progress)
			return nil, err
		}
		if v.done {
			return v.pods, nil
		}
		select {
		case <-a.changed:
			tick = false
		case <-ticks.while(a.options.LogLines > 0 && slices.ContainsFunc(v.pods, inspected)):
			tick = true
		case <-ctx.Done():
			return nil, a.late(ctx, a.see(), a.goal, a.progress)
		}
	}
}
