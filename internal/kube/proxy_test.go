package kube

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/rest"
)

// proxy stands between a Cluster and the API server, counts and refuses.
type proxy struct {
	*httptest.Server
	mu     sync.Mutex
	counts map[string]int // requests by method, resource path and watch
	refuse func(*http.Request) int
	conns  []net.Conn
}

// remembering keeps the connections that it accepts, upgraded ones included,
// for the proxy to cut.
type remembering struct {
	net.Listener
	of *proxy
}

// Accept waits for the next connection.
func (l *remembering) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if err == nil {
		l.of.conns = append(l.of.conns, conn)
	}
	return conn, err
}

// cut closes every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.conns = nil
}

// throughProxy connects to the cluster of admin through a proxy that answers
// itself, with that status, what refuse gives one for.
func throughProxy(t *testing.T, admin *Cluster, refuse func(*http.Request) int) (*Cluster, *proxy) {
	t.Helper()
	config := rest.CopyConfig(admin.config)
	config.NextProtos = []string{"http/1.1"} // an upgraded connection has to pass
	transport, err := rest.TransportFor(config)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{counts: map[string]int{}, refuse: refuse}
	onward := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1,
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status := p.note(r); status != 0 {
			w.WriteHeader(status)
			return
		}
		onward.ServeHTTP(w, r)
	}))
	p.Listener = &remembering{Listener: p.Listener, of: p}
	p.StartTLS()
	t.Cleanup(p.Close)
	c := &Cluster{config: &rest.Config{Host: p.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, namespace: admin.namespace, keeper: admin.keeper}
	if err := c.dial(); err != nil {
		t.Fatal(err)
	}
	return c, p
}

func (p *proxy) note(r *http.Request) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := r.Method + " " + r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	if r.URL.Query().Get("watch") != "" {
		name += " watch"
	}
	if p.refuse != nil {
		if status := p.refuse(r); status != 0 {
			p.counts[name+" refused"]++
			return status
		}
	}
	p.counts[name]++
	return 0
}

func (p *proxy) count(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[name]
}

// withoutWebSockets is a server, or a proxy before one, that knows none.
func withoutWebSockets(r *http.Request) int {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return http.StatusBadRequest
	}
	return 0
}
