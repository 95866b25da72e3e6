package kube

import (
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/labtest"
)

// written is a pod of two containers and what the second has logged.
func written(t *testing.T, log string) *Tunnel {
	t.Helper()
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/namespaces/db/pods/postgres-0":
			o := living("db", "postgres-0", "10.1.0.1")
			o.TypeMeta = metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}
			o.Annotations = map[string]string{"kubectl.kubernetes.io/default-container": "postgres"}
			o.Spec.Containers = []corev1.Container{{Name: "metrics"}, {Name: "postgres"}}
			reply(w, 200, o)
		case "/api/v1/namespaces/db/pods/postgres-0/log":
			if q := r.URL.Query(); q.Get("container") != "postgres" || q.Get("limitBytes") != "4194304" || q.Get("timestamps") != "true" || q.Get("sinceTime") != "2026-03-02T04:17:06Z" {
				t.Errorf("asked for %v", q)
			}
			_, _ = w.Write([]byte(log))
		default:
			t.Errorf("asked for %s", r.URL)
		}
	})
	tunnel, err := c.Tunnel("db/postgres-0")
	if err != nil {
		t.Fatal(err)
	}
	return tunnel
}

func TestLogSinceAMoment(t *testing.T) {
	since := time.Date(2026, 3, 2, 4, 17, 6, 500_000_000, time.UTC)
	const early, late = "2026-03-02T04:17:06.4Z before\n", "2026-03-02T04:17:06.5Z after\n2026-03-02T05:17:07+01:00 \tlater\n"
	for _, test := range []struct {
		name, log, want string
		whole           bool
	}{
		{"lines", early + late, "after\n\tlater\n", true},
		{"nothing", "", "", true},
		{"a line that was cut", late + "2026-03-02T04:18:00Z FATAL:  passw", "after\n\tlater\n", true},
		{"no stamp", "unable to retrieve container logs\n", "", true},
		{"too much", late + "2026-03-02T04:18:00Z " + strings.Repeat("x", longestLog), "after\n\tlater\n", false},
	} {
		lines, whole, err := written(t, test.log).Log(t.Context(), since)
		if lines != test.want || whole != test.whole || err != nil {
			t.Errorf("%s: %q, whole %v, %v", test.name, lines, whole, err)
		}
	}
}

// TestLogOfAPod reads a real one, with the rights that it takes and with less.
func TestLogOfAPod(t *testing.T) {
	t.Parallel()
	where, admin := labtest.Open(t), lab(t)
	spec := podTemplate("talker").Spec
	spec.Containers[0].Image, spec.Containers[0].Env = serviceImage, []corev1.EnvVar{{Name: "DATABASE_URL", Value: databaseURL(t, where.PostgresURL, "postgres", "not-the-password")}}
	if _, err := admin.pods(admin.namespace).create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "talker"}, Spec: spec}); err != nil {
		t.Fatal(err)
	}
	const get, logs = `{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}`, `{"apiGroups":[""],"resources":["pods/log"],"verbs":["get"]}`
	reader := openTunnel(t, as(t, admin, get, logs), "talker")
	for lines := ""; !strings.Contains(lines, "login failed"); <-time.After(100 * time.Millisecond) {
		var err error
		if lines, _, err = reader.Log(t.Context(), time.Now().Add(-time.Hour)); err != nil && classOf(err) != refused && classOf(err) != missing { // until it has begun, and its node knows it
			t.Fatal(err)
		}
	}
	if lines, whole, err := reader.Log(t.Context(), time.Now().Add(time.Hour)); lines != "" || !whole || err != nil {
		t.Errorf("later than everything: %q, whole %v, %v", lines, whole, err)
	}
	_, _, err := openTunnel(t, admin, "absent").Log(t.Context(), time.Now())
	wantFailure(t, err, missing, "absent")
	_, _, err = openTunnel(t, as(t, admin, get), "talker").Log(t.Context(), time.Now())
	if f := wantFailure(t, err, refused, `cannot get resource "pods/log"`); !strings.Contains(f.hint, `"pods/log"`) {
		t.Errorf("hint %q", f.hint)
	}
}
