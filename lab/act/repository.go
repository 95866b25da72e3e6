package act

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Checkout copies what a commit of the checkout source would hold to folder.
func Checkout(ctx context.Context, source, folder string) error {
	list := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = source
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("list the files of %q: %w", source, err)
	}
	for name := range strings.SplitSeq(strings.Trim(string(out), "\x00"), "\x00") {
		if err := copyFile(filepath.Join(source, name), filepath.Join(folder, name)); err != nil {
			return fmt.Errorf("copy the checkout: %w", err)
		}
	}
	return nil
}

func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if os.IsNotExist(err) {
		return nil // removed, and not yet committed
	}
	if err != nil {
		return err
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, text, info.Mode().Perm())
}

// Repository makes a repository of GitHub's with one commit in folder, where the
// files are already.
func Repository(ctx context.Context, folder, name string) error {
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"add", "--all"},
		{"-c", "user.name=Acme", "-c", "user.email=acme@example.com", "commit", "--quiet", "--message=Rotate passwords"},
		{"remote", "add", "origin", "https://github.com/" + name + ".git"},
	} {
		if err := command(ctx, folder, nil, "git", args...); err != nil {
			return err
		}
	}
	return nil
}
