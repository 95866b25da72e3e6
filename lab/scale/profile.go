package scale

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"

	"github.com/pgrotate/pgrotate/internal/action"
)

// profileFolder is the variable that makes of this process the program, with a
// profiler around it, and names the folder of its profiles.
const profileFolder = "PGROTATE_PROFILE"

// sampled is every how many allocated bytes one is noted.
const sampled = 64 << 10

// profiled is the program; the processor and the allocations are in the folder
// when it returns its exit code.
func profiled(folder string) int {
	runtime.MemProfileRate = sampled
	processor, err := os.Create(filepath.Join(folder, "processor"))
	if err != nil || pprof.StartCPUProfile(processor) != nil {
		return -1
	}
	code := action.Main(context.Background(), os.Args, os.Getenv, os.Stdout)
	pprof.StopCPUProfile()
	allocations, err := os.Create(filepath.Join(folder, "allocations"))
	if err = errors.Join(err, pprof.Lookup("allocs").WriteTo(allocations, 0), processor.Close()); err != nil {
		return -1
	}
	return code
}

// Profile rotates once in a copy of this process and returns what took its time
// and memory, as text.
func (b *Bench) Profile() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp(b.folder, "profile")
	if err != nil {
		return "", err
	}
	b.Far(0)
	if _, err := b.Rotate(self, map[string]string{profileFolder: folder}); err != nil {
		return "", err
	}
	var text strings.Builder
	for _, what := range [][]string{{"processor"}, {"allocations", "-sample_index=alloc_space"}} {
		for _, order := range []string{"-flat", "-cum"} {
			top, err := b.top(filepath.Join(folder, what[0]), append(what[1:], order)...)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&text, "\n%s %s\n%s", what[0], order, top)
		}
	}
	return text.String(), nil
}

func (b *Bench) top(profile string, flags ...string) ([]byte, error) {
	var said bytes.Buffer
	cmd := exec.CommandContext(b.ctx, "go", append(append([]string{"tool", "pprof", "-top", "-nodecount=60"}, flags...), profile)...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read the profile: %w: %s", err, &said)
	}
	return out, nil
}
