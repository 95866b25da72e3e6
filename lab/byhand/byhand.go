// Package byhand rotates the platform's password by the runbook that pgrotate
// stands for, and measures what that costs.
package byhand

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/debian"
	"github.com/pgrotate/pgrotate/lab/platform"
	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/rollouts"
)

//go:embed runbook.sh
var runbook string

// Figures are what one rotation by hand took.
type Figures struct {
	Total   time.Duration
	Slowest time.Duration // rollout, until the last old pod has ended; zero: not seen
	Refused int           // logins of the services
	Window  time.Duration // from the first to the last of them
	Memory  int64         // largest resident set of a command, bytes
}

func (f Figures) String() string {
	return fmt.Sprintf("by hand: %d refused logins within %.1fs, %.1fs in all", f.Refused, f.Window.Seconds(), f.Total.Seconds())
}

// Rotate runs the runbook on the platform of the lab. What it prints goes to out.
func Rotate(ctx context.Context, lab labtest.Lab, out io.Writer) (Figures, error) {
	if err := tools(ctx, out); err != nil {
		return Figures{}, err
	}
	before, err := labtest.Refused(lab.Logins)
	if err != nil {
		return Figures{}, err
	}
	cmd := exec.CommandContext(ctx, "bash", "-c", runbook)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), environment(lab)...), out, out
	client, err := platform.Connect(lab.Kubeconfig)
	if err != nil {
		return Figures{}, err
	}
	slowest, err := rollouts.Watch(ctx, client, lab.Namespace)
	if err != nil {
		return Figures{}, err
	}
	f, err := measured(cmd)
	f.Slowest = slowest()
	if err != nil {
		return Figures{}, fmt.Errorf("rotate by hand: %w", err)
	}
	after, err := labtest.Refused(lab.Logins)
	if err != nil {
		return Figures{}, err
	}
	refused := after[len(before):]
	f.Refused, f.Window = len(refused), labtest.Window(refused)
	return f, nil
}

// measured runs a command in a process group of its own, with all that it starts.
func measured(cmd *exec.Cmd) (Figures, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return Figures{}, err
	}
	peak := program.WatchGroup(cmd.Process.Pid)
	err := cmd.Wait()
	return Figures{Total: time.Since(began), Memory: peak()}, err
}

// tools installs what only the runbook needs.
func tools(ctx context.Context, out io.Writer) error {
	p := debian.Packages{
		Files: map[string]string{"kubernetes-client": "/usr/bin/kubectl", "curl": "/usr/bin/curl", "openssl": "/usr/bin/openssl"},
		Say:   func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) },
	}
	if p.Ready(ctx) == nil {
		return nil
	}
	return p.Start(ctx)
}

func environment(lab labtest.Lab) []string {
	return []string{
		"ADMIN_URL=" + lab.PostgresURL, "KUBECONFIG=" + lab.Kubeconfig, "NAMESPACE=" + lab.Namespace,
		"ROLE=" + platform.Role, "SECRET=" + platform.Secret, "DATABASE=" + platform.Database,
		"DEPLOYMENTS=" + strings.Join(platform.Deployments(), " "),
		"GITHUB_URL=" + lab.GitHubURL, "GITHUB_TOKEN=" + lab.GitHubToken, "REPOSITORY=acme/shop", "GITHUB_SECRET=DATABASE_PASSWORD",
	}
}
