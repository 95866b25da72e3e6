package kube

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/pgrotate/pgrotate/internal/labtest"
)

// TestRestartSharesWatches demands that the number of watches, with their lists,
// does not depend on the number of workloads.
func TestRestartSharesWatches(t *testing.T) {
	t.Parallel()
	admin := lab(t)
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		putDeployment(t, admin, name, 0, nil)
	}
	settledWorkloads(t, admin, Discovery{}, options(nil))
	c, p := throughProxy(t, admin, nil)
	all, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}}, options(nil))
	if err != nil {
		t.Fatal(err)
	}
	if n := p.count("GET deployments"); n != 1 {
		t.Errorf("discovery lists the deployments %d times", n)
	}
	// The first stays until all have begun, so that they are under way together.
	_, leave := all[0].watcher.follow(all[0].kind, "deployment/first")
	if err := restartAll(t.Context(), all, "r1", &diary{}); err != nil {
		t.Fatal(err)
	}
	leave()
	for name, most := range map[string]int{"GET deployments": 2, "GET deployments watch": 1, "GET pods": 2, "GET pods watch": 1} {
		if n := p.count(name); n > most {
			t.Errorf("%q was sent %d times for %d workloads", name, n, len(all))
		}
	}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		if n := p.count("PATCH " + name); n != 1 {
			t.Errorf("%d patches of %q", n, name)
		}
	}
}

// TestRestartOutlivesDisconnects cuts every connection again and again while
// pods are replaced, and refuses the patch at first.
func TestRestartOutlivesDisconnects(t *testing.T) {
	t.Parallel()
	admin := lab(t)
	putSecret(t, admin, servedSecret())
	putDeployment(t, admin, "core", 2, nil)
	settledWorkloads(t, admin, Discovery{}, options(nil))
	var patches atomic.Int32
	c, p := throughProxy(t, admin, func(r *http.Request) int {
		if r.Method == http.MethodPatch && patches.Add(1) <= 2 {
			return http.StatusBadGateway
		}
		return 0
	})
	all, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}}, options(nil))
	if err != nil {
		t.Fatal(err)
	}
	var d diary
	cuts := 0
	_, err = all[0].Restart(t.Context(), "r1", agreed, nil, func(line string) {
		d.write(line)
		if cuts < 3 {
			cuts++
			p.cut()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if cuts < 2 || p.count("PATCH core refused") != 2 || !strings.HasSuffix(d.String(), "2 of 2 pods ready") {
		t.Errorf("%d cuts, %d refused patches:\n%s", cuts, p.count("PATCH core refused"), d.String())
	}
}

func TestRestartWithoutServer(t *testing.T) {
	t.Parallel()
	admin := lab(t)
	putSecret(t, admin, servedSecret())
	putDeployment(t, admin, "core", 1, func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 500 })
	for _, test := range []struct {
		status      int
		class, text string
	}{
		{http.StatusBadGateway, unavailable, "the API server does not answer"},
		{http.StatusForbidden, unhealthy, "watch deployment/core"},
	} {
		var away atomic.Bool
		c, p := throughProxy(t, admin, func(r *http.Request) int {
			if away.Load() && strings.HasSuffix(r.URL.Path, "/deployments") {
				return test.status
			}
			return 0
		})
		all, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}}, options(func(o *Options) { o.RolloutTimeout = 4e9 }))
		if err != nil {
			t.Fatal(err)
		}
		_, err = all[0].Restart(t.Context(), "r1", agreed, nil, func(string) {
			if !away.Swap(true) {
				p.cut()
			}
		})
		if f := wantFailure(t, err, test.class, test.text); test.status == http.StatusForbidden && !strings.Contains(f.Hint(), `["deployments"], verbs: ["list", "watch"]`) {
			t.Errorf("hint %q", f.Hint())
		}
	}
}

func TestHealthCommandFallsBackToSPDY(t *testing.T) {
	t.Parallel()
	where := labtest.Open(t)
	admin := lab(t)
	putSecret(t, admin, servedSecret())
	putDeployment(t, admin, "core", 1, service(t, where.PostgresTrustURL))
	settledWorkloads(t, admin, Discovery{}, options(nil))
	c, p := throughProxy(t, admin, withoutWebSockets)
	o := options(func(o *Options) { o.HealthCommand = []string{"/healthcheck"} })
	all, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}}, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := all[0].Restart(t.Context(), "r1", agreed, nil, func(line string) {
		if strings.Contains(line, "cannot check") {
			t.Error(line)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if p.count("GET exec refused") == 0 || p.count("POST exec") == 0 {
		t.Errorf("no fallback: %v", p.counts)
	}
}
