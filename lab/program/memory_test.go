package program

import (
	"os/exec"
	"syscall"
	"testing"
)

// TestTheLargestOfAGroupCounts: a shell is small, and what it starts is not. The
// last one lets the one before it wait with all that it holds.
func TestTheLargestOfAGroupCounts(t *testing.T) {
	const held = 50_000_000
	cmd := exec.Command("sh", "-c", "head -c 50000000 /dev/zero | tail -c 50000000 | (sleep 1; cat >/dev/null)")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	all, leader := WatchGroup(cmd.Process.Pid), WatchMemory(cmd.Process.Pid)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if largest, shell := all(), leader(); largest < held || shell == 0 || shell > held/2 {
		t.Errorf("the largest had %d bytes, the shell %d", largest, shell)
	}
}
