// Package program builds pgrotate as its image holds it, and runs it as the
// runner would: as a process of its own with the inputs in its environment.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Build compiles the checkout source into folder and returns the program's path.
func Build(ctx context.Context, source, folder string) (string, error) {
	program := filepath.Join(folder, "pgrotate")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-gcflags=all=-dwarf=false", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", program, ".")
	cmd.Dir, cmd.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program: %w\n%s", err, out)
	}
	return program, nil
}

// Files that the program writes, in the folder of its run.
const (
	Report  = "report.json"
	Summary = "summary.md"
	Output  = "output"
	State   = "state"
)

// Run is one process.
type Run struct {
	Folder string
	cmd    *exec.Cmd
	out    syncBuffer
	began  time.Time
	took   time.Duration // known when done is closed
	done   chan struct{}
}

// Start runs the program with the inputs, and with nothing else in its
// environment, in a folder that is there. The process ends with this one.
func Start(program, folder string, inputs map[string]string) (*Run, error) {
	r := &Run{Folder: folder, cmd: exec.Command(program), done: make(chan struct{})}
	r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = folder, &r.out, &r.out
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	for name, value := range inputs {
		r.cmd.Env = append(r.cmd.Env, name+"="+value)
	}
	for name, file := range map[string]string{
		"INPUT_REPORT": Report, "GITHUB_STEP_SUMMARY": Summary, "GITHUB_OUTPUT": Output, "GITHUB_STATE": State,
	} {
		path := filepath.Join(folder, file)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return nil, fmt.Errorf("start the program: %w", err)
		}
		r.cmd.Env = append(r.cmd.Env, name+"="+path)
	}
	r.began = time.Now()
	if err := r.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the program: %w", err)
	}
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait() // its exit code is in ProcessState
		r.took = time.Since(r.began)
	}()
	return r, nil
}

// PID is the number of the process.
func (r *Run) PID() int { return r.cmd.Process.Pid }

// Signal sends a signal to the process; to one that has ended it does nothing.
func (r *Run) Signal(s syscall.Signal) { _ = r.cmd.Process.Signal(s) }

// Kill ends the process and returns when it is gone.
func (r *Run) Kill() {
	_ = r.cmd.Process.Kill()
	<-r.done
}

// Done is closed when the process has ended.
func (r *Run) Done() <-chan struct{} { return r.done }

// Wait returns the exit code, -1 after a signal. A process that takes longer
// than limit is killed, which is an error.
func (r *Run) Wait(limit time.Duration) (int, error) {
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-r.done:
		return r.cmd.ProcessState.ExitCode(), nil
	case <-late.C:
		r.Kill()
		return -1, errors.New("the program did not end in " + limit.String())
	}
}

// Took is the time from the start to the end of the process, which has ended: the
// program's own begins later.
func (r *Run) Took() time.Duration { return r.took }

// Processor is the time that the process, which has ended, took of the processors.
func (r *Run) Processor() time.Duration {
	return r.cmd.ProcessState.UserTime() + r.cmd.ProcessState.SystemTime()
}

// Said is what the process has written to stdout and stderr so far.
func (r *Run) Said() string { return r.out.String() }

type syncBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
