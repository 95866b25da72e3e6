// Package act runs this repository's workflows as GitHub would, with nektos/act
// as the runner, a Docker engine of its own, and the servers of the lab.
package act

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgrotate/pgrotate/lab/process"
)

// Engine is a Docker engine that shares nothing with another one on the machine:
// it has no network but the host's, leaves the firewall alone, and reaches no
// registry.
type Engine struct {
	Programs Programs
	Folder   string // required; what is built is kept in it for the next engine
}

func (e Engine) process() process.Process {
	return process.Process{Name: "dockerd", Folder: e.Folder, Grace: 30 * time.Second, Args: []string{
		e.Programs.dockerd(), "--host", e.Address(), "--log-level", "warn",
		"--data-root", filepath.Join(e.Folder, "data"), "--exec-root", filepath.Join(e.Folder, "run"),
		"--pidfile", filepath.Join(e.Folder, "docker.pid"),
		"--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false",
		"--oom-score-adjust=0", // without CAP_SYS_RESOURCE it cannot be lowered
	}}
}

// Address is where clients reach the engine, as in DOCKER_HOST.
func (e Engine) Address() string { return "unix://" + filepath.Join(e.Folder, "docker.sock") }

// Start starts the engine and returns when it answers.
func (e Engine) Start(ctx context.Context) error {
	if err := e.process().Start(ctx); err != nil {
		return err
	}
	for {
		if _, err := e.Docker(ctx, nil, "version"); err == nil {
			return nil
		}
		if err := e.process().Alive(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start dockerd: %w", context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Stop ends the engine and all its containers.
func (e Engine) Stop(ctx context.Context) error {
	if err := e.process().Stop(ctx); err != nil {
		return err
	}
	// The engine leaves the handle of the host's network mounted.
	err := unix.Unmount(filepath.Join(e.Folder, "run/netns/default"), unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) { // EINVAL: it is not mounted
		return fmt.Errorf("unmount the network of dockerd: %w", err)
	}
	return nil
}

// Docker runs the client and returns what it prints.
func (e Engine) Docker(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, e.Programs.docker(), args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &errs
	cmd.Env = append(os.Environ(), "DOCKER_HOST="+e.Address(), "DOCKER_BUILDKIT=0") // act builds without, too
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w\n%s%s", args[0], err, last(out.String()), errs.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// last is the end of a long text.
func last(text string) string {
	const enough = 2000
	return text[max(0, len(text)-enough):]
}
