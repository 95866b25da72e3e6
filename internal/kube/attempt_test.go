package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// answering is a Cluster whose API server is a function.
func answering(t *testing.T, answer http.HandlerFunc) *Cluster {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	kubeconfig := `{"clusters":[{"name":"c","cluster":{"server":"` + server.URL + `"}}],"contexts":[{"name":"c","context":{"cluster":"c"}}],"current-context":"c"}`
	c, err := Connect(Config{Kubeconfig: secret.New(kubeconfig), Namespace: "alfred", Keeper: secret.NewKeeper(nil)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

// logbook serves the logs of pods and notes which pods are deleted.
type logbook struct {
	mu      sync.Mutex
	logs    map[string]string // of pods by name
	read    []string
	deleted []string // "name uid"
	status  int      // of a deletion
}

const stale = "starting\nFATAL: password authentication failed for user \"alfred_user\" (SQLSTATE 28P01)\n"

func (l *logbook) serve(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := strings.TrimPrefix(strings.TrimSuffix(r.URL.Path, "/log"), "/api/v1/namespaces/alfred/pods/")
	switch {
	case r.Method == http.MethodDelete:
		body, _ := io.ReadAll(r.Body) // in whatever encoding: it holds the uid
		l.deleted = append(l.deleted, name+" "+regexp.MustCompile(`u[0-9]`).FindString(string(body)))
		reply(w, max(l.status, 200), metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(l.status), Message: "no"})
	case l.logs[name] == "gone":
		reply(w, 404, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: 404})
	default:
		l.read = append(l.read, name)
		_, _ = io.WriteString(w, l.logs[name])
	}
}

func (l *logbook) attempt(t *testing.T, d *diary) *attempt {
	w := &Workload{cluster: answering(t, l.serve), kind: &kind{name: "deployment"}, name: "core", options: Options{LogLines: 50}}
	return &attempt{Workload: w, progress: d.write}
}

func podNamed(name, uid string) pod { return pod{name: name, uid: types.UID(uid), ready: true} }

func TestRefutedPodIsReplacedOnce(t *testing.T) {
	one, two, three := podNamed("core-1", "u1"), podNamed("core-2", "u2"), podNamed("core-3", "u3")
	for _, test := range []struct {
		name    string
		stale   []string // pods that are, after the first look
		then    []pod
		again   bool
		deleted []string
		wrong   string
	}{
		{"the replacement is well", nil, []pod{two, three}, false, []string{"core-1 u1"}, ""},
		{"the replacement is refuted", []string{"core-3"}, []pod{two, three}, false, []string{"core-1 u1"}, `check pod "core-3" of deployment/core: 1 of the last 2 lines of its log tell of a refused login`},
		{"one that was there before is refuted later", []string{"core-2"}, []pod{two, three}, true, []string{"core-1 u1", "core-2 u2"}, ""},
		{"both", []string{"core-2", "core-3"}, []pod{two, three}, false, []string{"core-1 u1"}, `check pod "core-3"`},
		{"of the same name", []string{"core-1"}, []pod{podNamed("core-1", "u4"), two}, false, []string{"core-1 u1"}, `check pod "core-1"`},
		{"it does not go", []string{"core-1"}, []pod{one, two}, false, []string{"core-1 u1"}, `check pod "core-1"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, d := &logbook{logs: map[string]string{"core-1": stale, "core-2": "fine", "core-3": "fine"}}, &diary{}
			a := l.attempt(t, d)
			again, err := a.examine(t.Context(), []pod{one, two})
			if !again || err != nil || len(a.proofs) != 2 || a.proofs[0].Evidence != secret.Refuted || a.proofs[1].Evidence != secret.NotProven {
				t.Fatalf("again %v, %v: %+v", again, err, a.proofs)
			}
			if !strings.Contains(d.String(), `pod "core-1" is refuted and replaced once`) {
				t.Errorf("nobody is told:\n%s", d.String())
			}
			if left := a.alive(view{pods: []pod{one, two}}).pods; len(left) != 1 || left[0].name != "core-2" {
				t.Errorf("a pod that was told to go still counts: %+v", left)
			}
			l.logs["core-1"] = "fine"
			for _, name := range test.stale {
				l.logs[name] = stale
			}
			again, err = a.examine(t.Context(), test.then)
			if again != test.again || !slices.Equal(l.deleted, test.deleted) {
				t.Errorf("again %v, deleted %q", again, l.deleted)
			}
			if test.wrong != "" {
				wantFailure(t, err, unhealthy, test.wrong)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// A pod that is let in with the former credential shows it in no log.
func TestPodThatTheWitnessRefutesIsReplacedOnce(t *testing.T) {
	l, d := &logbook{}, &diary{}
	a := l.attempt(t, d)
	a.witness = func(_ context.Context, pods []secret.Proof) []secret.Proof {
		for i, p := range pods {
			if p.Pod != "core-2" {
				pods[i].Evidence, pods[i].Reason = secret.Refuted, "it has logged in as another"
			}
		}
		return pods
	}
	two := podNamed("core-2", "u2")
	if again, err := a.examine(t.Context(), []pod{podNamed("core-1", "u1"), two}); !again || err != nil || !slices.Equal(l.deleted, []string{"core-1 u1"}) {
		t.Errorf("again %v, %v, deleted %q", again, err, l.deleted)
	}
	_, err := a.examine(t.Context(), []pod{podNamed("core-3", "u3"), two})
	wantFailure(t, err, unhealthy, `check pod "core-3" of deployment/core: it has logged in as another`)
}

// Waiting does not mend a wrong password: a pod that does not become ready is
// looked at before its time is over. One whose container has not started has no log.
func TestPodsThatAreNotReadyAreInspected(t *testing.T) {
	l, d := &logbook{logs: map[string]string{"core-1": stale, "core-2": stale, "core-3": "gone", "core-4": stale}}, &diary{}
	waiting, ready, gone, pending := podNamed("core-1", "u1"), podNamed("core-2", "u2"), podNamed("core-3", "u3"), podNamed("core-4", "u4")
	waiting.ready, gone.ready, pending.ready = false, false, false
	waiting.started, ready.started, gone.started = true, true, true
	a := l.attempt(t, d)
	inspect := func(a *attempt, pods ...pod) (bool, error) {
		return a.inspect(t.Context(), pods, a.suspects(verdict{pods: pods}, false, true))
	}
	again, err := inspect(a, waiting, ready, gone, pending)
	if !again || err != nil || !slices.Equal(l.read, []string{"core-1"}) || !slices.Equal(l.deleted, []string{"core-1 u1"}) {
		t.Errorf("again %v, %v, read %q, deleted %q", again, err, l.read, l.deleted)
	}
	second := waiting
	second.uid = "u9"
	_, err = inspect(a, second)
	wantFailure(t, err, unhealthy, "tell of a refused login")

	quiet := l.attempt(t, d)
	quiet.options.LogLines = 0
	if again, err := inspect(quiet, waiting); again || err != nil {
		t.Errorf("logs that nobody wants read: %v, %v", again, err)
	}
}

// TestInspectionsBecomeRarer: a pod that waits for an hour is looked at sixty times,
// and one where something is wrong at once.
func TestInspectionsBecomeRarer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, began := &attempt{Workload: &Workload{options: Options{RolloutTimeout: time.Hour}}}, time.Now()
		waiting := podNamed("core-1", "u1")
		waiting.ready, waiting.started = false, true
		v := verdict{pods: []pod{waiting}}
		var seen []time.Duration
		ticks := time.NewTicker(inspection)
		for late := time.Second; time.Since(began) < 3*time.Minute; <-ticks.C {
			time.Sleep(late) // whoever looks is busy with others, less and less
			late /= 2
			if len(a.suspects(v, false, true)) > 0 {
				seen = append(seen, time.Since(began).Truncate(inspection))
			}
		}
		if want := []time.Duration{0, 5 * time.Second, 15 * time.Second, 35 * time.Second, 75 * time.Second, 135 * time.Second}; !slices.Equal(seen, want) {
			t.Errorf("looked after %v, want %v", seen, want)
		}
		if len(a.suspects(v, true, false)) != 1 || len(a.suspects(v, false, false)) != 0 {
			t.Error("something is wrong, and nobody looks; or nothing happened, and somebody does")
		}
		if v.done = true; len(a.suspects(v, true, true)) != 0 {
			t.Error("all is done, and somebody looks")
		}
	})
}

// TestInspectionsFitTheTimeOfARollout: of one that is short nothing is missed at its end.
func TestInspectionsFitTheTimeOfARollout(t *testing.T) {
	for whole, want := range map[time.Duration]time.Duration{20 * time.Second: inspection, 2 * time.Minute: 12 * time.Second, 10 * time.Minute: lastInspection, time.Hour: lastInspection} {
		a := &attempt{Workload: &Workload{options: Options{RolloutTimeout: whole}}, looks: map[types.UID]look{}}
		waiting, now := podNamed("core-1", "u1"), time.Now()
		for range 10 {
			a.due(waiting, now)
			now = a.looks[waiting.uid].next
		}
		if got := a.looks[waiting.uid].pause; got != want {
			t.Errorf("within %v: every %v at last, want %v", whole, got, want)
		}
	}
}

// TestNobodyIsJudgedAnewWhereNothingHappens: a tick looks at logs alone, and the more
// seldom the longer it lasts.
func TestNobodyIsJudgedAnewWhereNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		way := &held{release: make(chan struct{})} // there is no log
		close(way.release)
		c := &Cluster{config: &rest.Config{Host: "http://127.0.0.1", Transport: way}, namespace: "alfred", keeper: secret.NewKeeper(nil)}
		if err := c.dial(); err != nil {
			t.Fatal(err)
		}
		watch, all := street(c, 1)
		all[0].options.LogLines, all[0].options.RolloutTimeout = 50, time.Hour
		changed, _ := watch.follow(all[0].kind, all[0].id())
		a := &attempt{Workload: all[0], goal: goal{mark: "r1"}, changed: changed, progress: (&diary{}).write}
		waiting, owner := ofPod(podOfShop("shop-0", "shop-0-x-1", "r1"))
		waiting.ready, waiting.started = false, true
		watch.pods.put(owner, waiting.uid, waiting)
		var ended atomic.Bool
		go func() {
			if _, err := a.await(t.Context()); err != nil {
				t.Error(err)
			}
			ended.Store(true)
		}()
		synctest.Wait()
		waiting.ready = true
		watch.pods.put(owner, waiting.uid, waiting) // which nobody is told
		time.Sleep(3*time.Minute + time.Second)
		if n := way.asked.Load(); n != 6 || ended.Load() {
			t.Errorf("its log was looked at %d times; judged anew: %t", n, ended.Load())
		}
		watch.wake(owner)
		if synctest.Wait(); !ended.Load() {
			t.Error("a change is not judged")
		}
	})
}

// TestOnlyAPodToBeInspectedTicks: the first look comes a whole pause after there is one.
func TestOnlyAPodToBeInspectedTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ticks inspections
		defer ticks.stop()
		ticks.while(true)
		time.Sleep(inspection + time.Second) // nobody takes that tick
		if ticks.while(false) != nil {
			t.Error("it ticks for nobody")
		}
		began := time.Now()
		<-ticks.while(true)
		if took := time.Since(began); took != inspection {
			t.Errorf("the first tick came after %s", took)
		}
	})
}

// TestNobodyIsWokenForAPodWithoutALog: what a tick would note is not there.
func TestNobodyIsWokenForAPodWithoutALog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watch, all := street((&hospital{}).cluster(t), 1)
		all[0].options.LogLines, all[0].options.RolloutTimeout = 50, time.Hour
		changed, _ := watch.follow(all[0].kind, all[0].id())
		a := &attempt{Workload: all[0], goal: goal{mark: "r1"}, changed: changed, progress: (&diary{}).write}
		waiting, owner := ofPod(podOfShop("shop-0", "shop-0-x-1", "r1"))
		waiting.ready = false
		watch.pods.put(owner, waiting.uid, waiting)
		time.AfterFunc(time.Minute, func() {
			waiting.ready = true
			watch.pods.mu.Lock()
			watch.pods.put(owner, waiting.uid, waiting)
			watch.pods.mu.Unlock()
			watch.wake(owner)
		})
		if _, err := a.await(t.Context()); err != nil || a.looks != nil {
			t.Errorf("%v, looks %v", err, a.looks)
		}
	})
}

func TestReplacementThatIsNotAllowed(t *testing.T) {
	for _, test := range []struct {
		status int
		class  string
	}{{200, ""}, {404, ""}, {409, ""}, {403, refused}, {500, unavailable}} {
		l := &logbook{logs: map[string]string{"core-1": stale}, status: test.status}
		_, err := l.attempt(t, &diary{}).examine(t.Context(), []pod{podNamed("core-1", "u1")})
		if test.class == "" && err != nil {
			t.Errorf("%d: %v", test.status, err)
		}
		if test.class != "" {
			f := wantFailure(t, err, test.class, `replace pod "core-1"`)
			if test.class == refused && !strings.Contains(f.Hint(), `verbs: ["delete"]`) {
				t.Errorf("hint %q", f.Hint())
			}
		}
	}
}

func TestAddressesOfAPod(t *testing.T) {
	at := corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "10.1.0.1"}, {IP: "fd00::1"}}}
	own, _ := ofPod(&corev1.Pod{Status: at})
	shared, _ := ofPod(&corev1.Pod{Spec: corev1.PodSpec{HostNetwork: true}, Status: at})
	if !slices.Equal(own.addresses, []string{"10.1.0.1", "fd00::1"}) || shared.addresses != nil {
		t.Errorf("%q, on the network of the node %q", own.addresses, shared.addresses)
	}
}

// TestStalePodIsReplaced makes the role that a pod logs in with when the pod is
// deleted, so that its replacement is let in: as a kubelet does that reads its
// cache once.
func TestStalePodIsReplaced(t *testing.T) {
	t.Parallel()
	admin, role, sql := stranger(t)
	c, _ := throughProxy(t, admin, func(r *http.Request) int {
		if r.Method == http.MethodDelete {
			sql(fmt.Sprintf("CREATE ROLE %q LOGIN PASSWORD 'not-the-password'", role))
		}
		return 0
	})
	w := settledWorkloads(t, c, Discovery{}, options(func(o *Options) { o.HealthCommand, o.LogLines = []string{"/healthcheck"}, 50 }))[0]
	var d diary
	proofs, err := w.Restart(t.Context(), "r1", agreed, nil, d.write)
	if err != nil || len(proofs) != 1 || proofs[0].Evidence != secret.ByHealthCommand || !strings.Contains(d.String(), "is refuted and replaced once") {
		t.Errorf("%v, %+v\n%s", err, proofs, d.String())
	}
}
