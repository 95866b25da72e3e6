package act

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pgrotate/pgrotate/lab/debian"
)

// version of github.com/nektos/act.
const version = "v0.2.89"

// Programs is a folder with what this package runs. Nothing of it is installed
// but a library: an installed engine would start with the machine.
type Programs string

// Get downloads and builds what is missing. say is told when a library of the
// engine has to be installed.
func (p Programs) Get(ctx context.Context, say func(format string, args ...any)) error {
	libraries := debian.Packages{Files: map[string]string{"libdevmapper1.02.1": "/usr/share/doc/libdevmapper1.02.1/copyright"}, Say: say}
	if len(libraries.Missing()) > 0 {
		if err := libraries.Start(ctx); err != nil {
			return err
		}
	}
	for _, name := range []string{"docker.io", "debootstrap"} {
		if _, err := os.Stat(p.folder(name)); err == nil {
			continue
		}
		if err := p.unpack(ctx, name); err != nil {
			return err
		}
	}
	if _, err := os.Stat(p.act()); err == nil {
		return nil
	}
	return command(ctx, "", []string{"GOBIN=" + filepath.Dir(p.act())}, "go", "install", "github.com/nektos/act@"+version)
}

// unpack unpacks a Debian package into a folder of its own.
func (p Programs) unpack(ctx context.Context, name string) error {
	folder := p.folder(name)
	part := folder + ".part"
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o755)); err != nil {
		return fmt.Errorf("unpack %q: %w", name, err)
	}
	for _, action := range [][]string{{"update"}, {"download", name}} {
		if err := command(ctx, part, nil, "apt-get", append([]string{"--quiet", "--quiet"}, action...)...); err != nil {
			return err
		}
	}
	archives, err := filepath.Glob(filepath.Join(part, "*.deb"))
	if err != nil || len(archives) != 1 {
		return fmt.Errorf("unpack %q: found %d archives: %w", name, len(archives), err)
	}
	if err := command(ctx, part, nil, "dpkg-deb", "--extract", archives[0], "."); err != nil {
		return err
	}
	return os.Rename(part, folder)
}

func (p Programs) folder(name string) string { return filepath.Join(string(p), name) }
func (p Programs) dockerd() string           { return filepath.Join(p.folder("docker.io"), "usr/sbin/dockerd") }
func (p Programs) docker() string            { return filepath.Join(p.folder("docker.io"), "usr/bin/docker") }
func (p Programs) act() string               { return filepath.Join(p.folder("act-"+version), "act") }

// debootstrap makes the file system of a Debian 12 with more packages in folder.
func (p Programs) debootstrap(ctx context.Context, folder, more string) error {
	unpacked := p.folder("debootstrap")
	environment := []string{"DEBOOTSTRAP_DIR=" + filepath.Join(unpacked, "usr/share/debootstrap")}
	return command(ctx, "", environment, filepath.Join(unpacked, "usr/sbin/debootstrap"),
		"--variant=minbase", "--include="+more, "bookworm", folder)
}

// command runs a program in folder, with more in its environment.
func command(ctx context.Context, folder string, more []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), more...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), args[0], err, last(string(out)))
	}
	return nil
}
