package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// town is an API server with Deployments of one pod each, whose controllers and
// kubelets take no time.
type town struct {
	fault func(ctx context.Context, request string) error // before a request, named as in asked

	mu      sync.Mutex
	asked   map[string]int // requests by method, resource and watch
	version int
	shops   []*appsv1.Deployment
	pods    []*corev1.Pod // of each Deployment
	events  map[string][]event
	watches map[string][]*stream
}

// event is what a watch tells of a resource.
type event struct {
	version int
	text    []byte
}

// workloads connects to the town and makes n Deployments.
func (w *town) workloads(t *testing.T, n int, o Options) []*Workload {
	t.Helper()
	quietLibraries()
	w.asked, w.events, w.watches = map[string]int{}, map[string][]event{}, map[string][]*stream{}
	c := &Cluster{config: &rest.Config{Host: "http://127.0.0.1", WrapTransport: func(http.RoundTripper) http.RoundTripper { return w }},
		namespace: "alfred", keeper: secret.NewKeeper(nil)}
	if err := c.dial(); err != nil {
		t.Fatal(err)
	}
	k, shared := c.kinds()[0], &watcher{cluster: c}
	var all []*Workload
	for i := range n {
		shop := shopNumber(i)
		shop.UID = types.UID(shop.Name)
		w.shops, w.pods = append(w.shops, &shop), append(w.pods, nil)
		w.deploy(i)
		all = append(all, &Workload{cluster: c, kind: k, name: shop.Name, options: o, watcher: shared})
	}
	return all
}

// deploy makes a new version of a Deployment, and replaces its pod.
func (w *town) deploy(i int) {
	shop, former := w.shops[i], w.pods[i]
	w.version++
	version := strconv.Itoa(w.version)
	shop.ResourceVersion, shop.Generation, shop.Status.ObservedGeneration = version, shop.Generation+1, shop.Generation+1
	w.pods[i] = podOfShop(shop.Name, shop.Name+"-x-"+version, shop.Spec.Template.Annotations[annotationRestart])
	w.pods[i].ResourceVersion = version
	w.tell("deployments", "MODIFIED", shop)
	if former != nil {
		w.tell("pods", "DELETED", former)
	}
	w.tell("pods", "ADDED", w.pods[i])
}

// evict removes the pod of a Deployment.
func (w *town) evict(i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	w.tell("pods", "DELETED", w.pods[i])
}

// admit puts another pod in its place.
func (w *town) admit(i int, change func(*corev1.Pod)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	change(w.pods[i])
	w.tell("pods", "ADDED", w.pods[i])
}

func (w *town) tell(resource, what string, o any) {
	text, _ := json.Marshal(map[string]any{"type": what, "object": o})
	w.events[resource] = append(w.events[resource], event{w.version, text})
	for _, s := range w.watches[resource] {
		s.events <- text
	}
}

// podOfShop is a pod that is ready, of a Deployment.
func podOfShop(shop, name, mark string) *corev1.Pod {
	return &corev1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Labels: map[string]string{"pod-template-hash": "x"}, Annotations: map[string]string{annotationRestart: mark},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: shop + "-x", Controller: new(true)}}},
		Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}},
		Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
}

// RoundTrip notes and answers a request.
func (w *town) RoundTrip(r *http.Request) (*http.Response, error) {
	_, path, _ := strings.Cut(r.URL.Path, "/namespaces/alfred/")
	parts := append(strings.SplitN(path, "/", 3), "", "")
	resource, name := parts[0], parts[1]
	request := strings.TrimSuffix(r.Method+" "+resource+"/"+parts[2], "/")
	if r.URL.Query().Has("watch") {
		request += " watch"
	}
	var status apierrors.APIStatus
	switch err := w.note(r.Context(), request); {
	case errors.As(err, &status) && parts[2] != "exec": // whose client takes any answer for a connection
		return answerTo(r, int(status.Status().Code), nil)
	case err != nil:
		return nil, err
	}
	return w.answer(r, request, resource, name)
}

func (w *town) note(ctx context.Context, request string) error {
	w.mu.Lock()
	w.asked[request]++
	w.mu.Unlock()
	if w.fault == nil {
		return nil
	}
	return w.fault(ctx, request)
}

// requests are those since forget. A list may come to its end after its watch is left.
func (w *town) requests() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.asked)
}

func (w *town) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.asked)
}

// status is the API server's refusal of a call.
func status(code int) error {
	return apierrors.NewGenericServerResponse(code, "", schema.GroupResource{}, "", "", 0, false)
}

func answerTo(r *http.Request, code int, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	return &http.Response{StatusCode: code, Body: io.NopCloser(bytes.NewReader(text)), Header: http.Header{"Content-Type": {"application/json"}}, Request: r}, err
}

func (w *town) answer(r *http.Request, request, resource, name string) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch request {
	case "GET deployments watch", "GET pods watch":
		return w.watch(r, resource)
	case "PATCH deployments":
		return w.patch(r, name)
	case "GET deployments":
		return w.listShops(r)
	case "GET pods":
		list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, ListMeta: w.now()}
		for _, p := range w.pods {
			list.Items = append(list.Items, *p)
		}
		return answerTo(r, http.StatusOK, list)
	case "GET pods/log":
		return answerTo(r, http.StatusOK, "all is well")
	case "GET pods/exec":
		return nil, errors.New("nobody executes anything in this town")
	}
	return answerTo(r, http.StatusNotFound, nil)
}

func (w *town) now() metav1.ListMeta {
	return metav1.ListMeta{ResourceVersion: strconv.Itoa(w.version)}
}

func (w *town) listShops(r *http.Request) (*http.Response, error) {
	list := appsv1.DeploymentList{TypeMeta: metav1.TypeMeta{Kind: "DeploymentList", APIVersion: "apps/v1"}, ListMeta: w.now()}
	_, only, _ := strings.Cut(r.URL.Query().Get("fieldSelector"), "=")
	for _, shop := range w.shops {
		if only == "" || shop.Name == only {
			list.Items = append(list.Items, *shop)
		}
	}
	return answerTo(r, http.StatusOK, list)
}

// patch marks a Deployment if it is of the version that the patch names.
func (w *town) patch(r *http.Request, name string) (*http.Response, error) {
	var body struct {
		Metadata metav1.ObjectMeta
		Spec     struct{ Template corev1.PodTemplateSpec }
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return nil, err
	}
	var i int
	if _, err := fmt.Sscanf(name, "shop-%d", &i); err != nil {
		return nil, err
	}
	if wanted := body.Metadata.ResourceVersion; wanted != "" && wanted != w.shops[i].ResourceVersion {
		return answerTo(r, http.StatusConflict, nil)
	}
	w.shops[i].Spec.Template.Annotations = body.Spec.Template.Annotations
	w.deploy(i)
	return answerTo(r, http.StatusOK, w.shops[i])
}

// watch tells what has happened since a version, and goes on telling.
func (w *town) watch(r *http.Request, resource string) (*http.Response, error) {
	since, err := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	if err != nil {
		return nil, err
	}
	s := &stream{ctx: r.Context(), events: make(chan []byte, 10_000)}
	for _, e := range w.events[resource] {
		if e.version > since {
			s.events <- e.text
		}
	}
	w.watches[resource] = append(w.watches[resource], s)
	return &http.Response{StatusCode: http.StatusOK, Body: s, Header: http.Header{"Content-Type": {"application/json"}}, Request: r}, nil
}

// stream is the body of a watch. It ends with its request.
type stream struct {
	ctx    context.Context
	events chan []byte
	left   []byte
}

func (s *stream) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		select {
		case s.left = <-s.events:
		case <-s.ctx.Done():
			return 0, io.EOF
		}
	}
	n := copy(p, s.left)
	s.left = s.left[n:]
	return n, nil
}

// Close does nothing.
func (s *stream) Close() error { return nil }
