// Package proxy stands between a program and the servers that it talks to, and
// knows their requests: every HTTP request, and every message of PostgreSQL's
// protocol that the server has to answer. It names and numbers them over all
// servers in the order in which they come, and lets one of them go wrong.
// The program needs no hook for it.
package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Request is one request as it came.
type Request struct {
	Number int    // from 1, over all servers
	Server string // "postgres", "kubernetes" or "github"
	Kind   string // method and path, or the beginning of the statement
	Nth    int    // from 1, of its server and kind
	Answer int    // how many bytes were answered; 0 for what has no end
}

// Name tells a request apart in any run of the same program, in which the
// order of concurrent requests may differ.
func (r Request) Name() string { return fmt.Sprintf("%s %s #%d", r.Server, r.Kind, r.Nth) }

// Moment is when a fault happens to a request.
type Moment string

const (
	Before Moment = "before" // it is passed on
	After  Moment = "after"  // the server has answered, before the answer is passed back
)

// Fault is what goes wrong with one request.
type Fault struct {
	Name   string // of the request, see Request.Name
	Moment Moment
	Meet   func() // is called then, and awaited; nil does nothing
	Effect Effect
	Bytes  int // with Cut: how many of the answer are passed back
}

// Effect is what becomes of the connection of a request that meets a Fault.
type Effect int

const (
	Pass  Effect = iota // the request or its answer goes its way
	Hang                // the connection is closed
	Cut                 // After only: a part of the answer is passed back, then it is closed
	Reset               // it is reset, and so is every later one to this server
	Hole                // nothing comes back any more, on no connection to this server, until End
)

// Proxy has one listener per server.
type Proxy struct {
	// Observe is called with each request before it is passed on; nil: nobody observes.
	Observe func(Request)
	// From is called with each request since the next Begin, until it says yes to
	// one: that one is the first to be numbered and to meet a fault. nil: the first
	// of all.
	From func(Request) bool

	mu      sync.Mutex
	seen    []Request
	from    func(Request) bool
	first   int // of those seen that counts, -1 before from says yes
	count   map[string]int
	fault   *Fault
	reached chan struct{}
	gone    map[string]Effect // servers that are reset or a hole
	over    chan struct{}     // closed by End

	closers []func() error
}

// New returns a proxy without servers.
func New() *Proxy {
	p := &Proxy{}
	p.Begin(nil)
	return p
}

// Begin starts counting anew, with at most one fault. The returned channel is
// closed when the fault's request is there. End must have been called since the
// last Begin.
func (p *Proxy) Begin(fault *Fault) (reached <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen, p.first, p.count, p.gone = nil, 0, map[string]int{}, map[string]Effect{}
	if p.from = p.From; p.from != nil {
		p.first = -1
	}
	p.fault, p.reached, p.over = fault, make(chan struct{}), make(chan struct{})
	return p.reached
}

// End lets go whatever waits in a hole, and returns the requests since Begin,
// those before From left out.
func (p *Proxy) End() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.over:
	default:
		close(p.over)
	}
	p.fault = nil
	if p.first < 0 {
		return nil
	}
	return slices.Clone(p.seen[p.first:])
}

// Close ends all listeners and connections.
func (p *Proxy) Close() error {
	p.End()
	var errs []error
	for _, end := range p.closers {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}

// meeting is a request and what it meets.
type meeting struct {
	answered func(bytes int)
	fault    *Fault // nil: nothing
	gone     Effect // Reset or Hole: the server has gone before this request
	over     chan struct{}
}

// note names and numbers a request, and tells what it meets.
func (p *Proxy) note(server, kind string) meeting {
	p.mu.Lock()
	r := p.number(Request{Server: server, Kind: kind})
	p.seen = append(p.seen, r)
	m := meeting{answered: p.noteAnswer(len(p.seen) - 1), gone: p.gone[server], over: p.over}
	if p.fault != nil && p.first >= 0 && p.fault.Name == r.Name() {
		m.fault = p.fault
		if m.fault.Effect == Reset || m.fault.Effect == Hole {
			p.gone[server] = m.fault.Effect
		}
		close(p.reached)
	}
	observe := p.Observe
	p.mu.Unlock()
	if observe != nil {
		observe(r)
	}
	return m
}

// number counts a request, from the first that counts.
func (p *Proxy) number(r Request) Request {
	if p.first < 0 && p.from(r) {
		p.first, p.count = len(p.seen), map[string]int{}
	}
	p.count[r.Server+" "+r.Kind]++
	r.Number, r.Nth = len(p.seen)-max(0, p.first)+1, p.count[r.Server+" "+r.Kind]
	return r
}

// noteAnswer returns a function that notes the length of a request's answer.
func (p *Proxy) noteAnswer(i int) func(int) {
	of := p.over // of which counting
	return func(bytes int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if of == p.over {
			p.seen[i].Answer = bytes
		}
	}
}

// at returns what becomes of the connection at a moment, after the fault's Meet.
func (m meeting) at(moment Moment, answer int) Effect {
	if m.gone != Pass {
		return m.gone
	}
	if moment == After {
		m.answered(answer)
	}
	if m.fault == nil || m.fault.Moment != moment {
		return Pass
	}
	if m.fault.Meet != nil {
		m.fault.Meet()
	}
	return m.fault.Effect
}

// vanish does to the client's connection what the effect says. It returns when
// a hole is over.
func (m meeting) vanish(effect Effect, conn net.Conn, answer []byte) {
	switch effect {
	case Hole:
		<-m.over
	case Cut:
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write(answer[:min(m.fault.Bytes, len(answer))])
	}
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn() // no word of good-bye
	}
	if tcp, ok := conn.(*net.TCPConn); ok && effect == Reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
