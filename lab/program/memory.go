package program

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// WatchMemory follows the largest resident memory of a process until peak is
// called, which returns it in bytes. The kernel keeps the peak; it is only read
// from time to time because it is gone with the process. (Not getrusage: its
// ru_maxrss begins with what the parent had when it forked.)
func WatchMemory(pid int) (peak func() int64) {
	return watch(func() int64 { return residentPeak(pid) })
}

// WatchGroup is WatchMemory for the processes of a group, of which the largest
// counts. One that ends before it is looked at is not seen.
func WatchGroup(leader int) (peak func() int64) {
	return watch(func() (most int64) {
		for _, pid := range members(leader) {
			most = max(most, residentPeak(pid))
		}
		return most
	})
}

// members are the processes of a group.
func members(leader int) (pids []int) {
	names, _ := filepath.Glob("/proc/[0-9]*") // the pattern is good
	for _, name := range names {
		pid, _ := strconv.Atoi(filepath.Base(name))
		if group, err := syscall.Getpgid(pid); err == nil && group == leader {
			pids = append(pids, pid)
		}
	}
	return pids
}

// watch looks until peak is called, which returns the most that was seen.
func watch(look func() int64) (peak func() int64) {
	stop, found := make(chan struct{}), make(chan int64)
	go func() {
		ticks := time.NewTicker(20 * time.Millisecond)
		defer ticks.Stop()
		var most int64
		for {
			select {
			case <-stop:
				found <- most
				return
			case <-ticks.C:
				most = max(most, look())
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-found
	}
}

// residentPeak reads VmHWM of proc(5); 0 when the process is gone.
func residentPeak(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib * 1024
		}
	}
	return 0
}
