package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// listening is podTemplate with a container that says which port it listens on.
func listening(port int32) corev1.PodTemplateSpec {
	template := podTemplate("db")
	template.Spec.Containers = append(template.Spec.Containers, corev1.Container{Name: "server", Image: pauseImage, ImagePullPolicy: corev1.PullNever,
		Ports: []corev1.ContainerPort{{Name: "postgres", ContainerPort: port}}})
	return template
}

// shop serves a namespace with the Deployment core and the StatefulSet db, which
// listens on that port; both read the Secret.
func shop(t *testing.T, port int32, pods []corev1.Pod) http.HandlerFunc {
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Namespace: "alfred"} }
	core := appsv1.Deployment{TypeMeta: metav1.TypeMeta{Kind: "Deployment", APIVersion: "apps/v1"}, ObjectMeta: meta("core"), Spec: appsv1.DeploymentSpec{Replicas: new(int32(0)), Template: podTemplate("core")}}
	db := appsv1.StatefulSet{TypeMeta: metav1.TypeMeta{Kind: "StatefulSet", APIVersion: "apps/v1"}, ObjectMeta: meta("db"), Spec: appsv1.StatefulSetSpec{Replicas: new(int32(0)), Template: listening(port)}}
	answers := map[string]any{
		"deployments":  appsv1.DeploymentList{TypeMeta: metav1.TypeMeta{Kind: "DeploymentList", APIVersion: "apps/v1"}, Items: []appsv1.Deployment{core}},
		"statefulsets": appsv1.StatefulSetList{TypeMeta: metav1.TypeMeta{Kind: "StatefulSetList", APIVersion: "apps/v1"}, Items: []appsv1.StatefulSet{db}},
		"daemonsets":   metav1.TypeMeta{Kind: "DaemonSetList", APIVersion: "apps/v1"},
		"cronjobs":     metav1.TypeMeta{Kind: "CronJobList", APIVersion: "batch/v1"},
		"pods":         corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: pods},
		"selfsubjectaccessreviews": authorizationv1.SelfSubjectAccessReview{TypeMeta: metav1.TypeMeta{Kind: "SelfSubjectAccessReview", APIVersion: "authorization.k8s.io/v1"},
			Status: authorizationv1.SubjectAccessReviewStatus{Allowed: true}},
	}
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		if r.Method != http.MethodPatch {
			reply(w, http.StatusOK, answers[name])
			return
		}
		text, err := json.Marshal(map[string]any{"core": core, "db": db}[name])
		if err == nil {
			text, err = merged(text, r.Body)
		}
		if err != nil {
			t.Error(err)
		}
		reply(w, http.StatusOK, json.RawMessage(text))
	}
}

// ofDatabase is a running pod of the StatefulSet with these addresses.
func ofDatabase(ips ...string) corev1.Pod {
	p := living("alfred", "db-0", ips[0])
	p.Labels, p.OwnerReferences = nil, []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db", Controller: new(true)}}
	for _, ip := range ips[1:] {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	return p
}

// TestTheDatabaseIsToldByItsAddress: the pods that are told by it are left alone, and
// where it tells nothing a workload that looks like a server is named.
func TestTheDatabaseIsToldByItsAddress(t *testing.T) {
	ended := func(phase corev1.PodPhase, address string) corev1.Pod {
		p := living("alfred", "core-x-1", address)
		p.Status.Phase = phase
		return p
	}
	onNode := ofDatabase("10.0.0.4")
	onNode.Spec.HostNetwork = true
	both := []corev1.Pod{living("alfred", "core-x-1", "10.1.0.1"), ofDatabase("10.1.0.2", "fd00::2")}
	for _, test := range []struct {
		name, address string
		pods          []corev1.Pod
		port          int32
		left, perhaps []string
	}{
		{"its only address", "10.1.0.2", both, 5432, []string{"statefulset/db"}, nil},
		{"its second address", "fd00::2", both, 5432, []string{"statefulset/db"}, nil},
		{"IPv4 in IPv6", "::ffff:10.1.0.2", both, 5432, []string{"statefulset/db"}, nil},
		{"a Deployment's", "10.1.0.1", both, 5432, []string{"deployment/core"}, nil},
		{"that of a failed pod, too", "10.1.0.2", append(both, ended(corev1.PodFailed, "10.1.0.2")), 5432, []string{"statefulset/db"}, nil},
		{"that of a pod that is done, too", "10.1.0.2", append(both, ended(corev1.PodSucceeded, "10.1.0.2")), 5432, []string{"statefulset/db"}, nil},
		{"that of a failed pod alone", "10.1.0.9", append(both, ended(corev1.PodFailed, "10.1.0.9")), 5432, nil, nil},
		{"outside of the cluster", "192.0.2.1", both, 5432, nil, nil},
		{"a local socket", "", both, 5432, nil, nil},
		{"the end of a tunnel", "127.0.0.1", both, 5432, nil, []string{"statefulset/db"}},
		{"the end of a tunnel in IPv6", "::1", both, 5432, nil, []string{"statefulset/db"}},
		{"the end of a tunnel, and nobody looks like a server", "127.0.0.1", both, 6432, nil, nil},
		{"the node's", "10.0.0.4", []corev1.Pod{both[0], onNode}, 5432, nil, []string{"statefulset/db"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, err := answering(t, shop(t, test.port, test.pods)).Workloads(t.Context(), Discovery{Secrets: []string{servedName}, DatabaseAddress: says(test.address)}, options(nil))
			if err != nil || !slices.Equal(stringsOf(found), []string{"deployment/core", "statefulset/db"}) {
				t.Fatalf("found %q, %v", stringsOf(found), err)
			}
			var left, perhaps []string
			for _, w := range found {
				change, warnings, err := w.Plan(t.Context())
				if err != nil {
					t.Error(err)
				}
				if w.LeftAlone() {
					left = append(left, w.String())
				}
				if w.LeftAlone() == (change != "") {
					t.Errorf("%s: %q", w, change)
				}
				doubt := fmt.Sprintf("%s may be the database itself, which cannot be told by the address %s: ", w, test.address)
				if slices.ContainsFunc(warnings, func(text string) bool {
					return strings.HasPrefix(text, doubt) && strings.Contains(text, "`postgres-pod`")
				}) {
					perhaps = append(perhaps, w.String())
				}
			}
			if !slices.Equal(left, test.left) || !slices.Equal(perhaps, test.perhaps) {
				t.Errorf("left alone: %q, want %q; in doubt: %q, want %q", left, test.left, perhaps, test.perhaps)
			}
		})
	}
}

// TestNoneIsRestartedWhereAnyMayBeTheDatabase: its address is known, and whose it is
// is not.
func TestNoneIsRestartedWhereAnyMayBeTheDatabase(t *testing.T) {
	for address, want := range map[string][]string{"10.1.0.2": nil, "127.0.0.1": {"deployment/core", "statefulset/db"}, "": {"deployment/core", "statefulset/db"}} {
		all := shop(t, 5432, nil)
		found, err := answering(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/pods") {
				reply(w, 403, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: 403, Reason: metav1.StatusReasonForbidden})
				return
			}
			all(w, r)
		}).Workloads(t.Context(), Discovery{Secrets: []string{servedName}, DatabaseAddress: says(address)}, options(nil))
		wantFailure(t, err, refused, "list pods")
		if !slices.Equal(stringsOf(found), want) {
			t.Errorf("%q: found %q, want %q", address, stringsOf(found), want)
		}
	}
}

// TestNoneIsRestartedWhereTheDatabaseDoesNotSayWhereItIs, in any of the namespaces; it is asked once.
func TestNoneIsRestartedWhereTheDatabaseDoesNotSayWhereItIs(t *testing.T) {
	asked := 0
	away := func(context.Context) (string, error) {
		asked++
		return "", fail(unavailable, "", "connect: it is away")
	}
	found, err := answering(t, shop(t, 5432, nil)).Workloads(t.Context(), Discovery{Secrets: []string{servedName, "elsewhere/copy"}, DatabaseAddress: away}, options(nil))
	wantFailure(t, err, unavailable, "connect: it is away")
	if len(found) > 0 || asked != 1 {
		t.Errorf("asked %d times, found %q", asked, stringsOf(found))
	}
}

// TestRestartThatWouldNotBeStored: a webhook takes the mark away, and no pod would
// be replaced.
func TestRestartThatWouldNotBeStored(t *testing.T) {
	all := shop(t, 5432, nil)
	c := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			reply(w, http.StatusOK, appsv1.Deployment{TypeMeta: metav1.TypeMeta{Kind: "Deployment", APIVersion: "apps/v1"}})
			return
		}
		all(w, r)
	})
	found, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}}, options(nil))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = found[0].Plan(t.Context())
	f := wantFailure(t, err, refused, `restart deployment/core: the API server would store something else in annotation "pgrotate.io/restart" of its pod template`)
	if !strings.Contains(f.Hint(), "admission webhook or policy") || !strings.Contains(f.Hint(), "list in `workloads`") {
		t.Errorf("hint %q", f.Hint())
	}
}

// TestWorkloadsKnowsTheDatabaseByItsPod has pods that no node takes, whose status
// says that they run, or have run, at one address.
func TestWorkloadsKnowsTheDatabaseByItsPod(t *testing.T) {
	c := lab(t)
	nowhere := func(template *corev1.PodTemplateSpec) {
		template.Spec.NodeSelector, template.Spec.HostNetwork = map[string]string{"no": "node"}, false
	}
	putStatefulSet(t, c, "db", 1, func(s *appsv1.StatefulSet) { nowhere(&s.Spec.Template) })
	putDeployment(t, c, "core", 1, func(d *appsv1.Deployment) { nowhere(&d.Spec.Template) })
	pretend(t, c, "statefulset/db", `{"phase":"Running","podIP":"10.99.0.1","podIPs":[{"ip":"10.99.0.1"},{"ip":"fd99::1"}]}`)
	pretend(t, c, "deployment/core", `{"phase":"Failed","podIP":"10.99.0.1","podIPs":[{"ip":"10.99.0.1"}]}`)
	for _, address := range []string{"10.99.0.1", "fd99::1"} {
		found, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}, DatabaseAddress: says(address)}, options(nil))
		if err != nil || !slices.Equal(stringsOf(found), []string{"deployment/core", "statefulset/db"}) {
			t.Fatalf("found %q, %v", stringsOf(found), err)
		}
		if found[0].LeftAlone() || !found[1].LeftAlone() {
			t.Errorf("%s: left alone: %v, %v", address, found[0].LeftAlone(), found[1].LeftAlone())
		}
	}
}

// pretend waits for the pod of an owner and gives it a status.
func pretend(t *testing.T, c *Cluster, owner, status string) {
	t.Helper()
	name := ""
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		for _, o := range podsOf(t, c) {
			if ownerOf(o) == owner {
				name = o.Name
			}
		}
		return name != "", nil
	})
	if err != nil {
		t.Fatalf("the pod of %s is not made: %v", owner, err)
	}
	request := c.core.Patch("application/merge-patch+json").Namespace(c.namespace).Resource("pods").Name(name).SubResource("status")
	if err := request.Body([]byte(`{"status":` + status + `}`)).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
}

// says is where the database says that it is.
func says(address string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return address, nil }
}
