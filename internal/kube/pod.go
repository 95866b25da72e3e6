package kube

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// pod is what a rollout needs to know of a pod.
type pod struct {
	name        string
	uid         types.UID
	addresses   []string // IP addresses that are its own; none on the network of its node
	mark        string
	ready       bool
	terminating bool
	ended       bool   // its processes are gone for good, though the object is still there
	trouble     string // why it will not start by itself, or empty
	reason      string // why it is not ready yet, or empty
	crashed     bool   // what it has to say is in the log of the former container
	container   string // the one that logs and the health command are about
	started     bool   // that container runs or has run: it has a log
	restarts    int32  // of all its containers
}

// ofPod returns the pod and the workload that it belongs to, as "kind/name".
func ofPod(o *corev1.Pod) (pod, string) {
	p := pod{name: o.Name, uid: o.UID, addresses: ownAddresses(o), mark: o.Annotations[annotationRestart], ready: isReady(o), terminating: o.DeletionTimestamp != nil,
		ended: o.Status.Phase == corev1.PodFailed || o.Status.Phase == corev1.PodSucceeded, container: defaultContainer(o)}
	p.reason = waitsFor(o)
	for _, status := range slices.Concat(o.Status.InitContainerStatuses, o.Status.ContainerStatuses) {
		if w := status.State.Waiting; w != nil && hopeless(w) && p.trouble == "" {
			p.trouble = strings.TrimSuffix(fmt.Sprintf("container %q: %s: %s", status.Name, w.Reason, oneLine(w.Message)), ": ")
			p.crashed, p.container = w.Reason == "CrashLoopBackOff", status.Name
		}
	}
	p.started, p.restarts = hasStarted(o, p.container), restarts(o)
	return p, ownerOf(o)
}

func hasStarted(o *corev1.Pod, container string) bool {
	return slices.ContainsFunc(slices.Concat(o.Status.InitContainerStatuses, o.Status.ContainerStatuses), func(s corev1.ContainerStatus) bool {
		return s.Name == container && (s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil)
	})
}

// restarts counts those of sidecars, too: one of them may hold the credential.
func restarts(o *corev1.Pod) (n int32) {
	for _, status := range slices.Concat(o.Status.InitContainerStatuses, o.Status.ContainerStatuses) {
		n += status.RestartCount
	}
	return n
}

// trimPod drops what ofPod does not look at, which is most of a pod.
func trimPod(o *corev1.Pod) {
	o.ManagedFields = nil
	spec := corev1.PodSpec{HostNetwork: o.Spec.HostNetwork}
	for _, c := range o.Spec.Containers {
		spec.Containers = append(spec.Containers, corev1.Container{Name: c.Name})
	}
	o.Spec = spec
}

// ownAddresses are those that no other pod has.
func ownAddresses(o *corev1.Pod) (all []string) {
	if o.Spec.HostNetwork {
		return nil
	}
	for _, ip := range o.Status.PodIPs {
		all = append(all, ip.IP)
	}
	return all
}

// ownerOf climbs from a pod to what restarts it, "kind/name"; a pod that nobody
// owns is its own. ReplicaSets are named after their owner and the hash of its
// template, by Kubernetes and by Argo Rollouts.
// https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label
func ownerOf(o *corev1.Pod) string {
	owner := metav1.GetControllerOf(o)
	if owner == nil {
		return "pod/" + o.Name
	}
	for label, word := range map[string]string{"pod-template-hash": "deployment", "rollouts-pod-template-hash": "rollout"} {
		hash := o.Labels[label]
		if name, ok := strings.CutSuffix(owner.Name, "-"+hash); ok && hash != "" && owner.Kind == "ReplicaSet" {
			return word + "/" + name
		}
	}
	word := strings.ToLower(owner.Kind)
	if group, _, grouped := strings.Cut(owner.APIVersion, "/"); grouped && group != "apps" && group != "batch" {
		word += "." + group // others have StatefulSets, too
	}
	return word + "/" + owner.Name
}

// hopeless tells whether a container waits for a reason that waiting does not mend.
// A kubelet that has not heard of a Secret yet tries again: it says so by the same
// reason as of one that is not there.
func hopeless(w *corev1.ContainerStateWaiting) bool {
	switch w.Reason {
	case "CreateContainerConfigError":
		return !strings.Contains(w.Message, "cache: timed out waiting for the condition")
	case "CrashLoopBackOff", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RunContainerError":
		return true
	}
	return false
}

func isReady(o *corev1.Pod) bool {
	return slices.ContainsFunc(o.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// waitsFor says what a pod that is not ready waits for, as far as it shows.
func waitsFor(o *corev1.Pod) string {
	for _, c := range o.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Reason + ": " + oneLine(c.Message)
		}
	}
	for _, status := range slices.Concat(o.Status.InitContainerStatuses, o.Status.ContainerStatuses) {
		switch {
		case status.State.Waiting != nil:
			return fmt.Sprintf("container %q: %s", status.Name, status.State.Waiting.Reason)
		case status.State.Running != nil && status.Started != nil && !*status.Started:
			return fmt.Sprintf("container %q runs, its startup probe does not agree", status.Name)
		case status.State.Running != nil && !status.Ready && status.Started != nil:
			return fmt.Sprintf("container %q runs, its readiness probe does not agree", status.Name)
		}
	}
	return ""
}

// defaultContainer is the one that kubectl takes when none is named.
// https://kubernetes.io/docs/reference/labels-annotations-taints/#kubectl-kubernetes-io-default-container
func defaultContainer(o *corev1.Pod) string {
	named := o.Annotations["kubectl.kubernetes.io/default-container"]
	for _, c := range o.Spec.Containers {
		if c.Name == named {
			return named
		}
	}
	if len(o.Spec.Containers) == 0 {
		return ""
	}
	return o.Spec.Containers[0].Name
}

// longestLine cuts messages of nodes and programs that would fill the screen.
const longestLine = 300

// oneLine makes a single printable line of a foreign text.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.TrimSpace(text))
	if runes := []rune(text); len(runes) > longestLine {
		return string(runes[:longestLine]) + "…"
	}
	return text
}
