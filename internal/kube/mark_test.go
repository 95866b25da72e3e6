package kube

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
)

// TestAWorkloadIsReadFromTheWatch: it costs one request to restart, whatever their
// number, and none where that was done before.
func TestAWorkloadIsReadFromTheWatch(t *testing.T) {
	const n = 20
	watched := make(chan string, 4)
	w := &town{fault: func(_ context.Context, request string) error {
		if strings.HasSuffix(request, " watch") {
			watched <- request
		}
		return nil
	}}
	all := w.workloads(t, n, options(nil))
	once := map[string]int{"GET deployments": 1, "GET deployments watch": 1, "GET pods": 1, "GET pods watch": 1}
	for _, patches := range []int{n, 0} {
		w.forget()
		_, leave := all[0].watcher.follow(all[0].kind, "deployment/first") // until all have begun
		if err := restartAll(t.Context(), all, "r1", &diary{}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // which begin when all has been listed, and need not have begun before
			<-watched
		}
		leave()
		want := maps.Clone(once)
		if patches > 0 {
			want["PATCH deployments"] = patches
		}
		if !maps.Equal(w.requests(), want) {
			t.Errorf("asked %v, want %v", w.requests(), want)
		}
	}
	if all[0].watcher.mirrors != nil {
		t.Error("somebody still watches")
	}
}

// TestAWatchThatIsBehindIsAskedOnce: somebody writes the workload, and the watch does
// not tell of it.
func TestAWatchThatIsBehindIsAskedOnce(t *testing.T) {
	w := &town{}
	all := w.workloads(t, 1, options(nil))
	sure := 0
	_, err := all[0].Restart(t.Context(), "r1", func(context.Context) error {
		if sure++; sure == 1 {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.version++
			w.shops[0].ResourceVersion = "2"
		}
		return nil
	}, nil, (&diary{}).write)
	if err != nil || sure != 2 || w.requests()["GET deployments"] != 2 || w.requests()["PATCH deployments"] != 2 {
		t.Errorf("%v, sure %d times, asked %v", err, sure, w.requests())
	}
}

// TestAWorkloadIsRestartedByTwo: one for another rotation, while this one waits to be
// sure. It is seen, and nobody is left without a watch.
func TestAWorkloadIsRestartedByTwo(t *testing.T) {
	w, over := &town{}, fail(conflict, "", "it is over")
	all, sure := w.workloads(t, 1, options(nil)), 0
	_, err := all[0].Restart(t.Context(), "r1", func(ctx context.Context) error {
		if sure++; sure > 1 {
			return over
		}
		_, err := all[0].Restart(ctx, "other", agreed, nil, (&diary{}).write)
		return err
	}, nil, (&diary{}).write)
	if mark := w.shops[0].Spec.Template.Annotations[annotationRestart]; !errors.Is(err, over) || mark != "other" {
		t.Errorf("%v, mark %q", err, mark)
	}
}

// TestWorkloadsThatCannotBeRead: nothing is changed then.
func TestWorkloadsThatCannotBeRead(t *testing.T) {
	former := utilruntime.ErrorHandlers
	utilruntime.ErrorHandlers = nil // they sleep by a clock that they have seen outside of the test
	defer func() { utilruntime.ErrorHandlers = former }()
	for _, test := range []struct {
		name        string
		list        func(context.Context) error
		class, text string
		hint        string
		most        time.Duration
	}{
		{"not allowed", func(context.Context) error { return status(http.StatusForbidden) }, refused, "read deployment/shop-0", `["deployments"], verbs: ["list"]`, 0},
		{"away", func(context.Context) error { return status(http.StatusBadGateway) }, unavailable, "read deployment/shop-0", "", 10 * time.Second},
		{"silent", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, unavailable, "read deployment/shop-0: ", "", 2 * time.Minute},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				w := &town{fault: func(ctx context.Context, _ string) error {
					return test.list(ctx) // a watch would keep the time of the test from passing
				}}
				all, began := w.workloads(t, 1, options(nil)), time.Now()
				_, err := all[0].Restart(ctx, "r1", agreed, nil, (&diary{}).write)
				if f := wantFailure(t, err, test.class, test.text); !strings.Contains(f.Hint(), test.hint) {
					t.Errorf("hint %q", f.Hint())
				}
				if took := time.Since(began); took > test.most || w.requests()["PATCH deployments"] > 0 {
					t.Errorf("after %v, asked %v", took, w.requests())
				}
			})
		})
	}
}

// TestTheWaitForTheWatchEndsWithTheRun, whose reason is told.
func TestTheWaitForTheWatchEndsWithTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { stop(errors.New("told to stop")) })
		w := &town{fault: func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }}
		_, err := w.workloads(t, 1, options(nil))[0].Restart(ctx, "r1", agreed, nil, (&diary{}).write)
		wantFailure(t, err, unavailable, "read deployment/shop-0: told to stop")
	})
}

// TestAListThatFailsOnceHoldsNobodyUp: nobody waits until the watch tries again.
func TestAListThatFailsOnceHoldsNobodyUp(t *testing.T) {
	failed := false
	w := &town{fault: func(_ context.Context, request string) error {
		if request == "GET deployments" && !failed {
			failed = true
			return status(http.StatusBadGateway)
		}
		return nil
	}}
	_, err := w.workloads(t, 1, options(nil))[0].Restart(t.Context(), "r1", agreed, nil, (&diary{}).write)
	asked := w.requests()["GET deployments"] // by the watch, which fails, alone, and by the watch again
	if err != nil || asked != 3 || w.requests()["PATCH deployments"] != 1 {
		t.Errorf("%v, asked %v", err, w.requests())
	}
}

// TestARightThatIsMissingAfterTheMark: the pods are being replaced, which an emergency
// has to know before it closes the compromised role.
func TestARightThatIsMissingAfterTheMark(t *testing.T) {
	for _, test := range []struct {
		request, class, text, hint string
	}{
		{"PATCH deployments", refused, "restart deployment/shop-0", `["deployments"], resourceNames: ["shop-0"], verbs: ["patch"]`},
		{"GET pods/log", unhealthy, `read the log of pod "shop-0-x-2"`, `["pods/log"], verbs: ["get"]`},
		{"GET pods/exec", unhealthy, `execute the health command in pod "shop-0-x-2"`, `["pods/exec"], verbs: ["create", "get"]`},
		{"GET pods", unhealthy, "watch deployment/shop-0", `["pods"], verbs: ["list", "watch"]`},
		{"GET deployments watch", unhealthy, "watch deployment/shop-0", `["deployments"], verbs: ["list", "watch"]`},
	} {
		t.Run(test.request, func(t *testing.T) {
			w := &town{fault: func(_ context.Context, request string) error {
				if request == test.request {
					return status(http.StatusForbidden)
				}
				return nil
			}}
			all := w.workloads(t, 1, options(func(o *Options) { o.LogLines, o.HealthCommand = 10, []string{"/healthcheck"} }))
			_, err := all[0].Restart(t.Context(), "r1", agreed, nil, (&diary{}).write)
			if f := wantFailure(t, err, test.class, test.text); !strings.Contains(f.Hint(), test.hint) {
				t.Errorf("hint %q", f.Hint())
			}
		})
	}
}
