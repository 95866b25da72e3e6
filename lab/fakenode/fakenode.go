// Package fakenode gives the lab's cluster nodes without machines. It says of
// their pods that they are ready as soon as they are scheduled, and lets them go
// as soon as they are deleted; in between they have a log and an address of their
// own. What runs in them is a function of this process, or nothing.
package fakenode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pgrotate/pgrotate/lab/pki"
	"github.com/pgrotate/pgrotate/lab/site"
)

// Label is on every fake node, and the key of a taint that no other pod tolerates.
const Label = "pgrotate.lab/fake"

// Place makes a pod of the template run on fake nodes only.
func Place(pod *corev1.PodSpec) {
	pod.NodeSelector = map[string]string{Label: "true"}
	pod.Tolerations = append(pod.Tolerations, corev1.Toleration{Key: Label, Operator: corev1.TolerationOpExists})
}

// Service is what runs in a pod. It returns when the pod is ready, with what ends
// it. From address, which is one of 127.0.0.0/8, it can connect to this machine.
type Service func(ctx context.Context, pod *corev1.Pod, address string) (end func(), err error)

// Nodes live as long as this process, until Close at the latest.
type Nodes struct {
	client    *kubernetes.Clientset
	names     []string
	logs      *http.Server
	stop      context.CancelFunc
	running   sync.WaitGroup
	addresses atomic.Uint32 // of pods, given out so far
	service   Service       // nil: nothing runs
	services  sync.Map      // a running by the pod's uid
}

// beat is how often a node says that it lives: after 50 seconds without a word
// its pods would be taken for lost.
const beat = 10 * time.Second

// Start makes count nodes, which take pods as soon as the cluster has noticed that
// they are ready. kubeconfig is the administrator's of the lab's own cluster, which
// lies beside the certificates. In each pod runs the service, unless it is nil.
func Start(ctx context.Context, kubeconfig string, count int, service Service) (*Nodes, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.QPS, config.UserAgent = -1, "fake-nodes"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	n := &Nodes{client: client, service: service, logs: &http.Server{ReadHeaderTimeout: 10 * time.Second}}
	ctx, n.stop = context.WithCancel(ctx)
	if err := n.serveLogs(pki.Authority{Folder: filepath.Dir(kubeconfig)}); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	for i := range count {
		name := fmt.Sprintf("fake-%d", i)
		if err := n.register(ctx, name); err != nil {
			return nil, errors.Join(err, n.Close())
		}
		n.names = append(n.names, name)
		n.running.Go(func() { n.stayAlive(ctx, name) })
		n.running.Go(func() { n.play(ctx, name) })
	}
	return n, nil
}

// register makes a node, or takes over that of a process that was killed.
func (n *Nodes) register(ctx context.Context, name string) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{Label: "true"}},
		Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: Label, Effect: corev1.TaintEffectNoSchedule}}}}
	_, err := n.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("register the node %q: %w", name, err)
	}
	room := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1k"), corev1.ResourceMemory: resource.MustParse("1Ti"), corev1.ResourcePods: resource.MustParse("10k")}
	status, err := json.Marshal(map[string]any{"status": corev1.NodeStatus{Capacity: room, Allocatable: room,
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "localhost"}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: site.FakeNodes}},
		Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Fake", LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}}}})
	if err == nil {
		_, err = n.client.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, status, metav1.PatchOptions{}, "status")
	}
	if err != nil {
		return fmt.Errorf("register the node %q: %w", name, err)
	}
	return n.renew(ctx, name)
}

func (n *Nodes) stayAlive(ctx context.Context, name string) {
	ticks := time.NewTicker(beat)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			_ = n.renew(ctx, name) // the next one may arrive
		}
	}
}

// renew is a node's heartbeat.
// https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats
func (n *Nodes) renew(ctx context.Context, name string) error {
	now, lasts := metav1.NowMicro(), int32(4*beat/time.Second)
	leases := n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &lasts, RenewTime: &now}}
	there, err := leases.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
	} else if err == nil {
		there.Spec = lease.Spec
		_, err = leases.Update(ctx, there, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("renew the lease of the node %q: %w", name, err)
	}
	return nil
}

// Close removes the nodes. Pods that are still on them are removed by the cluster.
func (n *Nodes) Close() error {
	n.stop()
	n.running.Wait()
	n.services.Range(func(uid, _ any) bool { n.end(uid.(types.UID)); return true })
	errs := []error{n.logs.Close()}
	for _, name := range n.names {
		errs = append(errs, gone(n.client.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{})),
			gone(n.client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Delete(context.Background(), name, metav1.DeleteOptions{})))
	}
	return errors.Join(errs...)
}

// gone takes what is not there for removed.
func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
