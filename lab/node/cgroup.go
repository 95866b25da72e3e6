package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pgrotate/pgrotate/lab/process"
)

// cgroupRoot is the control group below which the kubelet keeps its pods. It is
// the lab's alone: a kubelet kills what it does not know in its own.
const cgroupRoot = "/pgrotate-lab"

// hierarchies returns where the control groups are mounted: one place in version
// 2, one per controller in version 1, see cgroups(7).
func hierarchies() ([]string, error) {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(root + "/cgroup.procs"); err == nil {
		return []string{root}, nil
	}
	found, err := filepath.Glob(root + "/*/cgroup.procs")
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("find the control groups below %q: none", root)
	}
	for i := range found {
		found[i] = filepath.Dir(found[i])
	}
	return found, nil
}

// makeGroups makes cgroupRoot, which the kubelet expects to be there.
func makeGroups() error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.MkdirAll(root+cgroupRoot, 0o755); err != nil {
			return fmt.Errorf("make the lab's control group: %w", err)
		}
		if err := delegate(root); err != nil {
			return err
		}
	}
	return nil
}

// delegate gives the groups below root all controllers that root has; in version
// 1, where every controller has its own hierarchy, there is nothing to give.
func delegate(root string) error {
	controllers, err := os.ReadFile(root + "/cgroup.controllers")
	if err != nil {
		return nil
	}
	for _, controller := range strings.Fields(string(controllers)) {
		err := os.WriteFile(root+"/cgroup.subtree_control", []byte("+"+controller), 0)
		if err != nil {
			return fmt.Errorf("enable the %s controller below %q: %w", controller, root, err)
		}
	}
	return nil
}

// removeGroups removes cgroupRoot. A group stays busy for a moment after its last
// process was killed, and an exec probe that was under way can begin another.
func removeGroups(ctx context.Context) error {
	for try := 0; ; try++ {
		err := removeGroupsNow(ctx)
		if !errors.Is(err, syscall.EBUSY) || try == 50 {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// removeGroupsNow kills what still runs below cgroupRoot and removes it.
func removeGroupsNow(ctx context.Context) error {
	if err := process.Kill(ctx, inGroup); err != nil {
		return err
	}
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		for _, folder := range slices.Backward(folders(root + cgroupRoot)) {
			if err := os.Remove(folder); err != nil && !os.IsNotExist(err) {
				return fmt.Errorf("remove the lab's control group: %w", err)
			}
		}
	}
	return nil
}

// inGroup tells whether pid belongs to a pod of the lab.
func inGroup(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && groupBelow(string(text), cgroupRoot)
}

// groupBelow reads the text of /proc/PID/cgroup.
func groupBelow(text, root string) bool {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && below(fields[2], root) {
			return true
		}
	}
	return false
}

// folders lists root and what is below it, parents first.
func folders(root string) []string {
	var all []string
	_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			all = append(all, path)
		}
		return nil // what vanishes meanwhile needs no removal
	})
	return all
}
