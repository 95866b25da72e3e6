package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// identity names one process for as long as the machine is up: a pid is used
// again, the same pid with the same start time is not.
type identity struct {
	pid     int
	started uint64 // clock ticks after boot
}

// parseStat reads a line of /proc/PID/stat, see proc_pid_stat(5): the pid, the
// state and, as field 22, the start time. The program's name in field 2 may
// hold blanks and brackets.
func parseStat(line string) (id identity, state string, ok bool) {
	pid, _, found := strings.Cut(line, " ")
	end := strings.LastIndex(line, ") ")
	if !found || end < 0 {
		return identity{}, "", false
	}
	fields := strings.Fields(line[end+2:]) // from field 3 on
	if len(fields) < 20 {
		return identity{}, "", false
	}
	var err1, err2 error
	id.pid, err1 = strconv.Atoi(pid)
	id.started, err2 = strconv.ParseUint(fields[19], 10, 64)
	return id, fields[0], err1 == nil && err2 == nil && id.pid > 1
}

// alive tells whether the process exists and is not a zombie.
func (id identity) alive() bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id.pid))
	if err != nil {
		return false
	}
	now, state, ok := parseStat(string(text))
	return ok && now == id && state != "Z" && state != "X"
}

// signal sends s to this process and no other: the handle is taken first, then
// it is checked that the pid still means the same process.
func (id identity) signal(s syscall.Signal) error {
	handle, err := os.FindProcess(id.pid)
	if err != nil {
		return err
	}
	defer handle.Release()
	if !id.alive() {
		return nil
	}
	if err := handle.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// gone waits until the process has ended, at most for d.
func (id identity) gone(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for id.alive() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	return true
}

// Kill kills the processes for which mine returns true. It is asked twice for
// each: a pid may change hands between the question and the signal.
func Kill(ctx context.Context, mine func(pid int) bool) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("list the processes: %w", err)
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() || !mine(pid) {
			continue
		}
		if err := kill(ctx, pid, mine); err != nil {
			return err
		}
	}
	return nil
}

func kill(ctx context.Context, pid int, mine func(pid int) bool) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil // it has ended
	}
	id, _, ok := parseStat(string(text))
	if !ok || !mine(pid) {
		return nil
	}
	if err := id.signal(syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill pid %d: %w", pid, err)
	}
	if !id.gone(ctx, grace) {
		return fmt.Errorf("kill pid %d: it does not end", pid)
	}
	return nil
}

func bootID() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(text)), err
}
