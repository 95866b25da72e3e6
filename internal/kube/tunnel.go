package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// defaultPort is PostgreSQL's.
const defaultPort = 5432

// Tunnel leads to a port of a pod through the API server. It opens no port on
// this machine: whoever else is on it could use one.
type Tunnel struct {
	cluster *Cluster
	pod     address

	mu       sync.Mutex
	upgraded httpstream.Connection   // for the next connection; nil: none is open
	former   []httpstream.Connection // given up, though some connection may still use it
	requests int
}

// address is a port of a pod.
type address struct {
	namespace, name string
	port            int
}

// Tunnel prepares a tunnel to "[namespace/]name[:port]"; the namespace is the
// cluster's and the port 5432 unless they are named. It sends nothing.
func (c *Cluster) Tunnel(pod string) (*Tunnel, error) {
	where, err := parsePod(pod, c.namespace)
	if err != nil {
		return nil, err
	}
	return &Tunnel{cluster: c, pod: where}, nil
}

func parsePod(text, namespace string) (address, error) {
	where := address{namespace: namespace, name: text, port: defaultPort}
	if ns, name, ok := strings.Cut(text, "/"); ok {
		where.namespace, where.name = ns, name
	}
	if name, port, ok := strings.Cut(where.name, ":"); ok {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil || number == 0 {
			return address{}, fail(refused, "", "read the pod %q: %q is no port", text, port)
		}
		where.name, where.port = name, int(number)
	}
	if where.namespace == "" || where.name == "" || strings.Contains(where.name, "/") {
		return address{}, fail(refused, "", "read the pod %q: want [namespace/]name[:port]", text)
	}
	return where, nil
}

// String names the pod.
func (t *Tunnel) String() string { return qualified("pod", t.pod.namespace, t.pod.name) }

// Dial opens a connection through the tunnel; network and address, where a
// driver thinks it goes, do not matter. The tunnel is opened when it is not
// open, or has broken. The connection honours deadlines; ctx limits only Dial.
// Class missing: there is no such pod. Class refused: a right is missing.
func (t *Tunnel) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	type answer struct {
		conn net.Conn
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		conn, err := t.dial()
		answers <- answer{conn, err}
	}()
	select {
	case a := <-answers:
		return a.conn, a.err
	case <-ctx.Done():
		go func() { // the libraries know no context: close what comes too late
			if a := <-answers; a.conn != nil {
				_ = a.conn.Close()
			}
		}()
		t.giveUp() // it may have gone silent
		return nil, fail(unavailable, "", "open the tunnel to %s: %v", t, context.Cause(ctx))
	}
}

// Close closes the tunnel and with it all its connections. The next Dial opens
// it again.
func (t *Tunnel) Close() {
	t.giveUp()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, upgraded := range t.former {
		_ = upgraded.Close() // it may be dead already
	}
	t.former = nil
}

// giveUp makes the next Dial open the tunnel anew. Connections go on as long as
// they can: one of them may hold the lock.
func (t *Tunnel) giveUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.upgraded != nil {
		t.former = append(t.former, t.upgraded)
		t.upgraded = nil
	}
}

// dial opens a connection; a tunnel that was open before may have died without
// a word, so a failure on one is no reason to give up.
func (t *Tunnel) dial() (net.Conn, error) {
	upgraded, fresh, err := t.open()
	if err != nil {
		return nil, err
	}
	conn, err := t.connect(upgraded)
	if err == nil || fresh {
		return conn, err
	}
	t.giveUp()
	if upgraded, _, err = t.open(); err != nil {
		return nil, err
	}
	return t.connect(upgraded)
}

// open returns the tunnel, and whether it was opened just now. The lock is not
// held meanwhile: a server that never answers one call may answer the next.
func (t *Tunnel) open() (upgraded httpstream.Connection, fresh bool, err error) {
	if upgraded = t.current(); upgraded != nil {
		return upgraded, false, nil
	}
	if upgraded, err = t.upgrade(); err != nil {
		return nil, true, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.upgraded != nil { // another Dial was quicker
		_ = upgraded.Close()
		return t.upgraded, false, nil
	}
	t.upgraded = upgraded
	return upgraded, true, nil
}

// current is the open tunnel, or nil.
func (t *Tunnel) current() httpstream.Connection {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.upgraded == nil {
		return nil
	}
	select {
	case <-t.upgraded.CloseChan():
		t.upgraded = nil
	default:
	}
	return t.upgraded
}

// upgrade asks the API server for the tunnel, over a WebSocket, or over SPDY
// where the server or a proxy before it knows none.
func (t *Tunnel) upgrade() (httpstream.Connection, error) {
	dialer, err := t.dialer()
	if err != nil {
		return nil, fail(unavailable, "", "open the tunnel to %s: %v", t, err)
	}
	upgraded, protocol, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, t.failed(err)
	}
	if protocol != portforward.PortForwardProtocolV1Name {
		return nil, errors.Join(fail(refused, "", "open the tunnel to %s: the server speaks %q", t, protocol), upgraded.Close())
	}
	return upgraded, nil
}

func (t *Tunnel) dialer() (httpstream.Dialer, error) {
	c := t.cluster
	url := c.core.Get().Namespace(t.pod.namespace).Resource("pods").Name(t.pod.name).SubResource("portforward").URL()
	socket, err := portforward.NewSPDYOverWebsocketDialer(url, c.config)
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return nil, err
	}
	second := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	return portforward.NewFallbackDialer(socket, second, fallBack), nil
}

func (t *Tunnel) failed(err error) error {
	doing := fmt.Sprintf("open the tunnel to %s", t)
	switch f := t.cluster.failed(doing, err, rule{namespace: t.pod.namespace, resource: "pods/portforward", verbs: []string{"create", "get"}}); classOf(f) {
	case missing:
		return fail(missing, fmt.Sprintf("`kubectl get pods -n %s` lists those there are", t.pod.namespace), "%s: there is no such pod", doing)
	default:
		return f
	}
}

// connect opens the two streams of one connection: the data, and what the node
// has to say when it cannot reach the port.
func (t *Tunnel) connect(upgraded httpstream.Connection) (net.Conn, error) {
	t.mu.Lock()
	t.requests++
	id := t.requests
	t.mu.Unlock()
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(t.pod.port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(id))
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	complaints, err := upgraded.CreateStream(headers)
	if err != nil {
		return nil, fail(unavailable, "", "open a connection through the tunnel to %s: %v", t, err)
	}
	_ = complaints.Close() // our direction of it
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := upgraded.CreateStream(headers)
	if err != nil {
		upgraded.RemoveStreams(complaints)
		return nil, fail(unavailable, "", "open a connection through the tunnel to %s: %v", t, err)
	}
	return newConn(t, upgraded, data, complaints), nil
}
