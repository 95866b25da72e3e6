package kube

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// right is one verb of one rule of a Role.
type right struct{ group, resource, name, verb string }

func (r right) String() string { return strings.TrimSpace(r.verb + " " + r.resource + " " + r.name) }

func (r right) rule(t *testing.T) string {
	rule := map[string][]string{"apiGroups": {r.group}, "resources": {r.resource}, "verbs": {r.verb}}
	if r.name != "" {
		rule["resourceNames"] = []string{r.name}
	}
	text, err := json.Marshal(rule)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// deployed are the rights of the Role that is shipped.
func deployed(t *testing.T) (all []right) {
	t.Helper()
	rules, err := fixture.Rules()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		for _, verb := range r.Verbs {
			all = append(all, right{r.APIGroups[0], r.Resources[0], strings.Join(r.ResourceNames, ""), verb})
		}
	}
	return all
}

func with(t *testing.T, admin *Cluster, rights []right) *Cluster {
	t.Helper()
	var rules []string
	for _, r := range rights {
		rules = append(rules, r.rule(t))
	}
	return as(t, admin, rules...)
}

// shopOf makes one of everything that a rotation touches in a namespace.
func shopOf(t *testing.T, c *Cluster) {
	t.Helper()
	putSecret(t, c, servedSecret())
	journal, err := fixture.ShippedJournal()
	if err != nil {
		t.Fatal(err)
	}
	journal.Namespace = c.namespace
	putSecret(t, c, journal)
	putDeployment(t, c, "core", 1, nil)
	putStatefulSet(t, c, "store", 0, nil)
	putDaemonSet(t, c, "agent", func(d *appsv1.DaemonSet) { d.Spec.Template.Spec.NodeSelector = map[string]string{"no": "node"} })
	server := podTemplate("db")
	server.Spec.Containers[0].Env = nil
	if _, err := c.pods(c.namespace).create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Spec: server.Spec}); err != nil {
		t.Fatal(err)
	}
	settledWorkloads(t, c, Discovery{Listed: []string{"deployment/core"}}, options(nil))
}

// plans asks every target what speaks against a rotation, as a preflight does.
func plans(ctx context.Context, c *Cluster) ([]*Workload, error) {
	next := secret.Credential{User: "alfred_user", Password: secret.New("brand-new-password")}
	_, _, served := c.Served(servedName, urlMapping, Refuse).Plan(ctx, next)
	errs := []error{served, c.Journal(servedName).Plan(ctx)}
	found, err := c.Workloads(ctx, Discovery{Secrets: []string{servedName}, DatabasePod: "db"},
		options(func(o *Options) { o.LogLines, o.HealthCommand = 1, []string{"/absent"} }))
	errs = append(errs, err)
	for _, w := range found {
		_, _, err := w.Plan(ctx)
		errs = append(errs, err)
	}
	return found, errors.Join(errs...)
}

// TestShippedJournal compares it with the one that a run would make, and with the
// one of the hint.
func TestShippedJournal(t *testing.T) {
	shipped, err := fixture.ShippedJournal()
	if err != nil {
		t.Fatal(err)
	}
	j := (&Cluster{namespace: shipped.Namespace}).Journal(servedName)
	made := fill(j.empty(), secret.Document{})
	made.TypeMeta, made.Annotations, made.Data = shipped.TypeMeta, nil, nil
	if diff := cmp.Diff(made, shipped); diff != "" {
		t.Errorf("made by a run (-), shipped (+):\n%s", diff)
	}
	var hinted corev1.Secret
	if err := yaml.Unmarshal([]byte(j.manifest()), &hinted); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&hinted, shipped); diff != "" {
		t.Errorf("of the hint (-), shipped (+):\n%s", diff)
	}
}

// TestShippedRightsAreEnough rotates with what deploy/kubernetes.yaml grants.
func TestShippedRightsAreEnough(t *testing.T) {
	t.Parallel()
	admin := lab(t)
	shopOf(t, admin)
	c, ctx := with(t, admin, deployed(t)), t.Context()
	found, err := plans(ctx, c)
	if err != nil || len(found) != 3 {
		t.Fatalf("%q: %v", stringsOf(found), err)
	}
	served, journal := c.Served(servedName, urlMapping, Refuse), c.Journal(servedName)
	next := rendered(t, served)
	empty, err := journal.Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := journal.Save(ctx, secret.Document{Version: empty.Version, Data: map[string]secret.Value{"pending": next.Password}})
	if err != nil {
		t.Fatal(err)
	}
	if err := served.Set(ctx, next, secret.Stamp{RotationID: "r1", Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	var said diary
	if err := restartAll(ctx, found, "r1", &said); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "cannot check pod") {
		t.Errorf("the health command was not tried:\n%s", &said)
	}
	opened.Data = nil
	if _, err := journal.Save(ctx, opened); err != nil {
		t.Fatal(err)
	}
	tunnel, err := c.Tunnel("db:1")
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.Close()
	conn, err := tunnel.Dial(ctx, "", "")
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

// TestEveryShippedRightIsNeeded takes one right away at a time: the plan names
// it. Which verb a tunnel needs differs between clusters: without one of the two it
// may open, without both it names them.
func TestEveryShippedRightIsNeeded(t *testing.T) {
	t.Parallel()
	admin := lab(t)
	shopOf(t, admin)
	all := deployed(t)
	if len(all) < 20 {
		t.Fatalf("only %d rights are read: %v", len(all), all)
	}
	tunnels := func(r right) bool { return r.resource == "pods/portforward" }
	tunnel := openTunnel(t, with(t, admin, slices.DeleteFunc(slices.Clone(all), tunnels)), "db:1")
	_, err := tunnel.Dial(t.Context(), "", "")
	if f := wantFailure(t, err, refused, "forbidden"); !strings.Contains(f.Hint(), `resources: ["pods/portforward"], verbs: ["create", "get"]`) {
		t.Errorf("without a right to a tunnel: hint %q", f.Hint())
	}
	for i, missing := range all {
		if tunnels(missing) {
			continue
		}
		_, err := plans(t.Context(), with(t, admin, slices.Concat(all[:i], all[i+1:])))
		if !slices.ContainsFunc(hints(err), func(hint string) bool {
			return strings.Contains(hint, missing.verb) && strings.Contains(hint, missing.resource)
		}) {
			t.Errorf("without %s: %v\nhints %q", missing, err, hints(err))
		}
	}
}

// hints are those of all errors that err joins.
func hints(err error) []string {
	switch e := err.(type) {
	case *failure:
		return []string{e.Hint()}
	case interface{ Unwrap() []error }:
		var all []string
		for _, inner := range e.Unwrap() {
			all = append(all, hints(inner)...)
		}
		return all
	}
	return nil
}
