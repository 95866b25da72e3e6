package proxy

import (
	"bufio"
	"net"
	"strings"
	"sync"
)

// Postgres puts the proxy in front of a PostgreSQL server that takes connections
// without TLS, and returns the host:port that stands for it. names makes names
// in a request the same in every run; nil leaves them.
//
// A request is what the server answers: the start-up message, each SASL message,
// and what stands before a Sync, or a simple Query. See
// https://www.postgresql.org/docs/current/protocol-flow.html.
func (p *Proxy) Postgres(address string, names *strings.Replacer) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	if names == nil {
		names = strings.NewReplacer()
	}
	f := &postgres{proxy: p, address: address, names: names, open: map[net.Conn]bool{}}
	p.closers = append(p.closers, func() error {
		err := listener.Close()
		f.closeAll()
		return err
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go f.serve(client)
		}
	}()
	return listener.Addr().String(), nil
}

type postgres struct {
	proxy   *Proxy
	address string
	names   *strings.Replacer

	mu   sync.Mutex
	open map[net.Conn]bool // nil: closed
}

// hold remembers a connection, or closes it when all are closed.
func (f *postgres) hold(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		_ = conn.Close()
		return
	}
	f.open[conn] = true
}

func (f *postgres) drop(conn net.Conn) {
	_ = conn.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, conn)
}

func (f *postgres) closeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.open {
		_ = conn.Close()
	}
	f.open = nil
}

// serve passes the requests of one client on, one after the other.
func (f *postgres) serve(client net.Conn) {
	f.hold(client)
	defer f.drop(client)
	server, err := net.Dial("tcp", f.address)
	if err != nil {
		return
	}
	f.hold(server)
	defer f.drop(server)
	back := &answers{from: bufio.NewReader(server), to: client, come: make(chan answer, 1)}
	go back.pump()
	in := bufio.NewReader(client)
	for started := false; ; started = true {
		request, kind, err := read(in, started)
		if err != nil {
			return
		}
		if kind == "" { // nothing comes back: it says good-bye, or asks to cancel
			_, _ = server.Write(request)
			return
		}
		if !f.pass(f.names.Replace(kind), request, client, server, back) {
			return
		}
	}
}

// pass passes one request on and its answer back, and tells whether the
// connection goes on.
func (f *postgres) pass(kind string, request []byte, client, server net.Conn, back *answers) bool {
	m := f.proxy.note("postgres", kind)
	if effect := m.at(Before, 0); effect != Pass {
		m.vanish(effect, client, nil)
		return false
	}
	back.expect()
	if _, err := server.Write(request); err != nil {
		return false
	}
	a, ok := <-back.come
	if !ok {
		return false
	}
	if effect := m.at(After, len(a.text)); effect != Pass {
		m.vanish(effect, client, a.text)
		return false
	}
	_, err := client.Write(a.text)
	return err == nil && !a.last
}
