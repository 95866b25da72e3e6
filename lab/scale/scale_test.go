package scale

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/fakenode"
	"github.com/pgrotate/pgrotate/lab/program"
)

func TestMain(m *testing.M) {
	if folder := os.Getenv(profileFolder); folder != "" { // Profile has started this process
		os.Exit(profiled(folder))
	}
	os.Exit(m.Run())
}

// nodes is how many fake ones there are: as many as pods ask for, and few enough
// to be no burden.
const nodes = 10

// pods is how many each workload has: PGROTATE_PODS, or five.
func pods() int32 {
	n, err := strconv.Atoi(os.Getenv("PGROTATE_PODS"))
	if err != nil {
		return 5
	}
	return int32(n)
}

// start makes a bench on fake nodes and builds the program.
func start(b *testing.B) (bench *Bench, path string) {
	b.Helper()
	fake, err := fakenode.Start(context.WithoutCancel(b.Context()), labtest.Own(b).Kubeconfig, nodes, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { check(b, fake.Close()) })
	return platform(b, pods())
}

// platform makes a bench whose workloads have so many pods, and builds the program.
func platform(t testing.TB, pods int32) (bench *Bench, path string) {
	t.Helper()
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	path, err := program.Build(ctx, "../..", t.TempDir())
	check(t, err)
	bench, err = NewBench(ctx, labtest.Own(t), t.TempDir(), pods)
	t.Cleanup(func() { check(t, bench.Close()) })
	check(t, err)
	return bench, path
}

func check(b testing.TB, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// sizes are those of PGROTATE_SIZES, or usual.
func sizes(usual ...int) []int {
	text := os.Getenv("PGROTATE_SIZES")
	if text == "" {
		return usual
	}
	var all []int
	for _, word := range strings.Fields(text) {
		n, _ := strconv.Atoi(word)
		all = append(all, n)
	}
	return all
}

func BenchmarkWorkloads(b *testing.B) {
	bench, path := start(b)
	for b.Loop() {
		var rows []Row
		for _, n := range sizes(1, 10, 100, 1000) {
			began := time.Now()
			check(b, bench.Grow(n))
			b.Logf("%d workloads are ready after %s", n, time.Since(began))
			rows = append(rows, measure(b, bench, path, fmt.Sprint(n)))
			fmt.Fprint(os.Stdout, Table("workloads", rows)+Requests(rows))
		}
		text, err := bench.Profile()
		check(b, err)
		fmt.Fprint(os.Stdout, text)
	}
}

func measure(b *testing.B, bench *Bench, path, name string) Row {
	b.Helper()
	bench.Far(0)
	cost, err := bench.Rotate(path, nil)
	check(b, err)
	return Row{Name: name, Workloads: bench.workloads, Cost: cost}
}

// BenchmarkSecrets has a workload without pods, as all that follow: nothing but
// the program takes time.
func BenchmarkSecrets(b *testing.B) {
	bench, path := platform(b, 0)
	check(b, bench.Grow(1))
	for b.Loop() {
		var rows []Row
		for _, n := range sizes(1, 10, 100) {
			bench.Secrets(n)
			rows = append(rows, measure(b, bench, path, fmt.Sprint(n)))
		}
		fmt.Fprint(os.Stdout, Table("GitHub secrets", rows))
	}
}

func BenchmarkCopies(b *testing.B) {
	bench, path := platform(b, 0)
	check(b, bench.Grow(1))
	for b.Loop() {
		var rows []Row
		for _, n := range sizes(1, 10, 50) {
			check(b, bench.Copies(n))
			rows = append(rows, measure(b, bench, path, fmt.Sprint(n)))
		}
		fmt.Fprint(os.Stdout, Table("copies", rows)+Requests(rows))
	}
}

// BenchmarkDistance counts the round trips that wait for one another, of a
// platform with one workload, one GitHub secret and one copy.
func BenchmarkDistance(b *testing.B) {
	const times, far = 3, 200 * time.Millisecond
	bench, path := platform(b, 0)
	check(b, bench.Grow(sizes(1)[0]))
	check(b, bench.Copies(1))
	measured := func(name string, roundTrip time.Duration, servers ...string) Distance {
		d := Distance{Name: name, RoundTrip: roundTrip}
		for range times {
			bench.Far(roundTrip, servers...)
			cost, err := bench.Rotate(path, nil)
			check(b, err)
			d.Totals = append(d.Totals, cost.Total)
		}
		return d
	}
	for b.Loop() {
		all := []Distance{measured("none", 0)}
		for _, l := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, far} {
			all = append(all, measured(fmt.Sprintf("%s to all servers", l), l, Postgres, Kubernetes, GitHub))
		}
		for _, server := range []string{Postgres, Kubernetes, GitHub} {
			all = append(all, measured(fmt.Sprintf("%s to %s alone", far, server), far, server))
		}
		fmt.Fprint(os.Stdout, Distances(all))
	}
}

// TestRequestsOfARotation holds what a rotation asks the API server for: so much,
// and for each workload two requests. A watch is one of a kind and namespace,
// whatever their number. The workloads here have no pods, each of which costs one more.
func TestRequestsOfARotation(t *testing.T) {
	bench, path := platform(t, 0)
	check(t, bench.Copies(1))
	var first map[string]int
	for i, n := range []int{1, 11} {
		check(t, bench.Grow(n))
		cost, err := bench.Rotate(path, nil)
		check(t, err)
		if i == 0 {
			first = cost.Requests
			continue
		}
		more := map[string]int{}
		for kind, count := range cost.Requests {
			if count != first[kind] {
				more[kind] = count - first[kind]
			}
		}
		// A dry run and the change. The first run makes the journal, where later ones
		// update it, in the preflight's dry run too, and asks whether it may.
		want := map[string]int{"patch deployments": 2 * (n - 1), "update secrets": 2, "create selfsubjectaccessreviews": -1}
		if !maps.Equal(more, want) {
			t.Errorf("%d workloads more: %v more requests, want %v", n-1, more, want)
		}
		if sum := cost.Asked() - 2*n; sum > fixed {
			t.Errorf("%d requests that are not for a workload, want %d at most: %v", sum, fixed, cost.Requests)
		}
	}
}

// fixed is how many requests a rotation with one copy makes for no workload.
const fixed = 38

func TestTables(t *testing.T) {
	rows := []Row{{Name: "10", Workloads: 10, Cost: Cost{Total: 3 * time.Second, Preflight: 250 * time.Millisecond, Slowest: 2 * time.Second, GitHub: 7, Limited: 1, Memory: 30 << 20,
		Requests: map[string]int{"patch deployments": 20, "get pods/log": 50}, Bytes: 1 << 19, Connections: 2, Processor: 500 * time.Millisecond}}}
	want := `
| workloads | whole | preflight | beyond the slowest rollout | requests to the API server | for each workload | to GitHub | connections | bytes, API server | peak memory | processor time |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
| 10 | 3.00 s | 0.25 s | 1.00 s | 70 | 7.0 | 7, 1 refused | 2 | 0.5 MiB | 30.0 MiB | 0.50 s |

| request | 10 |
|---|---:|
| get pods/log | 50 |
| patch deployments | 20 |
`
	if got := Table("workloads", rows) + Requests(rows); got != want {
		t.Errorf("got %s", got)
	}
	far := Distances([]Distance{{Name: "none", Totals: []time.Duration{time.Second, 3 * time.Second, 2 * time.Second}},
		{Name: "far", RoundTrip: 100 * time.Millisecond, Totals: []time.Duration{6 * time.Second}}})
	if !strings.Contains(far, "| far | 6.00 s | 40 |") {
		t.Errorf("got %s", far)
	}
}
