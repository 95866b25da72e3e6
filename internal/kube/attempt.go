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

// inspection is the time between two looks at the logs of pods that do not
// become ready.
const inspection = 5 * time.Second

// attempt brings the pods of a marked workload to a verdict.
type attempt struct {
	*Workload
	goal     goal
	changed  <-chan struct{}
	witness  secret.Witness // nil: there is none
	progress func(string)

	first    map[types.UID]bool // pods that were there when the first was replaced; nil: none was
	replaced map[types.UID]bool
	proofs   []secret.Proof // of the last look
}

// run returns when every pod is up and asked. ctx limits the whole, limited the
// rollout.
func (a *attempt) run(ctx, limited context.Context) error {
	for {
		pods, err := a.await(limited)
		if err != nil {
			return err
		}
		again, err := a.examine(ctx, pods)
		if err != nil || !again {
			return err
		}
	}
}

// examine asks every pod and replaces those that are refuted, as far as that was
// not tried; then it has to be asked again.
func (a *attempt) examine(ctx context.Context, pods []pod) (again bool, err error) {
	var asked []pod
	if a.proofs, asked, err = a.prove(ctx, pods, a.progress); err != nil {
		return false, err
	}
	if a.witness != nil {
		a.proofs = a.witness(ctx, a.proofs)
	}
	return a.replaceAll(ctx, pods, asked)
}

// inspect searches the logs of the pods that are not ready. What it finds is
// treated like what a health command says: waiting does not mend a wrong password.
func (a *attempt) inspect(ctx context.Context, pods []pod) (again bool, err error) {
	var waiting []pod
	for _, p := range pods {
		if !p.ready {
			waiting = append(waiting, p)
		}
	}
	if a.options.LogLines <= 0 || len(waiting) == 0 {
		return false, nil
	}
	proofs, asked := a.search(ctx, waiting)
	if !slices.ContainsFunc(proofs, isRefuted) {
		return false, nil
	}
	a.proofs = proofs
	return a.replaceAll(ctx, pods, asked)
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

// await follows the rollout until it is judged.
func (a *attempt) await(ctx context.Context) ([]pod, error) {
	looks := time.NewTicker(inspection)
	defer looks.Stop()
	shown := ""
	for look := false; ; {
		v, err := a.judged(a.see(), a.goal)
		if v.detail != "" && v.detail != shown {
			shown = v.detail
			a.progress(shown)
		}
		if (look || classOf(err) == unhealthy) && !v.done {
			again, cause := a.inspect(ctx, v.pods)
			if again && cause == nil {
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
			look = false
		case <-looks.C:
			look = true
		case <-ctx.Done():
			return nil, a.late(ctx, a.see(), a.goal, a.progress)
		}
	}
}
