// Package road is a way to a server that can be long, and counts what goes over it.
package road

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Road is a long way to a server: what is sent on it arrives later, in order and
// at any rate. A connection takes a round trip to be made, as TCP's does.
type Road struct {
	Address string // that leads to the server

	listener  net.Listener
	target    string
	roundTrip atomic.Int64 // nanoseconds
	bytes     atomic.Int64 // both ways
	made      atomic.Int64 // connections

	mu   sync.Mutex
	open map[net.Conn]bool // nil: closed
}

// New leads to a host:port, as fast as the machine is.
func New(target string) (*Road, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Road{Address: listener.Addr().String(), listener: listener, target: target, open: map[net.Conn]bool{}}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			r.made.Add(1)
			go r.carry(conn)
		}
	}()
	return r, nil
}

// Lengthen sets the round trip of connections that are made from now on, and
// forgets what it has carried so far.
func (r *Road) Lengthen(roundTrip time.Duration) {
	r.roundTrip.Store(int64(roundTrip))
	r.bytes.Store(0)
	r.made.Store(0)
}

// Bytes is how many were taken up since Lengthen, both ways, encryption included.
func (r *Road) Bytes() int64 { return r.bytes.Load() }

// Connections is how many were made since Lengthen.
func (r *Road) Connections() int64 { return r.made.Load() }

// Close ends all connections.
func (r *Road) Close() error {
	err := r.listener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for conn := range r.open {
		_ = conn.Close() // its other end may have done so
	}
	r.open = nil
	return err
}

// hold remembers a connection, or closes it when all are closed.
func (r *Road) hold(conn net.Conn) (drop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		_ = conn.Close()
		return func() {}
	}
	r.open[conn] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.open[conn] {
			delete(r.open, conn)
			_ = conn.Close()
		}
	}
}

func (r *Road) carry(client net.Conn) {
	defer r.hold(client)()
	server, err := net.Dial("tcp", r.target)
	if err != nil {
		return
	}
	defer r.hold(server)()
	roundTrip := time.Duration(r.roundTrip.Load())
	var both sync.WaitGroup
	both.Go(func() { r.pump(server, client, time.Now().Add(roundTrip*3/2), roundTrip/2) })
	both.Go(func() { r.pump(client, server, time.Time{}, roundTrip/2) })
	both.Wait()
}

// parcel is some bytes with the time of their arrival.
type parcel struct {
	due  time.Time
	text []byte
}

// pump carries from one end to the other; nothing arrives before first.
func (r *Road) pump(to, from net.Conn, first time.Time, delay time.Duration) {
	under := make(chan parcel, 1<<12)
	go func() {
		defer close(under)
		for {
			text := make([]byte, 32<<10)
			n, err := from.Read(text)
			if n > 0 {
				r.bytes.Add(int64(n))
				under <- parcel{due: later(first, time.Now().Add(delay)), text: text[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range under {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.text); err != nil {
			_ = from.Close()
			break
		}
	}
	for range under { // what cannot arrive any more
		continue
	}
	hangUp(to)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// hangUp tells that nothing more comes.
func hangUp(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		return
	}
	_ = conn.Close()
}
