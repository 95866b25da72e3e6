package kube

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// living is a running pod of a Deployment with an address, on the node 10.0.0.4.
func living(namespace, name, address string) corev1.Pod {
	owner := strings.TrimSuffix(name, "-x-1") + "-x"
	return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"pod-template-hash": "x"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: owner, Controller: new(true)}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: address}}, HostIPs: []corev1.HostIP{{IP: "10.0.0.4"}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}}
}

// crowd are the pods of a cluster with two namespaces.
func crowd() []corev1.Pod {
	shared, ended := living("ops", "agent-x-1", "10.0.0.4"), living("alfred", "migrate-x-1", "10.1.0.1")
	shared.Spec.HostNetwork, ended.Status.Phase = true, corev1.PodSucceeded
	other := living("alfred", "ingest-x-1", "10.0.0.4")
	other.Spec.HostNetwork = true
	return []corev1.Pod{living("alfred", "core-x-1", "10.1.0.1"), ended, shared, other, living("ops", "far-x-1", "10.1.0.9")}
}

// listing serves the pods of crowd, of all namespaces only where that is allowed.
func listing(everywhere bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		namespace := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/pods")
		if r.URL.Path == "/api/v1/pods" {
			namespace = ""
		}
		if namespace == "" && !everywhere {
			reply(w, 403, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: 403, Reason: metav1.StatusReasonForbidden})
			return
		}
		list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}}
		for _, p := range crowd() {
			if namespace == "" || p.Namespace == namespace {
				list.Items = append(list.Items, p)
			}
		}
		reply(w, 200, list)
	}
}

func TestOrigins(t *testing.T) {
	wanted := []string{"10.1.0.1", "10.0.0.4", "10.1.0.9", "192.0.2.1"}
	core := secret.Origin{Pods: []string{"alfred/core-x-1"}, Owners: []string{"deployment/core"}}
	for _, test := range []struct {
		name       string
		everywhere bool
		secrets    []string
		searched   string
		want       map[string]secret.Origin
	}{
		{"the whole cluster", true, []string{"postgres-credentials"}, "this cluster", map[string]secret.Origin{"10.1.0.1": core,
			"10.0.0.4": {Pods: []string{"ops/agent-x-1", "alfred/ingest-x-1"}, Owners: []string{"deployment/agent", "deployment/ingest"}, Shared: true},
			"10.1.0.9": {Pods: []string{"ops/far-x-1"}, Owners: []string{"deployment/far"}}}},
		{"one namespace", false, []string{"postgres-credentials"}, "the namespaces that may be looked at (alfred)", map[string]secret.Origin{"10.1.0.1": core,
			"10.0.0.4": {Pods: []string{"alfred/ingest-x-1"}, Owners: []string{"deployment/ingest"}, Shared: true}}},
		{"two namespaces", false, []string{"postgres-credentials", "ops/copy", "ops/other"}, "the namespaces that may be looked at (alfred, ops)", map[string]secret.Origin{"10.1.0.1": core,
			"10.0.0.4": {Pods: []string{"alfred/ingest-x-1", "ops/agent-x-1"}, Owners: []string{"deployment/ingest", "deployment/agent"}, Shared: true},
			"10.1.0.9": {Pods: []string{"ops/far-x-1"}, Owners: []string{"deployment/far"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, searched, err := answering(t, listing(test.everywhere)).Addresses(test.secrets).Origins(t.Context(), wanted)
			if err != nil || searched != test.searched || !reflect.DeepEqual(found, test.want) {
				t.Errorf("%+v in %q, %v; want %+v", found, searched, err, test.want)
			}
		})
	}
}

// A node's address without a pod of its own is still the cluster's.
func TestOriginOfANode(t *testing.T) {
	p := living("alfred", "core-x-1", "10.1.0.1")
	if got, is := originOf(&p, "10.0.0.4"); !is || !got.Shared || got.Pods != nil {
		t.Errorf("%+v, %v", got, is)
	}
}

func TestHealthCountsByOwner(t *testing.T) {
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("labelSelector") != "tier=backend" {
			t.Errorf("selector %q", r.URL.Query().Get("labelSelector"))
		}
		unready, leaving := living("alfred", "core-x-1", "10.1.0.2"), living("alfred", "core-x-1", "10.1.0.3")
		unready.Status.Conditions, leaving.DeletionTimestamp = nil, new(metav1.Now())
		done := living("alfred", "import-x", "10.1.0.8")
		done.OwnerReferences = []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: "import", Controller: new(true)}}
		reply(w, 200, corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: append(crowd()[:2], unready, leaving, crowd()[3], done)})
	})
	h, err := c.Health("tier=backend")
	if err != nil {
		t.Fatal(err)
	}
	ready, err := h.Ready(t.Context())
	want := map[string]secret.Readiness{"deployment/core": {Ready: 1, Pods: 2}, "deployment/ingest": {Ready: 1, Pods: 1}}
	if err != nil || !reflect.DeepEqual(ready, want) {
		t.Errorf("%+v, %v, want %+v", ready, err, want)
	}
	if h.String() != `pods "tier=backend"` {
		t.Errorf("it is called %s", h)
	}
	if _, err := c.Health("tier in backend"); err == nil {
		t.Error("a selector that is none was taken")
	}
}
