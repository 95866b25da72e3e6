// Package process runs programs that outlive the command that started them,
// and finds and ends them later without ever touching a stranger's process.
package process

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// grace is how long a program may take to end.
const grace = 5 * time.Second

// Process is a program that runs in a session of its own.
type Process struct {
	Name   string   // required; names its files
	Folder string   // required; <Name>.pid and <Name>.log go here
	Args   []string // required; the program and its arguments
	Env    []string // added to the environment of this process
	Dir    string   // working directory; empty: the folder of this process
	// As is who runs it; nil: the user of this process.
	As *syscall.Credential
	// Ports are what the program listens on, on 127.0.0.1. Start refuses when a
	// stranger has one: his answers would be taken for the program's.
	Ports []int
	// Quit asks the program to end; zero: SIGTERM.
	Quit syscall.Signal
	// Grace is how long it may take to end before it is killed; zero: 5 s.
	Grace time.Duration
}

// launch writes the kernel's line about the new process to descriptor 3 before
// it becomes the program, so that no process runs that a pid file does not name.
const launch = `read -r line </proc/$$/stat && echo "$line" >&3 && exec "$@" 3>&-`

// Start starts the program, unless it runs already.
func (p Process) Start(ctx context.Context) error {
	if p.Running() {
		return nil
	}
	if err := p.checkPorts(ctx); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	if err := os.MkdirAll(p.Folder, 0o700); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer log.Close()
	pid, err := p.newPidFile()
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer pid.Close()
	cmd := exec.Command("/bin/sh", append([]string{"-c", launch, "sh"}, p.Args...)...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{pid}
	cmd.Env, cmd.Dir = append(os.Environ(), p.Env...), p.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: p.As}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	ended := make(chan struct{})
	go func() { // else it stays a zombie as long as this process lives
		_ = cmd.Wait()
		close(ended)
	}()
	return p.named(ctx, ended)
}

// named waits until the pid file names the process.
func (p Process) named(ctx context.Context, ended <-chan struct{}) error {
	for {
		if _, ok := p.identity(); ok {
			return nil
		}
		select {
		case <-ended:
			return p.Alive()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
}

func (p Process) checkPorts(ctx context.Context) error {
	for _, port := range p.Ports {
		var config net.ListenConfig
		listener, err := config.Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return fmt.Errorf("port %d is taken by another program: %w", port, err)
		}
		listener.Close()
	}
	return nil
}

// newPidFile begins the pid file with the kernel's boot id: after a reboot the
// same pid may start at the same tick.
func (p Process) newPidFile() (*os.File, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(p.pidFile(), os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintln(file, boot); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// Running tells whether the program that Start started still runs.
func (p Process) Running() bool {
	id, ok := p.identity()
	return ok && id.alive()
}

// identity reads the pid file.
func (p Process) identity() (identity, bool) {
	text, err := os.ReadFile(p.pidFile())
	if err != nil {
		return identity{}, false
	}
	boot, err := bootID()
	if err != nil {
		return identity{}, false
	}
	recorded, stat, _ := strings.Cut(string(text), "\n")
	if recorded != boot {
		return identity{}, false
	}
	id, _, ok := parseStat(stat)
	return id, ok
}

// Alive returns nil while the program runs, and Ended when it does not.
func (p Process) Alive() error {
	if p.Running() {
		return nil
	}
	return Ended{Name: p.Name, Tail: p.tail(), Log: p.log()}
}

// Stop asks the program to end, kills it after its grace and returns when it
// is gone. It does nothing when the program does not run.
func (p Process) Stop(ctx context.Context) error {
	id, ok := p.identity()
	if !ok {
		return nil
	}
	if err := id.signal(cmp.Or(p.Quit, syscall.SIGTERM)); err != nil {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	if id.gone(ctx, cmp.Or(p.Grace, grace)) {
		return nil
	}
	if err := id.signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", p.Name, err)
	}
	if !id.gone(ctx, grace) {
		return fmt.Errorf("kill %s: pid %d does not end", p.Name, id.pid)
	}
	return nil
}

// Pid returns the program's number while it runs.
func (p Process) Pid() (int, bool) {
	id, ok := p.identity()
	return id.pid, ok && id.alive()
}

// LogFile returns the path of what the program wrote.
func (p Process) LogFile() string { return p.log() }

func (p Process) pidFile() string { return filepath.Join(p.Folder, p.Name+".pid") }
func (p Process) log() string     { return filepath.Join(p.Folder, p.Name+".log") }

// tail returns the last lines of the log.
func (p Process) tail() string {
	text, err := os.ReadFile(p.log())
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// Ended says that a program that should run does not.
type Ended struct{ Name, Tail, Log string }

func (e Ended) Error() string {
	if e.Tail == "" {
		return fmt.Sprintf("%s does not run", e.Name)
	}
	return fmt.Sprintf("%s does not run; the end of %s:\n%s", e.Name, e.Log, e.Tail)
}
