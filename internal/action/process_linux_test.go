package action_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// somebody is a user without rights.
const somebody = 65534

const (
	heldPassword = "hunter2AdminPassword"
	heldToken    = "github_pat_held_0123456789"
)

// waiting is the program while it waits for a server that never answers, with
// its secrets in hand.
type waiting struct {
	cmd    *exec.Cmd
	folder string
	output bytes.Buffer  // read it after died
	died   chan struct{} // closed when it has
}

// wait starts the program as somebody who is not root, who may leave a core
// file, and told to crash as loudly as it can.
func wait(t *testing.T) *waiting {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	w := &waiting{folder: readable(t), died: make(chan struct{})}
	w.cmd = limitless(t, w.folder, program(t, w.folder))
	w.cmd.Stdout, w.cmd.Stderr = &w.output, &w.output
	w.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GOTRACEBACK=crash", "GITHUB_REPOSITORY=acme/shop", "GITHUB_API_URL=https://github.example",
		"INPUT_POSTGRES_URL=postgres://admin@" + listener.Addr().String() + "/db?sslmode=disable", "INPUT_POSTGRES_PASSWORD=" + heldPassword,
		"INPUT_GITHUB_TOKEN=" + heldToken, "INPUT_GITHUB_SECRETS=DATABASE_PASSWORD",
		`INPUT_KUBECONFIG={"clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:9"}}],"contexts":[{"name":"c","context":{"cluster":"c"}}],"current-context":"c"}`}
	if err := w.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = w.cmd.Wait()
		close(w.died)
		listener.Close()
	}()
	t.Cleanup(func() { _ = w.cmd.Process.Kill(); <-w.died })
	if _, err := listener.Accept(); err != nil {
		<-w.died
		t.Fatalf("the program ended before it asked the database:\n%s", &w.output)
	}
	return w
}

// end sends a signal and returns how the program died of it.
func (w *waiting) end(t *testing.T, signal syscall.Signal) syscall.WaitStatus {
	t.Helper()
	if err := w.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	<-w.died
	return w.cmd.ProcessState.Sys().(syscall.WaitStatus)
}

// limitless makes a command that may leave a core file as large as the machine
// allows, in folder. Root's processes tell nothing: they belong to root anyway.
func limitless(t *testing.T, folder, command string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", "ulimit -c $(ulimit -H -c); exec "+command)
	cmd.Dir = folder
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody}}
	}
	return cmd
}

// readable is a folder that everybody may enter and write.
func readable(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(folder), 0o755), os.Chmod(folder, 0o777)); err != nil {
		t.Fatal(err)
	}
	return folder
}

// program puts this test's binary into folder under the name by which it is the program.
func program(t *testing.T, folder string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "pgrotate")
	if err := os.Link(self, path); err == nil {
		return path
	}
	binary, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// owner is who may read what /proc shows of a process.
func owner(t *testing.T, pid int, name string) uint32 {
	t.Helper()
	info, err := os.Stat(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}

// An attacker with the same user, in another step of the job, reads neither the
// inputs nor the memory.
func TestNobodyButRootCanReadTheProcess(t *testing.T) {
	other := limitless(t, readable(t), "sleep 600")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	if owner(t, other.Process.Pid, "status") == 0 {
		t.Fatal("the other process runs as root: what is compared says nothing")
	}
	w := wait(t)
	for _, name := range []string{"environ", "mem", "maps", "fd"} {
		if uid := owner(t, w.cmd.Process.Pid, name); uid != 0 {
			t.Errorf("/proc/PID/%s is open to user %d", name, uid)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", w.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"0", "0", "bytes"}; !strings.Contains(strings.Join(strings.Fields(string(limits)), " "), "Max core file size "+strings.Join(want, " ")) {
		t.Errorf("it may leave a core file:\n%s", limits)
	}
}

// The Go runtime prints every goroutine when it dies of these signals, past the
// scrubber: what it prints must hold no secret by itself.
func TestACrashLeavesNoSecret(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT} {
		w := wait(t)
		status := w.end(t, signal)
		text := w.output.String()
		if !status.Signaled() || status.CoreDump() {
			t.Errorf("%v: it did not die of a signal without a core file: %#x", signal, status)
		}
		if !strings.Contains(text, "goroutine 1") || !strings.Contains(text, "action.Main") {
			t.Errorf("%v: no traceback, so nothing was looked at:\n%s", signal, text)
		}
		for _, secret := range []string{heldPassword, heldToken} {
			for _, form := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))[:20], hex.EncodeToString([]byte(secret)), "INPUT_"} {
				if strings.Contains(text, form) {
					t.Errorf("%v: the traceback holds %q", signal, form)
				}
			}
		}
		if cores, _ := fs.Glob(os.DirFS(w.folder), "core*"); len(cores) > 0 {
			t.Errorf("%v: it left %v", signal, cores)
		}
	}
}
