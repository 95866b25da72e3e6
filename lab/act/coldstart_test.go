package act

import (
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkContainerColdStart measures from `docker run`, as the runner starts the
// action, to the connection of the program's first request.
func BenchmarkContainerColdStart(b *testing.B) {
	source, err := filepath.Abs("../..")
	check(b, err)
	engine, checkout := started(b, source), filepath.Join(b.TempDir(), "checkout")
	check(b, Checkout(b.Context(), source, checkout))
	image, err := engine.Docker(b.Context(), nil, "build", "--quiet", checkout)
	check(b, err)
	var all []time.Duration
	for b.Loop() {
		all = append(all, coldStart(b, engine, image))
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[0].Milliseconds()), "ms/shortest")
	b.ReportMetric(float64(all[len(all)/2].Milliseconds()), "ms/median")
	b.ReportMetric(0, "ns/op")
}

func coldStart(b *testing.B, engine Engine, image string) time.Duration {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(b, err)
	defer listener.Close()
	where := listener.Addr().String()
	first := make(chan time.Time, 1)
	go func() {
		if conn, err := listener.Accept(); err == nil {
			first <- time.Now()
			_ = conn.Close()
		}
	}()
	began := time.Now()
	container, err := engine.Docker(b.Context(), nil, "run", "--detach", "--network", "host",
		"--env", "INPUT_POSTGRES_URL=postgres://rotator:password@"+where+"/shop?sslmode=disable", "--env", "INPUT_KUBECONFIG="+kubeconfig(where), image)
	check(b, err)
	defer func() {
		_, err := engine.Docker(b.Context(), nil, "rm", "--force", container)
		check(b, err)
	}()
	select {
	case at := <-first:
		return at.Sub(began)
	case <-time.After(time.Minute):
		b.Fatal("the program connects to nobody")
	}
	return 0
}

func kubeconfig(server string) string {
	return `{apiVersion: v1, kind: Config, current-context: c, clusters: [{name: c, cluster: {server: "http://` + server + `"}}], ` +
		`contexts: [{name: c, context: {cluster: c}}]}`
}
