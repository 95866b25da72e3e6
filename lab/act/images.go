package act

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// The images that all others are made of, and what runs the steps of a job.
const (
	base   = "pgrotate.lab/debian:12"
	runner = "pgrotate.lab/runner:1"
)

// Images makes the images that workflows and the Dockerfile ask for; there is no
// registry that would have them.
type Images struct {
	Engine Engine
	Folder string // required; for what they are made of
	Source string // required; the checkout, an absolute path
}

// from finds the image that the program is built in.
var from = regexp.MustCompile(`(?m)^FROM (golang:\S+) AS build$`)

// Make makes what has changed since the engine made it last, and removes what is
// of no use any more.
func (i Images) Make(ctx context.Context) error {
	if err := i.prune(ctx); err != nil {
		return err
	}
	if err := i.makeDebian(ctx); err != nil {
		return err
	}
	if _, err := i.Engine.Docker(ctx, nil, "build", "--tag", runner, filepath.Join(i.Source, "lab/act/runner")); err != nil {
		return err
	}
	return i.makeGo(ctx)
}

// prune removes what killed runs have left, and images that a later one of their
// name has replaced. The younger of those save a build its time.
func (i Images) prune(ctx context.Context) error {
	for _, args := range [][]string{
		{"container", "prune", "--force"}, {"volume", "prune", "--force"}, {"image", "prune", "--force", "--filter", "until=72h"},
	} {
		if _, err := i.Engine.Docker(ctx, nil, args...); err != nil {
			return err
		}
	}
	return nil
}

// makeDebian makes a Debian with what steps call: a runner of GitHub's has more.
func (i Images) makeDebian(ctx context.Context) error {
	if _, err := i.Engine.Docker(ctx, nil, "image", "inspect", base); err == nil {
		return nil
	}
	tree := filepath.Join(i.Folder, "debian")
	defer os.RemoveAll(tree)
	if err := os.RemoveAll(tree); err != nil { // of one that was killed
		return fmt.Errorf("remove an old file system: %w", err)
	}
	if err := i.Engine.Programs.debootstrap(ctx, tree, "ca-certificates,git,jq"); err != nil {
		return err
	}
	return i.feed(ctx, []string{"-C", tree, "."}, "import", "-", base)
}

// makeGo makes a Debian with this machine's Go and, as its module proxy, the
// modules of go.mod, under the name that the Dockerfile has for it.
func (i Images) makeGo(ctx context.Context) error {
	dockerfile, err := os.ReadFile(filepath.Join(i.Source, "Dockerfile"))
	if err != nil {
		return fmt.Errorf("read the Dockerfile: %w", err)
	}
	name := from.FindSubmatch(dockerfile)
	if name == nil {
		return fmt.Errorf("find the image of Go in the Dockerfile: no line matches %q", from)
	}
	home, err := goHome(ctx)
	if err != nil {
		return err
	}
	modules := filepath.Join(i.Folder, "modules")
	if err := command(ctx, i.Source, []string{
		"GOMODCACHE=" + modules, "GOPROXY=file://" + home.Modules + "/cache/download," + home.Proxy, "GOFLAGS=-modcacherw",
	}, "go", "mod", "download"); err != nil {
		return err
	}
	imports, err := i.imports(ctx)
	if err != nil {
		return err
	}
	defer os.Remove(imports)
	return i.feed(ctx, []string{
		"-C", filepath.Join(i.Source, "lab/act/golang"), "Dockerfile", "-C", i.Source, "go.mod", "go.sum",
		"-C", i.Folder, filepath.Base(imports), "-C", filepath.Join(modules, "cache"), "download",
		"--exclude=./test", "--transform=s,^[.]/,go/,S", "-C", home.Root, ".",
	}, "build", "--tag", string(name[1]), "-")
}

// imports writes a file that names the packages of others in the program.
func (i Images) imports(ctx context.Context) (file string, err error) {
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{$.ImportPath}}{{end}}{{end}}", ".")
	list.Dir, list.Env = i.Source, append(os.Environ(), "CGO_ENABLED=0")
	names, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("list what the program imports: %w", err)
	}
	file = filepath.Join(i.Folder, "imports")
	return file, os.WriteFile(file, names, 0o644)
}

// home is where Go and its modules are.
type home struct {
	Root    string `json:"GOROOT"`
	Modules string `json:"GOMODCACHE"`
	Proxy   string `json:"GOPROXY"`
}

func goHome(ctx context.Context) (h home, err error) {
	out, err := exec.CommandContext(ctx, "go", "env", "-json", "GOROOT", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		return h, fmt.Errorf("find Go: %w", err)
	}
	return h, json.Unmarshal(out, &h)
}

// feed packs files and pipes them into the client.
func (i Images) feed(ctx context.Context, files []string, args ...string) error {
	tar := exec.CommandContext(ctx, "tar", append([]string{"--create", "--numeric-owner"}, files...)...)
	tar.Stderr = os.Stderr
	packed, err := tar.StdoutPipe()
	if err != nil {
		return fmt.Errorf("pack an image: %w", err)
	}
	if err := tar.Start(); err != nil {
		return fmt.Errorf("pack an image: %w", err)
	}
	_, err = i.Engine.Docker(ctx, packed, args...)
	if err != nil {
		_ = tar.Process.Kill()
	}
	if packing := tar.Wait(); err == nil && packing != nil {
		return fmt.Errorf("pack an image: %w", packing)
	}
	return err
}
