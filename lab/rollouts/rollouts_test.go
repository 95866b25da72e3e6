package rollouts

import (
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var app = map[string]string{"app": "shop"}

func deployment(generation int64, updated int32) *appsv1.Deployment {
	two := int32(2)
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shop", UID: "d", Generation: generation},
		Spec:   appsv1.DeploymentSpec{Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: app}},
		Status: appsv1.DeploymentStatus{ObservedGeneration: generation, Replicas: 2, AvailableReplicas: 2, UpdatedReplicas: updated}}
}

func statefulSet(generation int64, now string) *appsv1.StatefulSet {
	one := int32(1)
	return &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "core", UID: "s", Generation: generation},
		Spec:   appsv1.StatefulSetSpec{Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "core"}}},
		Status: appsv1.StatefulSetStatus{ObservedGeneration: generation, Replicas: 1, AvailableReplicas: 1, CurrentRevision: now, UpdateRevision: "r2"}}
}

func pod(uid types.UID) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: string(uid), UID: uid, Labels: app}}
}

func failed(uid types.UID) *corev1.Pod {
	p := pod(uid)
	p.Status.Phase = corev1.PodFailed
	return p
}

// ended is a pod that is gone.
type ended types.UID

func TestRolloutTakesUntilItIsCompleteAndItsOldPodsHaveEnded(t *testing.T) {
	for name, c := range map[string]struct {
		steps []any
		took  time.Duration
	}{
		"nothing changes":                         {[]any{deployment(1, 2)}, 0},
		"complete after its old pods":             {[]any{deployment(2, 0), pod("new"), ended("old-1"), ended("old-2"), deployment(2, 2), deployment(2, 2)}, 4 * time.Second},
		"complete before its old pods have ended": {[]any{deployment(2, 0), deployment(2, 2), ended("old-1"), ended("old-2")}, 3 * time.Second},
		"first seen complete":                     {[]any{ended("old-1"), ended("old-2"), deployment(2, 2)}, 0},
		"an old pod has failed":                   {[]any{deployment(2, 0), deployment(2, 2), ended("old-1"), failed("old-2"), ended("old-2")}, 3 * time.Second},
		"one of two does not end":                 {[]any{deployment(2, 0), statefulSet(2, "r1"), deployment(2, 2), ended("old-1"), ended("old-2")}, 0},
		"an old pod is left":                      {[]any{deployment(2, 0), deployment(2, 2), ended("old-1")}, 0},
		"not complete":                            {[]any{deployment(2, 0), ended("old-1"), ended("old-2"), deployment(2, 1)}, 0},
		"a StatefulSet takes longer": {[]any{deployment(2, 0), statefulSet(2, "r1"), ended("old-1"), ended("old-2"), deployment(2, 2),
			deployment(2, 2), statefulSet(2, "r2")}, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHistory([]any{deployment(1, 2), statefulSet(1, "r2"), pod("old-1"), pod("old-2")})
				for _, step := range c.steps {
					time.Sleep(time.Second)
					if uid, is := step.(ended); is {
						h.gone(pod(types.UID(uid)))
					} else {
						h.seen(step)
					}
				}
				if took := h.longest(); took != c.took {
					t.Errorf("the rollout took %s, want %s", took, c.took)
				}
			})
		})
	}
}
