package kube

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// longestLog limits what is read of the log of the database's pod, in bytes.
const longestLog = 4 << 20

// Log returns the lines that the pod's default container has written since a
// moment, by the clock of its node. There may be more than 4 MiB of them: then
// they are the first, and whole is false. Class missing: there is no such pod.
// Class refused: a right is missing.
func (t *Tunnel) Log(ctx context.Context, since time.Time) (lines string, whole bool, err error) {
	o, err := t.cluster.pods(t.pod.namespace).get(ctx, t.pod.name)
	if err != nil {
		return "", false, t.cluster.failed("read "+t.String(), err, rule{namespace: t.pod.namespace, resource: "pods", name: t.pod.name, verbs: []string{"get"}})
	}
	limit, from := int64(longestLog), metav1.NewTime(since)
	raw, err := t.cluster.log(ctx, t.pod.namespace, t.pod.name, &corev1.PodLogOptions{Container: defaultContainer(o), LimitBytes: &limit, SinceTime: &from, Timestamps: true})
	return after(string(raw), since), len(raw) < longestLog, err
}

// log reads what opts select of a pod's log.
func (c *Cluster) log(ctx context.Context, namespace, pod string, opts *corev1.PodLogOptions) ([]byte, error) {
	ctx, done, err := c.core.begin(ctx)
	if err != nil {
		return nil, c.failed(fmt.Sprintf("read the log of pod %q", pod), err, rule{})
	}
	defer done()
	answer := c.core.Get().Namespace(namespace).Resource("pods").Name(pod).SubResource("log").VersionedParams(opts, c.codec).Do(ctx)
	if err := answer.Error(); err != nil { // Raw alone does not say why
		return nil, c.failed(fmt.Sprintf("read the log of pod %q", pod), err, rule{namespace: namespace, resource: "pods/log", verbs: []string{"get"}})
	}
	return answer.Raw()
}

// after returns the lines of a log that are stamped with since or later, without
// their stamps: the API takes no part of a second. A line without an end was cut.
func after(log string, since time.Time) string {
	var lines strings.Builder
	for line := range strings.Lines(log) {
		stamp, text, _ := strings.Cut(line, " ")
		written, err := time.Parse(time.RFC3339Nano, stamp)
		if err == nil && !written.Before(since) && strings.HasSuffix(text, "\n") {
			lines.WriteString(text)
		}
	}
	return lines.String()
}
