package action_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// gate is a proxy in front of the API server that meets one request before it
// is passed on: the process behind it can be killed there, or made to wait.
type gate struct {
	server *httptest.Server
	method string
	path   *regexp.Regexp

	mu      sync.Mutex
	left    int // matching requests until the one that counts
	meet    func() (pass bool)
	reached chan struct{}
}

// newGate makes a gate for the nth request whose method and path match. Whether
// it is passed on is what meet says: the server notices too late that a client
// has died.
func newGate(config *rest.Config, n int, method, path string, meet func() (pass bool)) (*gate, error) {
	pattern, err := regexp.Compile(path)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	g := &gate{method: method, path: pattern, left: n, meet: meet, reached: make(chan struct{})}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	g.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.counts(r) {
			close(g.reached)
			if !g.meet() {
				panic(http.ErrAbortHandler)
			}
		}
		proxy.ServeHTTP(w, r)
	}))
	return g, nil
}

func (g *gate) counts(r *http.Request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.URL.Query().Has("dryRun") || r.Method != g.method || !g.path.MatchString(r.URL.Path) {
		return false
	}
	g.left--
	return g.left == 0
}

// kubeconfig leads to the gate; the gate has the credentials.
func (g *gate) kubeconfig(namespace string) (string, error) {
	c := api.NewConfig()
	c.Clusters["gate"] = &api.Cluster{Server: g.server.URL}
	c.Contexts["gate"] = &api.Context{Cluster: "gate", Namespace: namespace}
	c.CurrentContext = "gate"
	text, err := clientcmd.Write(*c)
	return string(text), err
}

func (g *gate) String() string {
	return fmt.Sprintf("%s %s", g.method, strings.TrimSuffix(g.path.String(), "$"))
}
