package kube

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/labtest"
)

func TestParsePod(t *testing.T) {
	for text, want := range map[string]address{
		"postgres-0":          {"here", "postgres-0", 5432},
		"postgres-0:6432":     {"here", "postgres-0", 6432},
		"db/postgres-0":       {"db", "postgres-0", 5432},
		"db/postgres-0:25434": {"db", "postgres-0", 25434},
	} {
		if got, err := parsePod(text, "here"); got != want || err != nil {
			t.Errorf("parsePod(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "/x", "db/", "a/b/c", "x:", "x:0", "x:65536", "x:y"} {
		if got, err := parsePod(text, "here"); err == nil {
			t.Errorf("parsePod(%q) = %+v", text, got)
		}
	}
}

// connectTo logs in to the lab's server through a tunnel.
func connectTo(t *testing.T, where labtest.Lab, tunnel *Tunnel) (*pgx.Conn, error) {
	t.Helper()
	config, err := pgx.ParseConfig(where.PostgresURL)
	if err != nil {
		t.Fatal("the lab's URL is none")
	}
	config.DialFunc = tunnel.Dial
	return pgx.ConnectConfig(t.Context(), config)
}

func openTunnel(t *testing.T, c *Cluster, pod string) *Tunnel {
	t.Helper()
	tunnel, err := c.Tunnel(pod)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tunnel.Close)
	return tunnel
}

func TestTunnelCarriesPostgreSQL(t *testing.T) {
	t.Parallel()
	where := labtest.Open(t)
	admin := lab(t)
	spdyOnly, _ := throughProxy(t, admin, withoutWebSockets)
	for name, c := range map[string]*Cluster{"websocket": admin, "spdy": spdyOnly} {
		tunnel := openTunnel(t, c, where.PostgresPod)
		var connections []*pgx.Conn
		for range 3 { // side by side through one tunnel
			conn, err := connectTo(t, where, tunnel)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			connections = append(connections, conn)
		}
		for _, conn := range connections {
			var text string
			if err := conn.QueryRow(t.Context(), "SELECT repeat('x', 1000000)").Scan(&text); err != nil || len(text) != 1000000 {
				t.Errorf("%s: %d bytes, %v", name, len(text), err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := connections[0].Exec(ctx, "SELECT pg_sleep(60)"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: a query that is cut off: %v", name, err)
		}
		for _, conn := range connections[1:] {
			if err := conn.Close(t.Context()); err != nil {
				t.Errorf("%s: close: %v", name, err)
			}
		}
	}
}

func TestTunnelHonoursDeadlines(t *testing.T) {
	t.Parallel()
	where := labtest.Open(t)
	conn, err := openTunnel(t, lab(t), where.PostgresPod).Dial(t.Context(), "tcp", "ignored:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	// The server says nothing before the client does.
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestTunnelOpensAgain(t *testing.T) {
	t.Parallel()
	where := labtest.Open(t)
	c, p := throughProxy(t, lab(t), nil)
	tunnel := openTunnel(t, c, where.PostgresPod)
	first, err := connectTo(t, where, tunnel)
	if err != nil {
		t.Fatal(err)
	}
	p.cut()
	if err := first.Ping(t.Context()); err == nil {
		t.Error("a connection of the broken tunnel still works")
	}
	second, err := connectTo(t, where, tunnel)
	if err != nil {
		t.Fatalf("after it broke: %v", err)
	}
	if err := second.Close(t.Context()); err != nil {
		t.Error(err)
	}
	tunnel.Close()
	third, err := connectTo(t, where, tunnel)
	if err != nil {
		t.Fatalf("after it was closed: %v", err)
	}
	if err := third.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := p.count("GET portforward"); n < 3 { // pgx dials once more to cancel what broke
		t.Errorf("opened %d times, want 3 or more", n)
	}
}

func TestTunnelFails(t *testing.T) {
	t.Parallel()
	c := lab(t)
	put := func(name string) {
		template := podTemplate(name)
		template.Spec.Containers[0].Env = nil
		o := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: template.Spec}
		if _, err := c.pods(c.namespace).create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	put("nothing-listens")
	awaitPod(t, c, "nothing-listens")

	_, err := openTunnel(t, c, "absent").Dial(t.Context(), "tcp", "x")
	f := wantFailure(t, err, missing, `open the tunnel to pod "`+c.namespace+`/absent": there is no such pod`)
	if !strings.Contains(f.Hint(), "kubectl get pods -n "+c.namespace) {
		t.Errorf("hint %q", f.Hint())
	}
	_, err = openTunnel(t, as(t, c), "nothing-listens").Dial(t.Context(), "tcp", "x")
	f = wantFailure(t, err, refused, "forbidden")
	if want := `resources: ["pods/portforward"], verbs: ["create", "get"]`; !strings.Contains(f.Hint(), want) {
		t.Errorf("hint %q, want %q", f.Hint(), want)
	}

	elsewhere := as(t, lab(t))
	_, err = openTunnel(t, elsewhere, c.namespace+"/nothing-listens").Dial(t.Context(), "tcp", "x")
	if f := wantFailure(t, err, refused, "forbidden"); !strings.Contains(f.Hint(), `in namespace "`+c.namespace+`"`) {
		t.Errorf("hint %q names another namespace", f.Hint())
	}

	conn, err := openTunnel(t, c, "nothing-listens:1").Dial(t.Context(), "tcp", "x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(conn)
	wantFailure(t, err, unavailable, "reach port 1 of pod")

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("told to stop"))
	_, err = openTunnel(t, c, "nothing-listens").Dial(ctx, "tcp", "x")
	wantFailure(t, err, unavailable, "told to stop")
}
