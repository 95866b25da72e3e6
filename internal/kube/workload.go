package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Workload is a Deployment, StatefulSet or DaemonSet. Its pods read the
// credential when they start, so a rotation restarts them. Something else that
// reads it is one too, listed and never restarted.
type Workload struct {
	cluster *Cluster // in its namespace
	kind    *kind
	name    string
	foreign bool     // it is in another namespace than the served Secret
	ways    []string // how its pods read the credential
	unnamed []string // containers of its template, see Unnamed
	secrets []string // those of its namespace that hold the credential
	options Options
	watcher *watcher
	aside   *aside // why it is not restarted; nil: it is
	serves  bool   // its template says that it listens on PostgreSQL's port
	perhaps string // the database's address, where it does not tell whether this is the database
}

// String is "kind/name", as kubectl takes it, after "namespace/" where that is
// not the namespace of the served Secret.
func (w *Workload) String() string {
	if w.foreign {
		return w.cluster.namespace + "/" + w.id()
	}
	return w.id()
}

// id is unique in the namespace.
func (w *Workload) id() string { return w.kind.name + "/" + w.name }

// LeftAlone says that it is never restarted.
func (w *Workload) LeftAlone() bool { return w.aside != nil }

// Unnamed names the containers that take the password from a key, and the user
// name from none: they have it from somewhere else, where nobody changes it. New
// pods are meant, and not those of the database, which reads both only once. It
// asks nobody.
func (w *Workload) Unnamed() []string { return w.unnamed }

// dryMark is the mark of a restart that is only tried.
const dryMark = "dry-run"

// Plan tells how the workload reads the credential and finds out, by a dry run
// of the server, whether it may be restarted. It changes nothing. An empty
// change means that it is not restarted, and a warning says why. Class refused:
// a restart would not replace every pod, or nothing would. Class unhealthy: as far
// as Options.Unhealthy refuses, some pods are not available even before it.
func (w *Workload) Plan(ctx context.Context) (change string, warnings []string, err error) {
	if w.aside != nil {
		return w.passOver()
	}
	r, err := w.mark(ctx, dryMark, "", metav1.DryRunAll)
	switch {
	case err != nil:
		return "", nil, err
	case r.mark != dryMark:
		return "", nil, fail(refused, "an admission webhook or policy of the cluster changes it on its way: ask who runs it to leave this annotation alone"+leftOut,
			"restart %s: the API server would store something else in annotation %q of its pod template", w, annotationRestart)
	}
	if r.obstacle != "" {
		return "", nil, fail(refused, r.remedy+leftOut, "restart %s: %s (%s)", w, r.obstacle, w.how())
	}
	if r.available < r.desired || r.updated < r.desired {
		text := fmt.Sprintf("it is not healthy before the start: %d of %d pods available, %d of the present revision", r.available, r.desired, r.updated)
		if w.options.Unhealthy != Warn {
			return "", nil, fail(unhealthy, "mend it first, or take it out of the rotation: an unhealthy rollout could not be told from a bad password", "restart %s: %s", w, text)
		}
		warnings = append(warnings, fmt.Sprintf("%s: %s", w, text))
	}
	return w.change(r), append(warnings, w.doubts(ctx, r)...), nil
}

// doubts are what may go wrong with a restart that is possible.
func (w *Workload) doubts(ctx context.Context, r rollout) []string {
	var warnings []string
	if w.perhaps != "" {
		warnings = append(warnings, fmt.Sprintf("%s may be the database itself, which cannot be told by the address %s: if it is, name its pod in `postgres-pod`, or list in `workloads` what is to be restarted", w, w.perhaps))
	}
	if r.operator != "" {
		warnings = append(warnings, fmt.Sprintf("%s is managed by %s, which may undo a restart", w, r.operator))
	}
	if r.blind && r.desired > 0 && len(w.options.HealthCommand) == 0 {
		warnings = append(warnings, fmt.Sprintf("%s has a container without a readiness probe: its pods count as ready as soon as they start", w))
	}
	if annotation := w.reloaded(ctx, r.reloader); annotation != "" {
		warnings = append(warnings, fmt.Sprintf("%s has the annotation %q: its controller restarts it a second time when the Secret changes "+
			"(Reloader does not where the Secret has %s: \"true\")", w, annotation, reloadIgnore))
	}
	return warnings
}

func (w *Workload) change(r rollout) string {
	if r.desired == 0 {
		return fmt.Sprintf("has no pods: those it gets later read the new password (%s)", w.how())
	}
	return fmt.Sprintf("restarts %d pods (%s)", r.desired, w.how())
}

func (w *Workload) how() string {
	if len(w.ways) == 0 {
		return "none of them reads the Secret by its pod template"
	}
	return strings.Join(w.ways, "; ")
}

// Restart makes every pod carry mark, as an annotation, and returns when all of
// it is proven: the controller is done, no pod without the mark is left,
// terminating ones included, all are ready, the log of none shows a refused
// login, and the health command agrees in each, or has agreed since its container
// started. Pods that come or are started again meanwhile are waited for and asked,
// too, as long as they do so twice at most. A pod of which one of the two
// says otherwise, or the witness, if there is one, is replaced once. It changes
// nothing where the mark is there already. sure is asked between reading the
// workload and changing it, and its error ends the matter: who has changed the
// workload since then is not written over. progress hears how far it is; the lines
// of logs that Options.PrintLogs asks for come there too.
//
// The proofs are of the pods that were asked, with an error of those that it was
// about. Class refused: nothing was changed. Class unhealthy: the pods are being
// replaced, and came up wrong or not in time, or may not be looked at, or somebody
// reverted the restart. Class conflict: another rotation restarted the workload.
func (w *Workload) Restart(ctx context.Context, mark string, sure func(context.Context) error, witness secret.Witness, progress func(detail string)) ([]secret.Proof, error) {
	if w.aside != nil {
		return nil, nil
	}
	changed, leave := w.watcher.follow(w.kind, w.id())
	defer leave()
	restarted, err := w.insist(ctx, mark, changed, sure)
	if err != nil {
		return nil, err
	}
	a := &attempt{Workload: w, goal: goal{mark: mark, since: restarted.generation}, changed: changed, witness: witness, progress: progress}
	err = a.run(ctx)
	return a.proofs, underway(err)
}

// underway gives refusals the class of pods that came up wrong: they are being
// replaced all the same.
func underway(err error) error {
	switch e := err.(type) {
	case *failure:
		if e.class == refused {
			return &failure{class: unhealthy, text: e.text, hint: e.hint}
		}
	case interface{ Unwrap() []error }:
		var all []error
		for _, inner := range e.Unwrap() {
			all = append(all, underway(inner))
		}
		return errors.Join(all...)
	}
	return err
}

var errSlow = errors.New("the rollout takes too long")

// judged turns what is seen into a verdict, or into the error that ends the wait.
func (w *Workload) judged(seen view, g goal) (verdict, error) {
	if apierrors.IsForbidden(seen.trouble) {
		return verdict{}, w.cluster.failed(fmt.Sprintf("watch %s", w), seen.trouble, seen.needs)
	}
	switch {
	case !seen.synced:
		return verdict{}, nil
	case !seen.exists:
		return verdict{}, fail(unhealthy, "", "restart %s: somebody deleted it meanwhile", w)
	}
	v := judge(seen.rollout, seen.pods, g)
	switch {
	case v.taken:
		return v, fail(conflict, "", "restart %s: %s", w, v.wrong)
	case v.wrong != "":
		return v, fail(unhealthy, "", "restart %s: %s", w, w.cluster.keeper.Scrub(v.wrong))
	}
	return v, nil
}

// late tells why the wait has ended without a verdict. When the API server
// could not be reached, nobody knows how the pods are.
func (w *Workload) late(ctx context.Context, seen view, g goal, progress func(string)) error {
	if cause := context.Cause(ctx); !errors.Is(cause, errSlow) {
		return fail(unavailable, "", "restart %s: not seen to its end: %v", w, cause)
	}
	if seen.trouble != nil || !seen.synced {
		return fail(unavailable, "", "watch %s: the API server does not answer", w)
	}
	v, err := w.judged(seen, g)
	if err != nil {
		return err
	}
	w.report(context.WithoutCancel(ctx), v.pods, progress)
	return fail(unhealthy, "", "restart %s: not done after %v: %s", w, w.options.RolloutTimeout, w.cluster.keeper.Scrub(v.detail))
}
