// Package cgroup keeps processes together in a control group of the kernel, see
// cgroups(7), in version 1 as in version 2.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgrotate/pgrotate/lab/process"
)

// Group is a control group, as a path from the root of every hierarchy.
type Group string

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

// Make makes the group, unless it is there.
func (g Group) Make() error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.MkdirAll(root+string(g), 0o755); err != nil {
			return fmt.Errorf("make the control group %q: %w", g, err)
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

// Weigh gives the process, with what it starts from then on, this share of the
// processor where others want it too. 100 is what everybody has; version 1 counts
// in 1,024ths.
func (g Group) Weigh(pid, weight int) error {
	folder := "/sys/fs/cgroup" + string(g)
	err := write(folder+"/cpu.weight", weight)
	if errors.Is(err, fs.ErrNotExist) {
		folder = "/sys/fs/cgroup/cpu" + string(g)
		err = write(folder+"/cpu.shares", weight*1024/100)
	}
	if err == nil {
		err = write(folder+"/cgroup.procs", pid)
	}
	if err != nil {
		return fmt.Errorf("weigh the control group %q: %w", g, err)
	}
	return nil
}

func write(path string, number int) error {
	return os.WriteFile(path, []byte(strconv.Itoa(number)), 0)
}

// End kills what still runs in the group and removes it. A group stays busy for a moment after its last
// process was killed, and an exec probe that was under way can begin another.
func (g Group) End(ctx context.Context) error {
	for try := 0; ; try++ {
		err := g.endNow(ctx)
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

func (g Group) endNow(ctx context.Context) error {
	if err := process.Kill(ctx, g.Holds); err != nil {
		return err
	}
	return g.Remove()
}

// Remove removes the group, which is busy while a process runs in it.
func (g Group) Remove() error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		for _, folder := range slices.Backward(folders(root + string(g))) {
			if err := os.Remove(folder); err != nil && !os.IsNotExist(err) {
				return fmt.Errorf("remove the control group %q: %w", g, err)
			}
		}
	}
	return nil
}

// Holds tells whether the process is in the group or in one below it.
func (g Group) Holds(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && g.named(string(text))
}

// named reads the text of /proc/PID/cgroup.
func (g Group) named(text string) bool {
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) == 3 && (fields[2] == string(g) || strings.HasPrefix(fields[2], string(g)+"/")) {
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
