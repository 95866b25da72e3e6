package cgroup

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/pgrotate/pgrotate/internal/labtest"
)

func TestGroupHolds(t *testing.T) {
	const pod = "/pgrotate-lab/kubepods/besteffort/pod1/abc"
	for text, want := range map[string]bool{
		"8:pids:" + pod + "\n0::/\n":  true, // version 1
		"0::" + pod + "\n":            true, // version 2
		"0::/pgrotate-lab\n":          true,
		"0::/\n":                      false,
		"0::/pgrotate-laboratory/x\n": false,
		"0::/kubepods/pgrotate-lab\n": false,
		"":                            false,
	} {
		if got := Group("/pgrotate-lab").named(text); got != want {
			t.Errorf("named(%q) = %v", text, got)
		}
	}
}

// TestGroup moves a process into a group of little weight, and removes both.
func TestGroup(t *testing.T) {
	labtest.Own(t) // whose kubelet has control groups
	g := Group(fmt.Sprintf("/pgrotate-test-%d", os.Getpid()))
	if err := g.Make(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for _, err := range []error{g.Make(), g.Weigh(cmd.Process.Pid, 10)} {
		if err != nil {
			t.Error(err)
		}
	}
	if !g.Holds(cmd.Process.Pid) || g.Holds(os.Getpid()) {
		t.Error("the group does not hold the process that entered it alone")
	}
	if err := g.Remove(); err == nil {
		t.Error("the group was removed with a process in it")
	}
	if err := g.End(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the process outlived its group")
	}
}
