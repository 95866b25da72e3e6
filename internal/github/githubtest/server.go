// Package githubtest is GitHub's secrets API as a server of one's own: it holds
// repositories, environments, organizations and tokens, opens every sealed box,
// and holds each request to GitHub's own description of the API. It stands in
// where GitHub cannot be reached, in tests and in the lab; it is never linked
// into the product.
package githubtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server is the emulator. It answers below "/" as api.github.com does and below
// "/api/v3/" as GitHub Enterprise Server does, and is scripted by its methods
// or, out of another process, by its admin paths (see Remote).
type Server struct {
	// URL is where New serves it; empty for a Server that the caller serves.
	URL string

	description description
	mu          sync.Mutex
	state
	faults     []*scripted
	violations []string
	requests   []string
	served     int
	limits     *limits
}

// NewServer returns an emulator without repositories and tokens, to be served
// by the caller.
func NewServer() (*Server, error) {
	d, err := loadDescription()
	if err != nil {
		return nil, err
	}
	return &Server{description: d, state: newState()}, nil
}

// New serves an emulator on a loopback port until the test ends, and fails the
// test when a request has violated GitHub's description.
func New(t testing.TB) *Server {
	s := newInTest(t)
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// NewInMemory is New without a network: the returned transport leads to it
// whatever the host. In a testing/synctest bubble both sides share its clock.
// Call it inside the bubble.
func NewInMemory(t testing.TB) (*Server, *http.Transport) {
	s := newInTest(t)
	s.URL = "http://127.0.0.1"
	listener := newPipes()
	server := &http.Server{Handler: s}
	go func() { _ = server.Serve(listener) }()
	transport := &http.Transport{DialContext: listener.dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
	})
	return s, transport
}

func newInTest(t testing.TB) *Server {
	t.Helper()
	s, err := NewServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, violation := range s.Violations() {
			t.Errorf("a request that GitHub does not describe: %s", violation)
		}
	})
	return s
}

// Setup adds what it names, and replaces tokens of the same value.
func (s *Server) Setup(setup Setup) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(setup)
}

// Secret opens a secret: target is "owner/repo", "owner/repo@environment",
// "org:name", "dependabot:owner/repo" or "dependabot:org:name".
func (s *Server) Secret(target, name string) (value string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(target).lookup(name)
	if e == nil {
		return "", false
	}
	return e.Value, true
}

// Store puts a secret there as if somebody else had, at the given time; that is
// how a test makes an old one.
func (s *Server) Store(target, name, value string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, made := s.find(target), entry{Name: name, Value: value}
	if strings.HasPrefix(target, "org:") {
		made.Visibility = "all"
	}
	v.store(made)
	e := v.lookup(name)
	e.CreatedAt, e.UpdatedAt = at.UTC().Truncate(time.Second), at.UTC().Truncate(time.Second)
}

// Share says who may use an organization's secret: "all", "private", or "selected"
// with the repositories.
func (s *Server) Share(organization, name, visibility string, repositories ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find("org:" + organization).lookup(name)
	e.Visibility, e.selected = visibility, nil
	for _, full := range repositories {
		r, _ := s.repository(full)
		e.selected = append(e.selected, r.id)
	}
}

// Shared returns what Share has set or a request has.
func (s *Server) Shared(organization, name string) (visibility string, repositories []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find("org:" + organization).lookup(name)
	for _, r := range s.repositories {
		if slices.Contains(e.selected, r.id) {
			repositories = append(repositories, r.name)
		}
	}
	return e.Visibility, repositories
}

// RotateKey gives target a new key pair, as GitHub does at times of its choosing.
func (s *Server) RotateKey(target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.find(target).rotateKey()
}

// Fault makes the next requests go wrong; earlier faults come first.
func (s *Server) Fault(f Fault) {
	path := regexp.MustCompile(f.Path)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &scripted{Fault: f, path: path})
}

// ClearFaults takes back what is left of all faults.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Violations lists the requests that GitHub's description does not allow, and
// answers of the emulator's own that it does not.
func (s *Server) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// Requests lists all requests so far as "METHOD path", refused ones included.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, adminPrefix) {
		s.serveAdmin(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		hangUp(w) // the caller has died in the middle: no fault of its request
		return
	}
	defer s.enter()()
	answer, remaining := s.serve(r, body)
	if answer.hangUp {
		hangUp(w)
		return
	}
	answer.write(w, remaining)
}

// serve answers one request after the other.
func (s *Server) serve(r *http.Request, body []byte) (a answer, remaining int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served++
	return s.answer(r, body), max(hourly-s.served, 0)
}

// hourly is how many requests an hour has; the emulator counts and never refuses.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-primary-rate-limits
const hourly = 5000

// answer is what a request gets.
type answer struct {
	status int
	header http.Header
	body   []byte // JSON, or what a fault dictates
	hangUp bool
}

func reply(status int, body any) answer {
	a := answer{status: status, header: http.Header{}}
	if body == nil {
		return a
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("encode an answer: %v", err)) // maps of plain values only
	}
	a.header.Set("Content-Type", "application/json; charset=utf-8")
	a.body = text
	return a
}

func refuse(status int, message string) answer {
	return reply(status, map[string]any{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status)})
}

// write adds the headers that all answers of GitHub carry, unless a fault has
// set them.
func (a answer) write(w http.ResponseWriter, remaining int) {
	for name, value := range map[string]string{
		"X-GitHub-Api-Version-Selected": apiVersion,
		"X-RateLimit-Limit":             strconv.Itoa(hourly),
		"X-RateLimit-Remaining":         strconv.Itoa(remaining),
		"X-RateLimit-Used":              strconv.Itoa(hourly - remaining),
		"X-RateLimit-Reset":             strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10),
		"X-RateLimit-Resource":          "core",
	} {
		w.Header().Set(name, value)
	}
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// hangUp ends the connection without an answer: with a reset where it is TCP.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
