package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// distant is the way to an API server that takes a second to answer, with n
// Deployments that read the served Secret, and n copies of that.
type distant struct {
	n     int
	asked atomic.Int32
}

func (d *distant) RoundTrip(r *http.Request) (*http.Response, error) {
	d.asked.Add(1)
	time.Sleep(time.Second)
	answer := d.answer(r.URL.Path)
	code := http.StatusOK
	if answer == nil {
		answer, code = metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: metav1.StatusReasonNotFound}, http.StatusNotFound
	}
	text, err := json.Marshal(answer)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	switch {
	case r.Method == http.MethodPatch:
		text, err = merged(text, r.Body)
	case strings.HasSuffix(r.URL.Path, "/secrets"): // a new journal, as it was sent
		header.Set("Content-Type", r.Header.Get("Content-Type"))
		text, err = io.ReadAll(r.Body)
	}
	return &http.Response{StatusCode: code, Body: io.NopCloser(bytes.NewReader(text)), Header: header, Request: r}, err
}

// answer is what there is at a path; nil: nothing. No list but that of the
// Deployments has anything in it.
func (d *distant) answer(path string) any {
	name := path[strings.LastIndex(path, "/")+1:]
	switch {
	case name == "selfsubjectaccessreviews":
		return authorizationv1.SelfSubjectAccessReview{TypeMeta: metav1.TypeMeta{Kind: "SelfSubjectAccessReview", APIVersion: "authorization.k8s.io/v1"},
			Status: authorizationv1.SubjectAccessReviewStatus{Allowed: true}}
	case name == "deployments":
		list := appsv1.DeploymentList{TypeMeta: metav1.TypeMeta{Kind: "DeploymentList", APIVersion: "apps/v1"}}
		for i := range d.n {
			list.Items = append(list.Items, shopNumber(i))
		}
		return list
	case strings.Contains(path, "/deployments/"):
		return shopNumber(0)
	case strings.HasPrefix(path, "/apis/"):
		kind := map[string]string{"statefulsets": "StatefulSetList", "daemonsets": "DaemonSetList", "cronjobs": "CronJobList"}[name]
		return metav1.TypeMeta{Kind: kind, APIVersion: strings.Join(strings.Split(path, "/")[2:4], "/")}
	case name == "pods":
		return metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}
	case name == "secrets":
		return struct{}{}
	case strings.HasSuffix(name, "-rotation"):
		return nil
	}
	o := servedSecret()
	o.TypeMeta, o.Name, o.Namespace, o.UID, o.ResourceVersion = metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}, name, "alfred", "1", "1"
	return o
}

func shopNumber(i int) appsv1.Deployment {
	return appsv1.Deployment{TypeMeta: metav1.TypeMeta{Kind: "Deployment", APIVersion: "apps/v1"}, ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("shop-%d", i)},
		Spec:   appsv1.DeploymentSpec{Template: podTemplate("shop")},
		Status: appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}}
}

// merged applies an RFC 7386 merge patch.
func merged(object []byte, patch io.Reader) ([]byte, error) {
	var to, from map[string]any
	if err := json.Unmarshal(object, &to); err != nil {
		return nil, err
	}
	if err := json.NewDecoder(patch).Decode(&from); err != nil {
		return nil, err
	}
	return json.Marshal(overlay(to, from))
}

func overlay(to, from map[string]any) map[string]any {
	if to == nil {
		to = map[string]any{}
	}
	for key, value := range from {
		if deeper, ok := value.(map[string]any); ok {
			former, _ := to[key].(map[string]any)
			value = overlay(former, deeper)
		}
		to[key] = value
		if value == nil {
			delete(to, key)
		}
	}
	return to
}

// TestAPreflightDoesNotTakeLongerForMore counts the requests of a preflight, and
// how many of them wait for one another: far from the API server that is its time.
func TestAPreflightDoesNotTakeLongerForMore(t *testing.T) {
	// Discovery: five lists and eight questions for rights. The journal: a look,
	// three questions, a dry run. The served Secret: a look and a dry run.
	const once = 5 + 8 + 5 + 2
	const each = 1 + 3 // a workload: a dry run; a copy: a look at it and one at the served Secret, a dry run
	for _, n := range []int{1, 8} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				way := &distant{n: n}
				c := &Cluster{config: &rest.Config{Host: "http://127.0.0.1", Transport: way}, namespace: "alfred", keeper: secret.NewKeeper(nil)}
				if err := c.dial(); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				discoverAndPlan(t, c, n)
				if got, want := int(way.asked.Load()), once+n*each; got != want {
					t.Errorf("%d requests, want %d", got, want)
				}
				if chain := time.Since(began) / time.Second; chain != 1+3 { // the discovery, then the journal and each copy
					t.Errorf("%d requests one after the other", chain)
				}
			})
		})
	}
}

// discoverAndPlan is what a preflight asks of the cluster.
func discoverAndPlan(t *testing.T, c *Cluster, n int) {
	served, next := c.Served(servedName, urlMapping, Refuse), secret.Credential{User: "alfred_user", Password: secret.New("brand-new-password")}
	discovery, names := Discovery{Secrets: []string{servedName}}, []string{}
	for i := range n {
		names = append(names, fmt.Sprintf("copy-%d", i))
	}
	discovery.Secrets = append(discovery.Secrets, names...)
	copies, err := served.Copies(names)
	if err != nil {
		t.Fatal(err)
	}
	found, err := c.Workloads(t.Context(), discovery, options(func(o *Options) { o.LogLines, o.HealthCommand = 1, []string{"/healthcheck"} }))
	if err != nil || len(found) != n {
		t.Fatalf("%q, %v", stringsOf(found), err)
	}
	plans := []func() error{
		func() error { return c.Journal(servedName).Plan(t.Context()) },
		func() error { _, _, err := served.Plan(t.Context(), next); return err },
	}
	for _, w := range found {
		plans = append(plans, func() error { _, _, err := w.Plan(t.Context()); return err })
	}
	for _, o := range copies {
		plans = append(plans, func() error { _, _, err := o.Plan(t.Context(), next); return err })
	}
	var planning sync.WaitGroup
	for _, plan := range plans {
		planning.Go(func() {
			if err := plan(); err != nil {
				t.Error(err)
			}
		})
	}
	planning.Wait()
}
