package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// components are the names that the program of lab/kubernetes goes by.
var components = []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet"}

// Kubernetes is the part that builds the module lab/kubernetes, once per version,
// and gives the program its names.
type Kubernetes struct {
	Node
	Say func(format string, args ...any) // required
}

// Start builds the programs.
func (k Kubernetes) Start(ctx context.Context) error {
	k.Say("building Kubernetes %s, once: about five minutes on two cores", Version)
	begun := k.Node.binaries() + ".part"
	if err := os.RemoveAll(begun); err != nil {
		return fmt.Errorf("remove an unfinished build: %w", err)
	}
	if err := os.MkdirAll(begun, 0o700); err != nil {
		return fmt.Errorf("make the folder of the build: %w", err)
	}
	program := filepath.Join(begun, "kubernetes")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", ldflags(), "-o", program, ".")
	cmd.Dir = filepath.Join(k.Site.Source, "kubernetes")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no writer is left behind
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build Kubernetes: %w\n%s", err, out)
	}
	for _, name := range components {
		if err := os.Link(program, filepath.Join(begun, name)); err != nil {
			return fmt.Errorf("name a program of Kubernetes: %w", err)
		}
	}
	return os.Rename(begun, k.binaries())
}

// Ready tells whether the programs are there.
func (k Kubernetes) Ready(context.Context) error {
	for _, name := range components {
		if _, err := os.Stat(k.binary(name)); err != nil {
			return err
		}
	}
	return nil
}

// Stop keeps the programs for the next lab.
func (Kubernetes) Stop(context.Context) error { return nil }

// Version is the one that lab/kubernetes/go.mod requires; a test holds the two together.
const Version = "v1.34.4"

// ldflags stamps the version as Kubernetes' own build does: without it the API
// server calls itself v0.0.0, and clients and the kubelet refuse to work with it.
func ldflags() string {
	parts := strings.SplitN(strings.TrimPrefix(Version, "v"), ".", 3)
	flags := "-s -w"
	for name, value := range map[string]string{
		"gitVersion": Version, "gitMajor": parts[0], "gitMinor": parts[1], "gitTreeState": "clean",
	} {
		flags += " -X k8s.io/component-base/version." + name + "=" + value
	}
	return flags
}

func (n Node) binaries() string { return filepath.Join(n.Site.Cache, "kubernetes-"+Version) }

func (n Node) binary(name string) string { return filepath.Join(n.binaries(), name) }
