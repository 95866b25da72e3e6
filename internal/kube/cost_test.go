package kube

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// TestJudgeAllocates holds what one look at a workload costs: every event of its
// pods makes one.
func TestJudgeAllocates(t *testing.T) {
	r := rollout{mark: "r1", generation: 2, observed: 2, desired: 5, current: 7, updated: 2, available: 5, settled: true}
	var pods []pod
	for i := range 7 {
		pods = append(pods, pod{name: fmt.Sprint(i), mark: []string{"r0", "r1"}[i/5], ready: true})
	}
	if n := testing.AllocsPerRun(100, func() { judge(r, pods, goal{mark: "r1", since: 2}) }); n > 8 {
		t.Errorf("judging 7 pods allocates %v times", n)
	}
}

// secretsAPI serves Secrets and notes what it is asked for.
type secretsAPI struct {
	mu      sync.Mutex
	objects map[string]*corev1.Secret // by path
	asked   []string
}

func (s *secretsAPI) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Method)
	o := s.objects[r.URL.Path].DeepCopy()
	if r.Method == http.MethodPatch {
		var patch struct{ Data map[string][]byte }
		_ = json.NewDecoder(r.Body).Decode(&patch)
		for key, value := range patch.Data {
			o.Data[key] = value
		}
		if !r.URL.Query().Has("dryRun") {
			s.objects[r.URL.Path] = o
		}
	}
	reply(w, http.StatusOK, o)
}

// TestACopyIsWrittenInOneRequest counts what a copy costs: it is written between
// ALTER ROLE and the restart, when logins with the former password are refused.
func TestACopyIsWrittenInOneRequest(t *testing.T) {
	object := func(name string) *corev1.Secret {
		return &corev1.Secret{TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "alfred", UID: types.UID(name), ResourceVersion: "1"},
			Data: map[string][]byte{"username": []byte("alfred_user"), "password": []byte("former-password")}}
	}
	const path = "/api/v1/namespaces/alfred/secrets/"
	api := &secretsAPI{objects: map[string]*corev1.Secret{path + "served": object("served"), path + "copy": object("copy")}}
	m, err := ParseMapping(nil)
	if err != nil {
		t.Fatal(err)
	}
	copies, err := answering(t, api.serve).Served("served", m, Refuse).Copies([]string{"copy"})
	if err != nil {
		t.Fatal(err)
	}
	next := secret.Credential{User: "alfred_user", Password: secret.New("brand-new-password")}
	if _, _, err := copies[0].Plan(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	api.asked = nil
	if err := copies[0].Set(t.Context(), next, stillHeld); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(api.asked, []string{http.MethodPatch}) || string(api.objects[path+"copy"].Data["password"]) != "brand-new-password" {
		t.Errorf("asked %q, holds %q", api.asked, api.objects[path+"copy"].Data["password"])
	}
	api.asked = nil
	if err := copies[0].Set(t.Context(), next, stillHeld); err != nil || !slices.Equal(api.asked, []string{http.MethodGet}) {
		t.Errorf("again: asked %q, %v", api.asked, err)
	}
}

// held is a way to an API server that answers when it is told to.
type held struct {
	asked   atomic.Int32
	release chan struct{}
}

// RoundTrip answers that there is nothing.
func (h *held) RoundTrip(r *http.Request) (*http.Response, error) {
	h.asked.Add(1)
	<-h.release
	return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}

// TestCallsTakeTurns begins more calls, in two namespaces, than a connection has
// room for.
func TestCallsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		way := &held{release: make(chan struct{})}
		c := &Cluster{config: &rest.Config{Host: "http://127.0.0.1", Transport: way}, namespace: "alfred", keeper: secret.NewKeeper(nil)}
		if err := c.dial(); err != nil {
			t.Fatal(err)
		}
		in := []*Cluster{c, c.in("elsewhere")}
		var running sync.WaitGroup
		for i := range 3 * atOnceAtMost {
			running.Go(func() {
				if _, err := in[i%2].secrets().get(t.Context(), "one"); classify(err) != missing {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if n := way.asked.Load(); n != atOnceAtMost {
			t.Errorf("%d calls at once", n)
		}
		close(way.release)
		running.Wait()
		if n := way.asked.Load(); n != 3*atOnceAtMost {
			t.Errorf("%d calls in all", n)
		}
	})
}
