package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
)

// reading is a way to read a workload.
type reading func(context.Context) (r rollout, exists bool, err error)

// insist marks the workload, again and again while the API server is away for a
// moment or others write the workload: the same mark twice is one restart. It
// begins with what the watch shows, which costs no request and may be too old. What
// sure says is not asked for again.
func (w *Workload) insist(ctx context.Context, mark string, changed <-chan struct{}, sure func(context.Context) error) (rollout, error) {
	pause := wait.Backoff{Duration: 300 * time.Millisecond, Factor: 2, Steps: 5}
	read := func(ctx context.Context) (rollout, bool, error) { return w.watched(ctx, changed) }
	for ; ; read = w.find {
		r, err := w.compareAndMark(ctx, mark, read, sure)
		if err == nil || !passes(err) || pause.Steps == 0 {
			return r, err
		}
		select {
		case <-ctx.Done():
			return r, err
		case <-time.After(pause.Step()):
		}
	}
}

// passes tells a failure of this package that may not come again.
func passes(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.class == unavailable
}

// watched reads the workload from the watch, when all of its kind are listed.
func (w *Workload) watched(ctx context.Context, changed <-chan struct{}) (rollout, bool, error) {
	for {
		v := w.watcher.alone(w.kind, w.id())
		switch {
		case v.synced:
			return v.rollout, v.exists, nil
		case v.trouble != nil:
			return rollout{}, false, w.unread(v.trouble)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return rollout{}, false, w.unread(context.Cause(ctx))
		}
	}
}

// find asks for this workload alone.
func (w *Workload) find(ctx context.Context) (rollout, bool, error) {
	r, exists, err := w.kind.find(ctx, w.name)
	if err != nil {
		return r, false, w.unread(err)
	}
	return r, exists, nil
}

func (w *Workload) unread(err error) error {
	return w.cluster.failed(fmt.Sprintf("read %s", w), err, rule{group: "apps", resource: w.kind.plural, verbs: []string{"list"}})
}

// compareAndMark marks the workload as it was before sure was asked.
func (w *Workload) compareAndMark(ctx context.Context, mark string, read reading, sure func(context.Context) error) (rollout, error) {
	seen, exists, err := read(ctx)
	switch {
	case err != nil:
		return seen, err
	case !exists:
		return seen, fail(missing, "", "restart %s: not found", w)
	case seen.mark == mark:
		return seen, nil
	}
	if err := sure(ctx); err != nil {
		return seen, fmt.Errorf("restart %s: %w", w, err)
	}
	return w.mark(ctx, mark, seen.version)
}

// mark patches the pod template of the workload's version, of any if that is
// empty. It leaves kubectl's own restart annotation alone: whoever owns that one
// would find it changed by a stranger.
func (w *Workload) mark(ctx context.Context, mark, version string, dryRun ...string) (rollout, error) {
	body, err := restartPatch(mark, version)
	if err != nil {
		return rollout{}, fmt.Errorf("encode the restart of %s: %w", w, err)
	}
	r, err := w.kind.patch(ctx, w.name, body, dryRun...)
	switch {
	case apierrors.IsConflict(err): // somebody else, its controller most of the time, wrote between
		return r, fail(unavailable, "", "restart %s: %v", w, err)
	case err != nil:
		return r, w.cluster.failed(fmt.Sprintf("restart %s", w), err,
			rule{group: "apps", resource: w.kind.plural, name: w.name, verbs: []string{"patch"}})
	}
	return r, nil
}

func restartPatch(mark, version string) ([]byte, error) {
	patch := map[string]any{"spec": map[string]any{"template": map[string]any{
		"metadata": map[string]any{"annotations": map[string]string{annotationRestart: mark}}}}}
	if version != "" {
		patch["metadata"] = map[string]string{"resourceVersion": version}
	}
	return json.Marshal(patch)
}
