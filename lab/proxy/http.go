package proxy

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
)

// HTTP puts the proxy in front of an HTTP server and returns the address that
// stands for it. The transport must speak HTTP/1.1 only, as upgrades do.
// A watch, a log that is followed or an upgraded connection is the request that
// opens it.
//
// The address speaks TLS, with the certificate ca, where the target does:
// Kubernetes' clients send no token without.
func (p *Proxy) HTTP(server string, target *url.URL, transport http.RoundTripper) (address string, ca []byte) {
	front := &front{proxy: p, server: server, back: &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1, ErrorLog: log.New(io.Discard, "", 0),
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ModifyResponse: answered, ErrorHandler: failed,
	}}
	listening := httptest.NewUnstartedServer(front)
	if listening.Config.ErrorLog = front.back.ErrorLog; target.Scheme == "https" {
		listening.StartTLS()
		ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: listening.Certificate().Raw})
	} else {
		listening.Start()
	}
	p.closers = append(p.closers, func() error {
		listening.CloseClientConnections()
		listening.Close()
		return nil
	})
	return listening.URL, ca
}

// front answers the clients of one HTTP server.
type front struct {
	proxy  *Proxy
	server string
	back   *httputil.ReverseProxy
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m := f.proxy.note(f.server, kind(r))
	if effect := m.at(Before, 0); effect != Pass {
		m.hangUp(w, effect, nil)
		return
	}
	if r.Context().Err() != nil {
		return // the process has died
	}
	if err := rewind(r); err != nil {
		return // likewise
	}
	f.back.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), meetingKey{}, m)))
}

// rewind lets the transport send a body again where it finds an idle connection
// closed: the proxy itself is no fault.
func rewind(r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil || len(body) == 0 {
		return err
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, err = r.GetBody()
	return err
}

type meetingKey struct{}

// errVanish carries an effect, with the answer that it is about.
type errVanish struct {
	effect Effect
	answer []byte
}

func (errVanish) Error() string { return "the request meets a fault" }

// answered meets the fault of a request whose answer is there.
func answered(r *http.Response) error {
	m, ok := r.Request.Context().Value(meetingKey{}).(meeting)
	if !ok {
		return nil
	}
	var answer []byte
	if !stream(r) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if answer, err = whole(*r, body); err != nil {
			return err
		}
	}
	if effect := m.at(After, len(answer)); effect != Pass {
		return errVanish{effect: effect, answer: answer}
	}
	return nil
}

// stream tells whether the answer has no end that could be awaited.
func stream(r *http.Response) bool {
	q := r.Request.URL.Query()
	return r.StatusCode == http.StatusSwitchingProtocols || q.Get("watch") == "true" || q.Get("watch") == "1" || q.Get("follow") == "true"
}

// whole is the answer as bytes on the wire.
func whole(r http.Response, body []byte) ([]byte, error) {
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	var text bytes.Buffer
	err := r.Write(&text)
	return text.Bytes(), err
}

// failed hangs up: on purpose, or because the server did.
func failed(w http.ResponseWriter, r *http.Request, err error) {
	m, _ := r.Context().Value(meetingKey{}).(meeting)
	var wanted errVanish
	if errors.As(err, &wanted) {
		m.hangUp(w, wanted.effect, wanted.answer)
		return
	}
	m.hangUp(w, Hang, nil)
}

func (m meeting) hangUp(w http.ResponseWriter, effect Effect, answer []byte) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	m.vanish(effect, conn, answer)
}

var (
	namespaced = regexp.MustCompile(`^/apis?/.*?/namespaces/[^/]+/`)
	pod        = regexp.MustCompile(`^pods/[^/]+`)
)

// kind names a request without what is different in each run: the namespace and
// the names of pods.
func kind(r *http.Request) string {
	path := namespaced.ReplaceAllString(r.URL.Path, "")
	path = pod.ReplaceAllString(path, "pods/*")
	method, query := r.Method, r.URL.Query()
	if query.Has("watch") {
		method = "WATCH"
	}
	if query.Has("dryRun") {
		path += "?dryRun"
	}
	return method + " " + strings.TrimSpace(path)
}
