package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

const (
	// largestImage is compressed, in bytes. The goal is 15 MB; this is what the
	// image has and some room, so that a heavy library is noticed when it comes.
	largestImage = 9_000_000
	// mostAllocations are made before main begins.
	mostAllocations = 9_000
)

// unwanted are beginnings of functions that the program does not link, and why.
var unwanted = map[string]string{
	"text/template.(*state).":      "it finds methods by their names, so every exported method of every type is linked, a fifth of the program",
	"k8s.io/client-go/kubernetes/": "its scheme links every API group, twice the program",
	"k8s.io/client-go/gentype.":    "it and its apply configurations are 10 MB, for what internal/kube does in 100 lines",
}

// builtProgram builds the program as the Dockerfile does.
func builtProgram(t testing.TB) (path string) {
	t.Helper()
	dockerfile, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`go build (.*) -o `).FindSubmatch(dockerfile)
	if flags == nil {
		t.Fatal("the Dockerfile builds no program")
	}
	path = filepath.Join(t.TempDir(), "pgrotate")
	build := exec.Command("sh", "-c", fmt.Sprintf("go build %s -o %s .", flags[1], path))
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	return path
}

func TestTheProgramIsLight(t *testing.T) {
	path := builtProgram(t)
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("Size", func(t *testing.T) {
		var layer bytes.Buffer
		z := gzip.NewWriter(&layer)
		authorities, _ := os.ReadFile("/etc/ssl/certs/ca-certificates.crt") // the other file; not every machine has it
		_, _ = z.Write(slices.Concat(program, authorities))
		_ = z.Close()
		if layer.Len() > largestImage {
			t.Errorf("the image has %.1f MB compressed, more than %.1f", float64(layer.Len())/1e6, float64(largestImage)/1e6)
		}
	})
	t.Run("Libraries", func(t *testing.T) {
		if !bytes.Contains(program, []byte(module+"/internal/action.Main")) {
			t.Fatal("the program does not tell the names of its functions")
		}
		for name, why := range unwanted {
			if bytes.Contains(program, []byte(name)) {
				t.Errorf("it links %s: %s", name, why)
			}
		}
	})
	t.Run("Beginning", func(t *testing.T) {
		command := exec.Command(path)
		command.Env = []string{"GODEBUG=inittrace=1"}
		var said bytes.Buffer
		command.Stderr = &said
		_ = command.Run() // it lacks all inputs
		allocations := 0
		for _, line := range regexp.MustCompile(`(?m)^init .* (\d+) allocs$`).FindAllSubmatch(said.Bytes(), -1) {
			n, _ := strconv.Atoi(string(line[1]))
			allocations += n
		}
		if allocations == 0 || allocations > mostAllocations {
			t.Errorf("%d allocations before main, want at most %d", allocations, mostAllocations)
		}
	})
}

// BenchmarkColdStart measures from the start of the process, as the runner starts
// it, to the connection of its first request, and to its end when an input is
// wrong. The goal for the first is 50 ms on a machine at rest.
func BenchmarkColdStart(b *testing.B) {
	path := builtProgram(b)
	b.Run("FirstRequest", func(b *testing.B) {
		measured(b, func() time.Duration {
			listener, err := net.Listen("tcp", "127.0.0.1:0") // a new one: a run makes several connections at once
			if err != nil {
				b.Fatal(err)
			}
			defer listener.Close()
			where := listener.Addr().String()
			command := exec.Command(path)
			command.Env = []string{"INPUT_POSTGRES_URL=postgres://rotator:password@" + where + "/shop?sslmode=disable", "INPUT_KUBECONFIG=" + kubeconfig(where)}
			began := time.Now()
			if err := command.Start(); err != nil {
				b.Fatal(err)
			}
			conn, err := listener.Accept()
			took := time.Since(began)
			if err != nil {
				b.Fatal(err)
			}
			_ = command.Process.Kill()
			_ = command.Wait()
			_ = conn.Close()
			return took
		})
	})
	b.Run("FirstError", func(b *testing.B) {
		measured(b, func() time.Duration {
			command := exec.Command(path)
			command.Env = []string{"INPUT_MODE=unplanned"}
			began := time.Now()
			if out, err := command.StdoutPipe(); err != nil || command.Start() != nil {
				b.Fatal("start the program")
			} else if _, err := out.Read(make([]byte, 1)); err != nil {
				b.Fatal(err)
			} else {
				took := time.Since(began)
				_, _ = io.Copy(io.Discard, out)
				_ = command.Wait()
				return took
			}
			return 0
		})
	})
}

// measured prints the shortest and the middle of all runs.
func measured(b *testing.B, run func() time.Duration) {
	var all []time.Duration
	for b.Loop() {
		all = append(all, run())
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[0].Microseconds())/1000, "ms/shortest")
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms/median")
	b.ReportMetric(0, "ns/op")
}

func kubeconfig(server string) string {
	return `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "http://` + server + `"}}], ` +
		`contexts: [{name: c, context: {cluster: c}}]}`
}
