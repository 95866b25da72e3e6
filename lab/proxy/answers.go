package proxy

import (
	"bufio"
	"encoding/binary"
	"net"
	"sync"
)

// answers reads what a PostgreSQL server says: in answer to a request, or of itself.
type answers struct {
	from *bufio.Reader
	to   net.Conn
	come chan answer // to requests; closed when the server has hung up

	mu       sync.Mutex
	expected bool
}

// answer is all that the server says to one request.
type answer struct {
	text []byte
	last bool // the server has hung up after it
}

// expect announces a request before it is passed on.
func (a *answers) expect() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expected = true
}

// pump hands out one answer per request. What the server says when it was not
// asked goes to the client at once.
func (a *answers) pump() {
	defer close(a.come)
	var text []byte
	for {
		m, err := message(a.from, 1)
		if err != nil {
			a.end(text)
			return
		}
		if text = append(text, m...); !a.isExpected() {
			_, _ = a.to.Write(text)
			text = nil
		} else if completes(m) {
			a.answered(answer{text: text})
			text = nil
		}
	}
}

func (a *answers) isExpected() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.expected
}

func (a *answers) answered(all answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.expected = false
	a.come <- all
}

// end passes the last words of a server that has hung up.
func (a *answers) end(text []byte) {
	if a.isExpected() {
		a.answered(answer{text: text, last: true})
		return
	}
	_ = a.to.Close()
}

// completes tells whether the server waits for the client after this message:
// after ReadyForQuery, and after a demand of authentication.
func completes(m []byte) bool {
	if m[0] != 'R' {
		return m[0] == 'Z'
	}
	const ok, saslFinal = 0, 12
	code := binary.BigEndian.Uint32(m[5:])
	return code != ok && code != saslFinal
}
