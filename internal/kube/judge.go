package kube

import (
	"fmt"
	"strings"
)

// goal is what a restart is to reach.
type goal struct {
	mark string
	// since is the generation that the restart made: what is older does not know
	// of it yet.
	since int64
}

// verdict is what a workload and its pods say about a goal.
type verdict struct {
	done   bool
	detail string // how far it is
	wrong  string // why it will not get there; empty: it may
	// taken says that another run has restarted the workload meanwhile.
	taken bool
	pods  []pod // that carry the mark and live
}

// judge decides whether a restart is done: its controller says so and every pod
// of the workload carries the mark and is ready. "kubectl rollout status" is
// content while old pods still terminate, with their sessions open. judge asks
// nobody.
func judge(r rollout, pods []pod, g goal) verdict {
	v := verdict{}
	switch {
	case r.generation < g.since:
		v.detail = "waiting for the cluster to show the restart"
		return v
	case r.mark == "":
		v.wrong = "the restart was reverted"
		if r.writer != "" {
			v.wrong += fmt.Sprintf(", the last to change the pod template is %q", r.writer)
		}
		return v
	case r.mark != g.mark:
		v.wrong, v.taken = fmt.Sprintf("it was restarted for another rotation, %q", r.mark), true
		return v
	case r.observed < r.generation:
		v.detail = "waiting for its controller"
		return v
	}
	count := countPods(pods, g.mark)
	v.pods, v.detail = count.fresh, count.progress(r.desired)
	switch {
	case len(count.trouble) > 0:
		v.wrong = count.trouble[0]
	case r.overdue != "":
		v.wrong = r.overdue
	}
	v.done = v.wrong == "" && reported(r) && count.proven(r.desired)
	return v
}

// reported is what the controller says, all from one read of the workload: the
// conditions of "kubectl rollout status".
func reported(r rollout) bool {
	return r.settled && r.updated == r.desired && r.current == r.desired && r.available == r.desired
}

// tally sorts the pods of a workload.
type tally struct {
	fresh                   []pod // with the mark, meant to live
	ready, old, terminating int
	trouble                 []string
	waiting                 string // what the first one that is not ready waits for
}

func countPods(pods []pod, mark string) tally {
	var t tally
	for _, p := range pods {
		switch {
		case p.ended:
		case p.mark != mark && p.terminating:
			t.terminating++
		case p.mark != mark:
			t.old++
		case p.terminating: // scaled down meanwhile
		default:
			t.add(p)
		}
	}
	return t
}

func (t *tally) add(p pod) {
	t.fresh = append(t.fresh, p)
	switch {
	case p.trouble != "":
		t.trouble = append(t.trouble, fmt.Sprintf("pod %q: %s", p.name, p.trouble))
	case p.ready:
		t.ready++
	case t.waiting == "" && p.reason != "":
		t.waiting = fmt.Sprintf("pod %q: %s", p.name, p.reason)
	}
}

func (t tally) proven(desired int32) bool {
	return t.old == 0 && t.terminating == 0 && t.ready == len(t.fresh) && t.ready >= int(desired)
}

// progress is what people see.
func (t tally) progress(desired int32) string {
	parts := []string{fmt.Sprintf("%d of %d pods ready", t.ready, max(int(desired), len(t.fresh)))}
	if t.old > 0 {
		parts = append(parts, fmt.Sprintf("%d old", t.old))
	}
	if t.terminating > 0 {
		parts = append(parts, fmt.Sprintf("%d old terminating", t.terminating))
	}
	if t.waiting != "" {
		parts = append(parts, t.waiting)
	}
	return strings.Join(parts, ", ")
}
