package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// TestPodWithTheFormerPasswordIsReplaced lets the first pod of a restart read what
// was served before, as from a kubelet whose cache is behind
// (https://github.com/kubernetes/kubernetes/issues/129645). It is refuted and
// replaced once, and all is as after any rotation. Where two roles take turns it is
// let in; the lab's pods have the address of their node, so that no session tells of
// it, and it must not pass for proven.
func TestPodWithTheFormerPasswordIsReplaced(t *testing.T) {
	s := newSuite(t)
	verdicts := map[string]string{"planned": "is refuted and replaced once", "alternate": "not proven", "emergency": "is refuted and replaced once"}
	for _, m := range modes() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			b := s.bench(t, true)
			if b == nil {
				return
			}
			behind := make(chan error, 1)
			reached := b.Proxy.Begin(&proxy.Fault{Name: "kubernetes PATCH deployments/" + workload + " #1", Moment: proxy.Before, Effect: proxy.Pass, Meet: b.fallBehind(t, behind)})
			run, err := b.Start(b.through, m.inputs)
			if err != nil {
				t.Fatal(err)
			}
			ended, err := b.Finish(run, time.Now())
			b.Proxy.End()
			if !met(reached) {
				t.Fatalf("no restart was asked for:\n%s", ended.Said)
			}
			if err = errors.Join(err, <-behind, b.Settled()); err != nil || ended.Code != 0 || strings.Count(ended.Said, verdicts[m.name]) != 1 {
				t.Errorf("exit code %d: %v\n%s", ended.Code, err, ended.Said)
			}
			if m.name == "alternate" {
				b.stays(t)
			}
			new(figures).leaked(t, b)
			fmt.Fprintf(os.Stdout, "stale pod, %s: %s, and all is well after %.1fs\n", m.name, verdicts[m.name], ended.Took.Seconds())
		})
	}
}

// stays demands that the pod goes on as the former role.
func (b *Bench) stays(t *testing.T) {
	conn, err := pgx.Connect(b.ctx, b.Superuser)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(b.ctx)
	const sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND backend_start > now() - interval '1 second'"
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var n int
		if err := conn.QueryRow(b.ctx, sessions, b.Name).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			return
		}
	}
	t.Error("nobody logs in as the former role: the pod is not stale")
}

// fallBehind lets the Secret hold its former data until the next pod has started,
// and tells how that went.
func (b *Bench) fallBehind(t *testing.T, done chan<- error) func() {
	before, err := b.Look()
	if err != nil {
		t.Fatal(err)
	}
	old, err := b.podNames(func(corev1.Pod) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		now, err := b.Look()
		if err == nil {
			err = b.hold(before.Secret.Data)
		}
		if err != nil {
			done <- err
			return
		}
		go func() { done <- errors.Join(b.started(old), b.hold(now.Secret.Data)) }()
	}
}

func (b *Bench) hold(data map[string][]byte) error {
	patch, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return err
	}
	_, err = b.Cluster.CoreV1().Secrets(b.Name).Patch(b.ctx, fixture.Secret, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

// started waits until a container of another pod runs.
func (b *Bench) started(old []string) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		names, err := b.podNames(func(p corev1.Pod) bool {
			return !slices.Contains(old, p.Name) && len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Running != nil
		})
		if err != nil || len(names) > 0 {
			return err
		}
	}
	return errors.New("no pod has started within a minute")
}

func (b *Bench) podNames(which func(corev1.Pod) bool) (names []string, err error) {
	pods, err := b.Cluster.CoreV1().Pods(b.Name).List(b.ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, pod := range pods.Items {
		if which(pod) {
			names = append(names, pod.Name)
		}
	}
	return names, nil
}
