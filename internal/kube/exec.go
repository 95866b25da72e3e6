package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"

	"github.com/pgrotate/pgrotate/internal/secret"
)

const (
	// healthTimeout ends a health command that hangs.
	healthTimeout = 30 * time.Second
	// outputBytes are kept of the end of what a health command says.
	outputBytes = 4 << 10
	// healthTries is how often a pod may say no, or not be reached, before it
	// counts: as often as a probe's failureThreshold by default.
	healthTries = 3
	healthPause = 2 * time.Second
)

// ask executes the health command in a pod. Its time begins with its turn: a pod
// that had to wait is not refuted. A command that is not there cannot check
// anything, which is said and held against nobody.
func (w *Workload) ask(ctx context.Context, p pod, progress func(string)) (secret.Evidence, string, error) {
	if len(w.options.HealthCommand) == 0 {
		return secret.NotProven, "no health command is given", nil
	}
	done, err := w.cluster.commands.take(ctx)
	if err != nil {
		return secret.NotProven, "", w.unheard(p, err)
	}
	defer done()
	limited, cancel := context.WithTimeoutCause(ctx, healthTimeout, errSlow)
	defer cancel()
	said, err := w.run(limited, p)
	status, exited := exitStatus(err)
	switch {
	case err == nil:
		return secret.ByHealthCommand, "", nil
	case notRunnable(status, err):
		progress(fmt.Sprintf("warning: cannot check pod %q: the health command %q does not start in container %q", p.name, w.options.HealthCommand[0], p.container))
		return secret.NotProven, fmt.Sprintf("the health command does not start in container %q", p.container), nil
	case exited:
		return secret.Refuted, fmt.Sprintf("the health command exits with %d: %s", status, w.lastLine(said)), nil
	case errors.Is(context.Cause(limited), errSlow) && ctx.Err() == nil:
		return secret.Refuted, fmt.Sprintf("the health command does not end within %v", healthTimeout), nil
	}
	return secret.NotProven, "", w.unheard(p, err)
}

// unheard is the failure to execute the health command.
func (w *Workload) unheard(p pod, err error) error {
	return w.cluster.failed(fmt.Sprintf("execute the health command in pod %q", p.name), err,
		rule{resource: "pods/exec", verbs: []string{"create", "get"}})
}

// run executes the health command and returns the end of what it said. It tries
// again when the connection fails or the command says no: one bad moment of a
// service is no reason to take a password back.
func (w *Workload) run(ctx context.Context, p pod) (string, error) {
	for try := 1; ; try++ {
		var said tailBuffer
		err := w.cluster.execute(ctx, p, w.options.HealthCommand, &said)
		if err == nil || try == healthTries || !mayPass(err) || !pause(ctx, healthPause) {
			return said.String(), err
		}
	}
}

// mayPass tells whether the next try of a health command that has failed may end otherwise.
func mayPass(err error) bool {
	status, exited := exitStatus(err)
	return exited && !notRunnable(status, err) || !exited && classify(err) == unavailable
}

// pause tells whether the time has passed before ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// execute runs argv in a pod's container, over a WebSocket, or over SPDY where
// the server or a proxy before it knows none, as kubectl does.
// https://kubernetes.io/blog/2024/08/20/websockets-transition/
func (c *Cluster) execute(ctx context.Context, p pod, argv []string, out *tailBuffer) error {
	address := c.core.Get().Namespace(c.namespace).Resource("pods").Name(p.name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: p.container, Command: argv, Stdout: true, Stderr: true}, c.codec).URL()
	executor, err := c.executor(address)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: out, Stderr: out})
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done(): // the libraries know no context while they connect
		return context.Cause(ctx)
	}
}

func (c *Cluster) executor(address *url.URL) (remotecommand.Executor, error) {
	socket, err := remotecommand.NewWebSocketExecutor(c.config, http.MethodGet, address.String())
	if err != nil {
		return nil, err
	}
	spdy, err := remotecommand.NewSPDYExecutor(c.config, http.MethodPost, address)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(socket, spdy, fallBack)
}

// fallBack tells whether SPDY may work where a WebSocket did not.
func fallBack(err error) bool {
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
}

func exitStatus(err error) (int, bool) {
	var exit exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exit.ExitStatus(), true
	}
	return 0, false
}

// notRunnable tells a command that did not start from one that said no: by the
// exit codes of shells (POSIX, 2.8.2) and container runtimes, or by the
// runtime's words.
func notRunnable(status int, err error) bool {
	if status >= 126 && status <= 128 {
		return true
	}
	if err == nil || status != 0 {
		return false
	}
	return strings.Contains(err.Error(), "executable file not found") || strings.Contains(err.Error(), "no such file or directory") ||
		strings.Contains(err.Error(), "permission denied: unknown")
}

// lastLine is the last thing that a command said, without secrets.
func (w *Workload) lastLine(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	line := oneLine(w.cluster.keeper.Scrub(lines[len(lines)-1]))
	if line == "" {
		return "it says nothing"
	}
	return line
}

// tailBuffer keeps the end of what is written to it. Safe for concurrent use:
// stdout and stderr come at once.
type tailBuffer struct {
	mu  sync.Mutex
	end bytes.Buffer
}

func (b *tailBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end.Write(text)
	b.end.Next(max(0, b.end.Len()-outputBytes))
	return len(text), nil
}

func (b *tailBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.end.String()
}
