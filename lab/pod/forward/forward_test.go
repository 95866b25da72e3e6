package main

import (
	"io"
	"net"
	"testing"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// The server answers only once the client has ended its side, and the client
// still gets the answer.
func TestForwardsBothWaysAndHalfCloses(t *testing.T) {
	server, forwarder := listen(t), listen(t)
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		text, _ := io.ReadAll(conn)
		_, _ = conn.Write(append([]byte("heard "), text...))
	}()
	go serve(forwarder, server.Addr().String())
	client, err := net.Dial("tcp", forwarder.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(client); err != nil || string(text) != "heard hello" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestHangsUpWhenTheServerIsGone(t *testing.T) {
	server, forwarder := listen(t), listen(t)
	address := server.Addr().String()
	server.Close()
	go serve(forwarder, address)
	client, err := net.Dial("tcp", forwarder.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := io.ReadAll(client); err != nil {
		t.Errorf("no clean end: %v", err)
	}
}
