// Command forward passes TCP connections from one address on to another:
//
//	forward 127.0.0.1:25434 127.0.0.1:25432
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: forward LISTEN-ADDRESS TARGET-ADDRESS")
		os.Exit(2)
	}
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-end
		listener.Close()
	}()
	serve(listener, os.Args[2])
}

// serve forwards each connection until the listener is closed.
func serve(listener net.Listener, target string) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			if err := forward(client, target); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	}
}

// forward copies both ways until both sides have ended theirs.
func forward(client net.Conn, target string) error {
	defer client.Close()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() { pipe(server, client) })
	both.Go(func() { pipe(client, server) })
	both.Wait()
	return nil
}

// pipe copies until from ends, and passes the end on: half-closed connections
// stay half-closed, see TCP, RFC 9293 section 3.6.
func pipe(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
}
