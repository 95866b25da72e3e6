package program

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// WatchMemory follows the largest resident memory of a process until peak is
// called, which returns it in bytes. The kernel keeps the peak; it is only read
// from time to time because it is gone with the process. (Not getrusage: its
// ru_maxrss begins with what the parent had when it forked.)
func WatchMemory(pid int) (peak func() int64) {
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
				most = max(most, residentPeak(pid))
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
