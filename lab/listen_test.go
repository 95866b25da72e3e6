package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/site"
)

func TestOnlyLoopbackAddressesListen(t *testing.T) {
	labtest.Open(t)
	s, err := site.New()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(s.State, "*", "*.pid"))
	if err != nil {
		t.Fatal(err)
	}
	listening := 0
	for _, file := range files {
		for _, local := range listeners(t, pid(t, file)) {
			listening++
			if !strings.HasPrefix(local, "0100007F:") { // 127.0.0.1, see proc_pid_net(5)
				t.Errorf("%s listens on %s", filepath.Base(file), local)
			}
		}
	}
	if listening == 0 || listening < len(files) {
		t.Errorf("found only %d listeners of %d programs", listening, len(files))
	}
}

// pid reads the process out of a pid file.
func pid(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, stat, _ := strings.Cut(string(text), "\n")
	pid, _, _ := strings.Cut(stat, " ")
	return pid
}

// listeners returns the local addresses on which the process listens.
func listeners(t *testing.T, pid string) []string {
	t.Helper()
	own := map[string]bool{} // inodes of its sockets
	descriptors, err := filepath.Glob("/proc/" + pid + "/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, descriptor := range descriptors {
		if target, err := os.Readlink(descriptor); err == nil {
			own[target] = true
		}
	}
	var found []string
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%s/net/%s", pid, table))
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range regexp.MustCompile(`(?m)^ *\d+: (\S+) \S+ 0A .*$`).FindAllStringSubmatch(string(text), -1) {
			if own["socket:["+strings.Fields(row[0])[9]+"]"] {
				found = append(found, row[1])
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
