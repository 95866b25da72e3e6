package node

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"

	"golang.org/x/sys/unix"

	"github.com/pgrotate/pgrotate/lab/image"
	"github.com/pgrotate/pgrotate/lab/process"
	"github.com/pgrotate/pgrotate/lab/site"
)

var (
	//go:embed containerd.toml
	containerdConfig string
	//go:embed loopback.conflist
	loopback string
)

// Containerd is the part that runs containers.
type Containerd struct{ Node }

func (n Node) socket() string { return filepath.Join(n.Site.Folder("containerd"), "containerd.sock") }

func (c Containerd) process() process.Process {
	return c.Node.process("containerd", []int{site.ContainerdStream}, "containerd", "--log-level", "warn",
		"--config", filepath.Join(c.Site.Folder("containerd"), "config.toml"))
}

// Start starts containerd with the lab's own folders and socket.
func (c Containerd) Start(ctx context.Context) error {
	cni, err := c.file("containerd", "cni/loopback.conflist", loopback)
	if err != nil {
		return err
	}
	folder := c.Site.Folder("containerd")
	text, err := fill(containerdConfig, map[string]any{
		"Root": folder + "/root", "State": folder + "/state", "Socket": c.socket(),
		"Pause": image.Pause, "CNI": filepath.Dir(cni), "StreamPort": site.ContainerdStream,
		"Snapshotter": snapshotter(folder),
	})
	if err != nil {
		return err
	}
	if _, err := c.file("containerd", "config.toml", text); err != nil {
		return err
	}
	return c.process().Start(ctx)
}

// Ready asks containerd for its version.
func (c Containerd) Ready(ctx context.Context) error {
	if err := c.process().Alive(); err != nil {
		return err
	}
	_, err := c.ctr(ctx, "version")
	return err
}

// Stop ends containerd and every container that it left running.
func (c Containerd) Stop(ctx context.Context) error {
	if err := c.process().Stop(ctx); err != nil {
		return err
	}
	if err := c.killContainers(ctx); err != nil {
		return err
	}
	return unmountBelow(c.Site.Folder("containerd"))
}

// ctr runs containerd's own client on the namespace that the kubelet uses.
func (n Node) ctr(ctx context.Context, args ...string) (string, error) {
	all := append([]string{"--address", n.socket(), "--namespace", "k8s.io", "--connect-timeout", "2s"}, args...)
	out, err := exec.CommandContext(ctx, "ctr", all...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// snapshotter is overlayfs, except where folder itself lies on one (inside a
// container): the kernel does not stack them.
func snapshotter(folder string) string {
	var fs unix.Statfs_t
	if unix.Statfs(folder, &fs) == nil && fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "native"
	}
	return "overlayfs"
}

func fill(text string, values map[string]any) (string, error) {
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", fmt.Errorf("parse a configuration: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, values); err != nil {
		return "", fmt.Errorf("fill in a configuration: %w", err)
	}
	return b.String(), nil
}

// Images is the part that gives containerd the lab's images.
type Images struct {
	Node
	Archives map[string]string // docker-archive files by image name
}

// Start imports the archives.
func (i Images) Start(ctx context.Context) error {
	for name, archive := range i.Archives {
		if _, err := os.Stat(archive); err != nil {
			return fmt.Errorf("import the image %q: %w", name, err)
		}
		if _, err := i.ctr(ctx, "images", "import", archive); err != nil {
			return fmt.Errorf("import the image %q: %w", name, err)
		}
	}
	return nil
}

// Ready tells whether containerd has all images.
func (i Images) Ready(ctx context.Context) error {
	if err := (Containerd{i.Node}).process().Alive(); err != nil {
		return err
	}
	have, err := i.ctr(ctx, "images", "list", "-q")
	if err != nil {
		return err
	}
	for name := range i.Archives {
		if !strings.Contains("\n"+have, "\n"+name+"\n") {
			return fmt.Errorf("containerd has no image %q", name)
		}
	}
	return nil
}

// Stop does nothing: the images end with containerd's folder.
func (Images) Stop(context.Context) error { return nil }
