package kube

import (
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	const mark = "r1"
	done := rollout{mark: mark, generation: 5, observed: 5, desired: 2, current: 2, updated: 2, available: 2, settled: true}
	with := func(change func(*rollout)) rollout { r := done; change(&r); return r }
	fresh := func(name string) pod { return pod{name: name, mark: mark, ready: true} }
	changed := func(p pod, change func(*pod)) pod { change(&p); return p }
	two := []pod{fresh("a"), fresh("b")}
	old := pod{name: "o", mark: "r0", ready: true}

	for _, test := range []struct {
		name    string
		rollout rollout
		pods    []pod
		done    bool
		detail  string // contained
		wrong   string // contained; empty: nothing is wrong
		taken   bool
	}{
		{name: "done", rollout: done, pods: two, done: true, detail: "2 of 2 pods ready"},
		{name: "an object older than the restart", rollout: with(func(r *rollout) { r.generation, r.observed, r.mark = 4, 4, "" }), pods: two, detail: "waiting for the cluster"},
		{name: "the controller has not seen it", rollout: with(func(r *rollout) { r.observed = 4 }), pods: two, detail: "waiting for its controller"},
		{name: "reverted", rollout: with(func(r *rollout) { r.mark, r.generation, r.writer = "", 6, "kustomize-controller" }), pods: two, wrong: `reverted, the last to change the pod template is "kustomize-controller"`},
		{name: "another rotation", rollout: with(func(r *rollout) { r.mark, r.generation = "r2", 6 }), pods: two, wrong: `another rotation, "r2"`, taken: true},
		{name: "not all updated", rollout: with(func(r *rollout) { r.updated = 1 }), pods: two},
		{name: "more than wanted", rollout: with(func(r *rollout) { r.current = 3 }), pods: two},
		{name: "not available long enough", rollout: with(func(r *rollout) { r.available = 1 }), pods: two},
		{name: "a former revision in use", rollout: with(func(r *rollout) { r.settled = false }), pods: two},
		{name: "an old pod", rollout: done, pods: append([]pod{old}, two...), detail: "2 of 2 pods ready, 1 old"},
		{name: "an old pod that terminates", rollout: done, pods: append([]pod{changed(old, func(p *pod) { p.terminating = true })}, two...), detail: "1 old terminating"},
		{name: "an old pod that ended", rollout: done, pods: append([]pod{changed(old, func(p *pod) { p.ended = true })}, two...), done: true},
		{name: "an evicted new pod", rollout: done, pods: append([]pod{changed(fresh("e"), func(p *pod) { p.ended, p.ready = true, false })}, two...), done: true},
		{name: "a new pod that is scaled down", rollout: done, pods: append([]pod{changed(fresh("d"), func(p *pod) { p.terminating, p.ready = true, false })}, two...), done: true},
		{name: "pods not seen yet", rollout: done, pods: two[:1], detail: "1 of 2 pods ready"},
		{name: "not ready", rollout: done, pods: []pod{fresh("a"), {name: "b", mark: mark, reason: `container "app": ContainerCreating`}},
			detail: `1 of 2 pods ready, pod "b": container "app": ContainerCreating`},
		{name: "one more than wanted is not ready", rollout: done, pods: append([]pod{{name: "c", mark: mark}}, two...), detail: "2 of 3 pods ready"},
		{name: "a new pod in trouble", rollout: with(func(r *rollout) { r.updated = 1 }), pods: []pod{old, {name: "b", mark: mark, trouble: `container "app": CrashLoopBackOff`}},
			wrong: `pod "b": container "app": CrashLoopBackOff`},
		{name: "an old pod in trouble", rollout: done, pods: append([]pod{changed(old, func(p *pod) { p.trouble = "CrashLoopBackOff" })}, two...), detail: "1 old"},
		{name: "the controller gave up", rollout: with(func(r *rollout) { r.updated, r.overdue = 1, "ProgressDeadlineExceeded: x" }), pods: two[:1], wrong: "ProgressDeadlineExceeded"},
		{name: "no replicas", rollout: rollout{mark: mark, generation: 5, observed: 5, settled: true}, done: true, detail: "0 of 0 pods ready"},
		{name: "no replicas, an old pod ends", rollout: rollout{mark: mark, generation: 5, observed: 5, settled: true}, pods: []pod{changed(old, func(p *pod) { p.terminating = true })}},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := judge(test.rollout, test.pods, goal{mark: mark, since: 5})
			if v.done != test.done || v.taken != test.taken || !strings.Contains(v.detail, test.detail) || (v.wrong == "") != (test.wrong == "") || !strings.Contains(v.wrong, test.wrong) {
				t.Errorf("judge = %+v", v)
			}
		})
	}
}

func TestJudgeReturnsLivingNewPods(t *testing.T) {
	r := rollout{mark: "r1", generation: 1, observed: 1, desired: 1, current: 1, updated: 1, available: 1, settled: true}
	pods := []pod{{name: "a", mark: "r1", ready: true}, {name: "b", mark: "r1", ended: true}, {name: "c", mark: "r1", terminating: true}, {name: "d", ended: true}}
	if v := judge(r, pods, goal{mark: "r1", since: 1}); len(v.pods) != 1 || v.pods[0].name != "a" {
		t.Errorf("pods to ask: %+v", v.pods)
	}
}
