package node

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/pgrotate/pgrotate/lab/cgroup"
	"github.com/pgrotate/pgrotate/lab/process"
)

// pods is the control group below which the kubelet keeps its pods. It is the
// lab's alone: a kubelet kills what it does not know in its own.
const pods cgroup.Group = "/pgrotate-lab"

// killContainers kills the containers of this lab and their shims, which
// outlive containerd: a shim by the socket in its arguments, the rest by its
// control group.
func (n Node) killContainers(ctx context.Context) error {
	if err := process.Kill(ctx, n.isShim); err != nil {
		return err
	}
	return pods.End(ctx)
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
