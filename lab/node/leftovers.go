package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgrotate/pgrotate/lab/process"
)

// killContainers kills the containers of this lab and their shims, which
// outlive containerd. It knows them by its own socket in the shim's arguments
// and by its own container ids in the names of the control groups.
func (n Node) killContainers(ctx context.Context) error {
	if err := process.Kill(ctx, n.isShim); err != nil {
		return err
	}
	ids, err := n.containers()
	if err != nil || len(ids) == 0 {
		return err
	}
	var groups []string
	err = process.Kill(ctx, func(pid int) bool {
		own := controlGroups(pid, ids)
		groups = append(groups, own...)
		return len(own) > 0
	})
	removeGroups(groups)
	return err
}

// isShim tells whether pid is a shim that serves this lab's containerd.
func (n Node) isShim(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := strings.Split(string(text), "\x00")
	i := slices.Index(args, "-address")
	return filepath.Base(args[0]) == "containerd-shim-runc-v2" && i > 0 && i+1 < len(args) && args[i+1] == n.socket()
}

// containers returns the ids of the containers that containerd was running.
func (n Node) containers() ([]string, error) {
	tasks := filepath.Join(n.Site.Folder("containerd"), "state", "io.containerd.runtime.v2.task", "k8s.io")
	entries, err := os.ReadDir(tasks)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list the containers: %w", err)
	}
	ids := make([]string, 0, len(entries))
	for _, entry := range entries {
		ids = append(ids, entry.Name())
	}
	return ids, nil
}

// controlGroups returns the control groups of pid that belong to one of ids.
func controlGroups(pid int, ids []string) []string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return nil
	}
	return matchGroups(string(text), ids)
}

// matchGroups picks from the text of /proc/PID/cgroup (see cgroups(7)) the
// folders named after one of ids.
func matchGroups(text string, ids []string) []string {
	var own []string
	for line := range strings.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 || !slices.Contains(ids, filepath.Base(fields[2])) {
			continue
		}
		controller := strings.TrimPrefix(fields[1], "name=")
		own = append(own, filepath.Join("/sys/fs/cgroup", controller, fields[2]))
	}
	return own
}

// removeGroups removes the control groups of killed containers and of their
// pods. The kernel refuses for those that still hold a process; they stay.
func removeGroups(groups []string) {
	slices.Sort(groups)
	for _, group := range slices.Compact(groups) {
		_ = os.Remove(group)
		_ = os.Remove(filepath.Dir(group))
	}
}

// unmountBelow unmounts everything that is mounted at or below folder.
func unmountBelow(folder string) error {
	points, err := Mounts(folder)
	if err != nil {
		return err
	}
	for _, point := range slices.Backward(points) {
		if err := unix.Unmount(point, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %q: %w", point, err)
		}
	}
	return nil
}

// Mounts returns the mount points at and below folder, in the order in which
// they were mounted.
func Mounts(folder string) ([]string, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list the mounts: %w", err)
	}
	defer file.Close()
	var points []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if point, ok := mountPoint(lines.Text()); ok && below(point, folder) {
			points = append(points, point)
		}
	}
	return points, nil
}

// mountPoint reads field 5 of a line of /proc/PID/mountinfo, see
// proc_pid_mountinfo(5); blanks in it are written in octal.
func mountPoint(line string) (string, bool) {
	fields := strings.Fields(line)
	if len(fields) < 5 {
		return "", false
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	return unescape.Replace(fields[4]), true
}

func below(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }
