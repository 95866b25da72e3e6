package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// answer tells everyone who connects to the socket how the service is, as soon
// as it has made its first login.
func answer(path string, t *tally) (net.Listener, error) {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for health checks: %w", err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go reply(conn, t)
		}
	}()
	return listener, nil
}

func reply(conn net.Conn, t *tally) {
	defer conn.Close()
	<-t.begun
	_, line := t.verdict()
	fmt.Fprintln(conn, line)
}

// wait is how long a health check waits for the answer of a service that has
// just been started: a pod is then ready at its first probe, not at its second.
const wait = 1500 * time.Millisecond

// check asks the running service how it is, prints the answer and returns the
// exit code: 0 when it is healthy or when it is enough that there is an answer.
func check(ctx context.Context, path string, w io.Writer, begun bool) int {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	line, err := ask(ctx, path)
	if err != nil {
		fmt.Fprintln(w, "unhealthy:", err)
		return 1
	}
	fmt.Fprintln(w, line)
	if begun || strings.HasPrefix(line, "healthy:") {
		return 0
	}
	return 1
}

func ask(ctx context.Context, path string) (string, error) {
	conn, err := dial(ctx, path)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	text, err := io.ReadAll(conn)
	return strings.TrimSpace(string(text)), err
}

// dial tries until the service listens.
func dial(ctx context.Context, path string) (net.Conn, error) {
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "unix", path)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
