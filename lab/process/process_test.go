package process

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func sleeper(t *testing.T) Process {
	p := Process{Name: "sleeper", Folder: t.TempDir(), Args: []string{"sleep", "600"}}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func start(t *testing.T, p Process) identity {
	t.Helper()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	id, ok := p.identity()
	if !ok {
		t.Fatal("the pid file names no process")
	}
	return id
}

func TestStartsOnceAndStops(t *testing.T) {
	p := sleeper(t)
	first := start(t, p)
	if second := start(t, p); second != first {
		t.Errorf("started again: %v, then %v", first, second)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.Running() || first.alive() {
		t.Error("runs after Stop")
	}
	if again := start(t, p); again == first {
		t.Error("did not start after Stop")
	}
}

func TestRunsInASessionOfItsOwn(t *testing.T) {
	id := start(t, sleeper(t))
	text, err := os.ReadFile("/proc/" + strconv.Itoa(id.pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text))
	if session := fields[5]; session != strconv.Itoa(id.pid) {
		t.Errorf("session %s, process %d", session, id.pid)
	}
}

func TestStopKillsWhatIgnoresIt(t *testing.T) {
	p := sleeper(t)
	p.Quit, p.Grace = syscall.SIGCONT, time.Millisecond // SIGCONT ends no program
	id := start(t, p)
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if id.alive() {
		t.Error("runs after Stop")
	}
}

// A pid file that outlived its process names a stranger once the pid is used again.
func TestLeavesAStrangerAlone(t *testing.T) {
	for name, edit := range map[string]func(boot string, id identity) string{
		"other start time": func(boot string, id identity) string {
			return boot + "\n" + stat(identity{id.pid, id.started - 1})
		},
		"other boot": func(_ string, id identity) string { return "other\n" + stat(id) },
		"torn":       func(boot string, id identity) string { return boot + "\n" + stat(id)[:12] },
		"empty":      func(string, identity) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			p := sleeper(t)
			id := start(t, p)
			original, err := os.ReadFile(p.pidFile())
			if err != nil {
				t.Fatal(err)
			}
			boot, _, _ := strings.Cut(string(original), "\n")
			write(t, p.pidFile(), edit(boot, id))
			if p.Running() {
				t.Error("taken for our own")
			}
			if err := p.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if !id.alive() {
				t.Error("the stranger was killed")
			}
			write(t, p.pidFile(), string(original)) // for the cleanup
		})
	}
}

func TestTellsWhyAProgramEnded(t *testing.T) {
	p := Process{Name: "broken", Folder: t.TempDir(), Args: []string{"sh", "-c", "echo no such thing; exit 1"}}
	err := p.Start(t.Context())
	if err == nil { // it had not ended yet
		id, _ := p.identity()
		if !id.gone(t.Context(), grace) {
			t.Fatal("does not end")
		}
		err = p.Alive()
	}
	var ended Ended
	if !errors.As(err, &ended) || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("error %v, want one that holds the end of the log", err)
	}
}

func TestKillsOnlyWhatIsMine(t *testing.T) {
	mine, other := start(t, sleeper(t)), start(t, sleeper(t))
	if err := Kill(t.Context(), func(pid int) bool { return pid == mine.pid }); err != nil {
		t.Fatal(err)
	}
	if mine.alive() {
		t.Error("mine runs on")
	}
	if !other.alive() {
		t.Error("the other was killed")
	}
}

func TestParseStat(t *testing.T) {
	id, state, ok := parseStat(stat(identity{42, 7}))
	if !ok || id != (identity{42, 7}) || state != "S" {
		t.Errorf("got %v %q %v", id, state, ok)
	}
	for _, bad := range []string{"", "42", "42 (x) S", "1 (init) S" + strings.Repeat(" 1", 19)} {
		if _, _, ok := parseStat(bad); ok {
			t.Errorf("%q was taken for a process", bad)
		}
	}
}

// stat makes a line of /proc/PID/stat with a name that holds the separators.
func stat(id identity) string {
	return strconv.Itoa(id.pid) + " (a) b) S" + strings.Repeat(" 1", 18) + " " +
		strconv.FormatUint(id.started, 10) + " 1 1\n"
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRefusesAPortThatAStrangerHas(t *testing.T) {
	stranger, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	p := sleeper(t)
	p.Ports = []int{stranger.Addr().(*net.TCPAddr).Port}
	if err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "taken by another program") {
		t.Errorf("error %v", err)
	}
	if p.Running() {
		t.Error("started")
	}
}
