package fakenode

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/pgrotate/pgrotate/lab/pki"
	"github.com/pgrotate/pgrotate/lab/site"
)

// workers is how many pods of a node are started or ended at once.
const workers = 4

// play is the node's kubelet.
func (n *Nodes) play(ctx context.Context, node string) {
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[cache.ObjectName]())
	defer queue.ShutDown()
	on := fields.OneTermEqualSelector("spec.nodeName", node).String()
	add := func(o any) { queue.Add(cache.MetaObjectToName(o.(*corev1.Pod))) }
	store, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewFilteredListWatchFromClient(n.client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, func(o *metav1.ListOptions) { o.FieldSelector = on }),
		ObjectType:    &corev1.Pod{},
		Handler:       cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, o any) { add(o) }},
	})
	for range workers {
		n.running.Go(func() {
			for n.next(ctx, queue, store) {
			}
		})
	}
	controller.RunWithContext(ctx)
}

// next brings one pod to where it should be, and tells whether there is more.
func (n *Nodes) next(ctx context.Context, queue workqueue.TypedRateLimitingInterface[cache.ObjectName], store cache.Store) bool {
	name, closed := queue.Get()
	if closed {
		return false
	}
	defer queue.Done(name)
	found, there, err := store.GetByKey(name.String())
	if err != nil || !there {
		return true
	}
	if err := n.bring(ctx, found.(*corev1.Pod)); err != nil {
		queue.AddRateLimited(name)
		return true
	}
	queue.Forget(name)
	return true
}

// bring starts a pod that is new and ends one that was told to go.
func (n *Nodes) bring(ctx context.Context, p *corev1.Pod) error {
	pods, now := n.client.CoreV1().Pods(p.Namespace), int64(0)
	switch {
	case p.DeletionTimestamp != nil:
		n.end(p.UID)
		return gone(pods.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(p.UID))}))
	case p.Status.Phase != corev1.PodPending:
		return nil
	}
	address, err := n.run(ctx, p)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"status": up(p, address)})
	if err != nil {
		return err
	}
	_, err = pods.Patch(ctx, p.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	return gone(err)
}

// address is one that no pod has had.
func (n *Nodes) address() string {
	i := n.addresses.Add(1)
	return net.IPv4(127, 64+byte(i>>16), byte(i>>8), byte(i)).String()
}

// running is the service of a pod.
type running struct {
	address string
	end     func()
}

// run starts the service of a pod, once, and returns its address.
func (n *Nodes) run(ctx context.Context, p *corev1.Pod) (address string, err error) {
	if r, runs := n.services.Load(p.UID); runs {
		return r.(running).address, nil
	}
	r := running{address: n.address(), end: func() {}}
	if n.service != nil {
		r.end, err = n.service(ctx, p, r.address)
	}
	if err == nil {
		n.services.Store(p.UID, r)
	}
	return r.address, err
}

func (n *Nodes) end(pod types.UID) {
	if r, runs := n.services.LoadAndDelete(pod); runs {
		r.(running).end()
	}
}

// up is the status of a pod that is ready.
func up(p *corev1.Pod, ip string) corev1.PodStatus {
	now, yes := metav1.Now(), true
	s := corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now, HostIP: "127.0.0.1", PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}}
	for _, kind := range []corev1.PodConditionType{corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		s.Conditions = append(s.Conditions, corev1.PodCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	for _, c := range p.Spec.Containers {
		s.ContainerStatuses = append(s.ContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: true, Started: &yes,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}})
	}
	return s
}

// serveLogs answers the API server as a kubelet does when it is asked for the log
// of a container: with as many lines as it wants. It takes the kubelet's certificate.
func (n *Nodes) serveLogs(authority pki.Authority) error {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", site.FakeNodes))
	if err != nil {
		return fmt.Errorf("serve the logs of pods: %w", err)
	}
	logs := http.NewServeMux()
	logs.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		lines, _ := strconv.Atoi(r.URL.Query().Get("tailLines"))
		_, _ = fmt.Fprint(w, strings.Repeat("GET /orders/4711 200 in 3 ms\n", lines))
	})
	n.logs.Handler = logs
	go func() { _ = n.logs.ServeTLS(listener, authority.Cert("kubelet"), authority.Key("kubelet")) }()
	return nil
}
