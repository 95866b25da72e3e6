package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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

// street is a watch of n Deployments with a pod each that are to carry the mark "r1",
// and are followed. It asks no API server.
func street(c *Cluster, n int) (*watcher, []*Workload) {
	k, w := c.kinds()[0], &watcher{cluster: c, followers: map[string][]chan struct{}{}}
	pods := &mirror[pod]{changed: w.wake, convert: func(o runtime.Object) (pod, string) { return ofPod(o.(*corev1.Pod)) }}
	rollouts := &mirror[rollout]{changed: w.wake, convert: k.convert}
	w.mirrors = &mirrors{pods: pods, rollouts: map[*kind]*mirror[rollout]{k: rollouts}}
	var all []*Workload
	var shops, theirs []any
	for i := range n {
		shop := shopNumber(i)
		shop.Spec.Template.Annotations = map[string]string{annotationRestart: "r1"}
		shop.UID = types.UID(shop.Name)
		shops, theirs = append(shops, &shop), append(theirs, podOfShop(shop.Name, shop.Name+"-x-1", "r1"))
		all = append(all, &Workload{cluster: c, kind: k, name: shop.Name, watcher: w, options: options(nil)})
	}
	_, _ = rollouts.Replace(shops, ""), pods.Replace(theirs, "")
	return w, all
}

// TestAnEventCostsTheSameAmongMany holds what a change of a pod costs: it wakes the
// follower of its own workload, which looks at that alone.
func TestAnEventCostsTheSameAmongMany(t *testing.T) {
	cost := func(n int) float64 {
		w, all := street(&Cluster{namespace: "alfred", keeper: secret.NewKeeper(nil)}, n)
		var changed []<-chan struct{}
		for _, one := range all {
			follows, _ := w.follow(one.kind, one.id())
			changed = append(changed, follows)
		}
		event := podOfShop("shop-0", "shop-0-x-1", "r1")
		happens := func() {
			_ = w.pods.Update(event)
			<-changed[0]
			if v, err := all[0].judged(w.see(all[0].kind, all[0].id()), goal{mark: "r1"}); err != nil || !v.done {
				t.Fatalf("%+v, %v", v, err)
			}
		}
		allocated := testing.AllocsPerRun(1, happens)
		for range 100 { // the race detector has pools drop what they keep, at random
			allocated = min(allocated, testing.AllocsPerRun(1, happens))
		}
		if slices.ContainsFunc(changed, func(c <-chan struct{}) bool { return len(c) > 0 }) {
			t.Error("the event of a pod wakes others")
		}
		return allocated
	}
	if few, many := cost(10), cost(1000); many != few {
		t.Errorf("an event makes %v allocations among 10 workloads, %v among 1000", few, many)
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

const secretsPath = "/api/v1/namespaces/alfred/secrets/"

// newSecretsAPI serves the Secrets "served" and "copy".
func newSecretsAPI() *secretsAPI {
	s := &secretsAPI{objects: map[string]*corev1.Secret{}}
	for _, name := range []string{"served", "copy"} {
		s.objects[secretsPath+name] = &corev1.Secret{TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "alfred", UID: types.UID(name), ResourceVersion: "1"},
			Data: map[string][]byte{"username": []byte("alfred_user"), "password": []byte("former-password")}}
	}
	return s
}

// holds is the password of the copy.
func (s *secretsAPI) holds() string { return string(s.objects[secretsPath+"copy"].Data["password"]) }

// planned is the copy behind answer, after its plan.
func (s *secretsAPI) planned(t *testing.T, answer http.HandlerFunc) (*Copy, secret.Credential) {
	t.Helper()
	m, err := ParseMapping(nil)
	if err != nil {
		t.Fatal(err)
	}
	copies, err := answering(t, answer).Served("served", m, Refuse).Copies([]string{"copy"})
	if err != nil {
		t.Fatal(err)
	}
	next := secret.Credential{User: "alfred_user", Password: secret.New("brand-new-password")}
	if _, _, err := copies[0].Plan(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	s.asked = nil
	return copies[0], next
}

// TestACopyIsWrittenInOneRequest counts what a copy costs: it is written between
// ALTER ROLE and the restart, when logins with the former password are refused.
func TestACopyIsWrittenInOneRequest(t *testing.T) {
	api := newSecretsAPI()
	c, next := api.planned(t, api.serve)
	if err := c.Set(t.Context(), next, stillHeld); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(api.asked, []string{http.MethodPatch}) || api.holds() != "brand-new-password" {
		t.Errorf("asked %q, holds %q", api.asked, api.holds())
	}
	api.asked = nil
	if err := c.Set(t.Context(), next, stillHeld); err != nil || !slices.Equal(api.asked, []string{http.MethodGet}) {
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

// hospital answers, after a while, that nobody may execute a command.
type hospital struct{ now, most, all atomic.Int32 }

func (h *hospital) RoundTrip(r *http.Request) (*http.Response, error) {
	h.all.Add(1)
	if n := h.now.Add(1); n > h.most.Load() {
		h.most.Store(n)
	}
	defer h.now.Add(-1)
	if !pause(r.Context(), healthTimeout-time.Second) {
		return nil, r.Context().Err()
	}
	return nil, status(http.StatusForbidden)
}

// cluster connects to the hospital.
func (h *hospital) cluster(t *testing.T) *Cluster {
	t.Helper()
	c := &Cluster{config: &rest.Config{Host: "http://127.0.0.1", WrapTransport: func(http.RoundTripper) http.RoundTripper { return h }}, namespace: "alfred", keeper: secret.NewKeeper(nil)}
	if err := c.dial(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestHealthCommandsTakeTurns asks the pods of many workloads, in two namespaces, at
// once. A pod that has to wait for the others is not refuted for that.
func TestHealthCommandsTakeTurns(t *testing.T) {
	const workloads = 3 * commandsAtMost / together
	synctest.Test(t, func(t *testing.T) {
		way := &hospital{}
		c, pods := way.cluster(t), make([]pod, together)
		in := []*Cluster{c, c.in("elsewhere")}
		var running sync.WaitGroup
		for i := range workloads {
			w := &Workload{cluster: in[i%2], kind: &kind{name: "deployment"}, name: "core", options: Options{HealthCommand: []string{"/healthcheck"}}}
			running.Go(func() {
				if proofs, _, err := (&attempt{Workload: w, progress: (&diary{}).write}).prove(t.Context(), pods); len(proofs) > 0 || classOf(err) != refused {
					t.Errorf("%+v, %v", proofs, err)
				}
			})
		}
		running.Wait()
		if most, all := way.most.Load(), way.all.Load(); most != commandsAtMost || all != workloads*together {
			t.Errorf("%d of %d commands at once", most, all)
		}
	})
}

// TestTheWaitForAHealthCommandEndsWithTheRun, whose reason is told.
func TestTheWaitForAHealthCommandEndsWithTheRun(t *testing.T) {
	c := (&hospital{}).cluster(t)
	for range commandsAtMost {
		c.commands <- struct{}{}
	}
	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("told to stop"))
	w := &Workload{cluster: c, options: Options{HealthCommand: []string{"/healthcheck"}}}
	evidence, _, err := w.ask(ctx, podNamed("core-1", "u1"), (&diary{}).write)
	wantFailure(t, err, unavailable, `execute the health command in pod "core-1": told to stop`)
	if evidence != secret.NotProven {
		t.Errorf("evidence %v", evidence)
	}
}
