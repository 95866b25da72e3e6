package kube

import (
	"io"
	"net"
	"sync"

	"k8s.io/apimachinery/pkg/util/httpstream"
)

// conn is one connection through a tunnel. Its streams know no deadlines, so
// two goroutines carry the bytes between them and a pipe that does.
type conn struct {
	net.Conn // our end of the pipe
	tunnel   *Tunnel

	mu        sync.Mutex
	complaint string // of the node, which could not reach the port
}

func newConn(t *Tunnel, upgraded httpstream.Connection, data, complaints httpstream.Stream) *conn {
	ours, theirs := net.Pipe()
	c := &conn{Conn: ours, tunnel: t}
	complained := make(chan struct{})
	go func() {
		defer close(complained)
		c.listen(complaints)
	}()
	go func() { // towards the pod; ends when our end is closed
		_, _ = io.Copy(data, theirs)
		_ = data.Close()
	}()
	go func() { // from the pod; ends when it hangs up or the tunnel breaks
		_, _ = io.Copy(theirs, data)
		_ = data.Reset() // what is unsent would hold the complaint back
		<-complained
		_ = theirs.Close()
		upgraded.RemoveStreams(data, complaints)
	}()
	return c
}

// longestComplaint is read of what a node says.
const longestComplaint = 1 << 10

func (c *conn) listen(complaints io.Reader) {
	text, _ := io.ReadAll(io.LimitReader(complaints, longestComplaint))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.complaint = oneLine(string(text))
}

// Read reads what the pod sent. Where the node could not reach the port, the
// error tells so in place of a mere end.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != io.EOF {
		return n, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.complaint != "" {
		return n, fail(unavailable, "", "reach port %d of %s: %s", c.tunnel.pod.port, c.tunnel, c.complaint)
	}
	return n, err
}
