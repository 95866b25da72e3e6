// Package debian gets the lab the programs that come from Debian.
package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Packages is the part that installs missing packages.
type Packages struct {
	// Files names for each package a file that is there once it is installed.
	Files map[string]string
	Say   func(format string, args ...any) // required
}

// Missing returns the packages that are not installed, in the order of their names.
func (p Packages) Missing() []string {
	var missing []string
	for name, file := range p.Files {
		if _, err := os.Stat(file); err != nil {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return missing
}

// Start installs what is missing.
func (p Packages) Start(ctx context.Context) error {
	missing := p.Missing()
	p.Say("installing the Debian packages %s", strings.Join(missing, " "))
	if err := apt(ctx, "update"); err != nil {
		return err
	}
	return apt(ctx, append([]string{"install", "--yes", "--no-install-recommends"}, missing...)...)
}

// Ready tells whether all are installed.
func (p Packages) Ready(context.Context) error {
	if missing := p.Missing(); len(missing) > 0 {
		return errors.New("not installed: " + strings.Join(missing, " "))
	}
	return nil
}

// Stop leaves the packages installed.
func (Packages) Stop(context.Context) error { return nil }

// Unusable tells why this process cannot install packages and run what is in
// them; empty when it can.
func Unusable() string {
	var why []string
	if os.Geteuid() != 0 {
		why = append(why, "root is missing")
	}
	if _, err := os.Stat("/etc/debian_version"); err != nil {
		why = append(why, "Debian is missing")
	}
	return strings.Join(why, " and ")
}

func apt(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", append([]string{"--quiet", "--quiet", "-o", "DPkg::Lock::Timeout=120"}, args...)...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
	}
	return nil
}
