package kube

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func stringsOf(found []*Workload) []string {
	var names []string
	for _, w := range found {
		names = append(names, w.String())
	}
	return names
}

func readsNothing(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Env = nil }

func TestWorkloadsFound(t *testing.T) {
	c := lab(t)
	putDeployment(t, c, "reader", 0, nil)
	putDeployment(t, c, "stranger", 0, readsNothing)
	putStatefulSet(t, c, "store", 0, nil)
	putDaemonSet(t, c, "agent", func(d *appsv1.DaemonSet) { d.Spec.Template.Spec.NodeSelector = map[string]string{"no": "node"} })

	for _, test := range []struct {
		name   string
		listed []string
		want   []string
	}{
		{"auto", nil, []string{"daemonset/agent", "deployment/reader", "statefulset/store"}},
		{"listed", []string{"deploy/stranger", "StatefulSet/store"}, []string{"deployment/stranger", "statefulset/store"}},
		{"other names of kinds", []string{"ds/agent", "sts/store", "deployments.apps/reader"}, []string{"daemonset/agent", "statefulset/store", "deployment/reader"}},
	} {
		found, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}, Listed: test.listed}, options(nil))
		if err != nil || !slices.Equal(stringsOf(found), test.want) {
			t.Errorf("%s: %q, %v; want %q", test.name, stringsOf(found), err, test.want)
		}
	}
}

func TestWorkloadsRefusesList(t *testing.T) {
	c := lab(t)
	putDeployment(t, c, "one", 0, nil)
	putDeployment(t, c, "two", 0, nil)
	for _, test := range []struct {
		listed []string
		found  []string // all the same
		want   []string
	}{
		{[]string{"deployment/three", "sts/db", "deployment/one"}, []string{"deployment/one"}, []string{
			`find deployment/three in namespace "` + c.namespace + `": it is not there; there are deployment/one, deployment/two`,
			`find statefulset/db in namespace "` + c.namespace + `": it is not there; there are no statefulsets`}},
		{[]string{"one", "job/x", "deploy/one", "deployment/one", "deploy/"}, nil, []string{
			`"one": want [namespace/]kind/name`, `"job/x": a workload is a deployment, a statefulset or a daemonset`, `"deployment/one": it is listed twice`, `"deploy/": want [namespace/]kind/name`}},
	} {
		found, err := c.Workloads(t.Context(), Discovery{Listed: test.listed}, options(nil))
		if err == nil || !slices.Equal(stringsOf(found), test.found) {
			t.Fatalf("%q: found %q, error %v", test.listed, stringsOf(found), err)
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: the error lacks %q:\n%v", test.listed, want, err)
			}
		}
	}
}

func TestWorkloadsNeedsRights(t *testing.T) {
	list := func(plural string) string {
		return `{"apiGroups":["apps"],"resources":["` + plural + `"],"verbs":["list","watch"]}`
	}
	core := func(resource, verbs string) string {
		return `{"apiGroups":[""],"resources":["` + resource + `"],"verbs":[` + verbs + `]}`
	}
	cronJobs := `{"apiGroups":["batch"],"resources":["cronjobs"],"verbs":["list"]}`
	all := []string{cronJobs, list("deployments"), list("statefulsets"), list("daemonsets"), core("pods", `"list","watch","delete"`), core("pods/log", `"get"`), core("pods/exec", `"create","get"`)}
	texts := []string{"list cronjobs", "list deployments", "list statefulsets", "list daemonsets", "list pods", "may not get pods/log", "may not create or get pods/exec"}
	hints := []string{`["cronjobs"]`, `["deployments"]`, `["statefulsets"]`, `["daemonsets"]`, `["pods"]`, `["pods/log"]`, `["pods/exec"]`}
	o := options(func(o *Options) { o.LogLines, o.HealthCommand = 1, []string{"/health"} })

	if _, err := as(t, lab(t), all...).Workloads(t.Context(), Discovery{Secrets: []string{servedName}}, o); err != nil {
		t.Errorf("with all rights: %v", err)
	}
	for i := range all {
		without := slices.Concat(all[:i], all[i+1:])
		_, err := as(t, lab(t), without...).Workloads(t.Context(), Discovery{Secrets: []string{servedName}}, o)
		if f := wantFailure(t, err, refused, texts[i]); !strings.Contains(f.Hint(), hints[i]) {
			t.Errorf("hint %q, want %q", f.Hint(), hints[i])
		}
	}
}

func TestWorkloadPlan(t *testing.T) {
	c := lab(t)
	putDeployment(t, c, "idle", 0, nil)
	putDeployment(t, c, "paused", 0, func(d *appsv1.Deployment) { d.Spec.Paused = true })
	putDeployment(t, c, "sick", 1, func(d *appsv1.Deployment) { d.Spec.Template.Spec.NodeSelector = map[string]string{"no": "node"} })
	putStatefulSet(t, c, "by-hand", 0, func(s *appsv1.StatefulSet) { s.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType })
	putStatefulSet(t, c, "operated", 0, func(s *appsv1.StatefulSet) {
		s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "x/v1", Kind: "Cluster", Name: "pg", UID: "u", Controller: new(true)}}
	})
	found, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}}, options(nil))
	if err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct{ name, change, warning, class, err, hint string }{
		{name: "deployment/idle", change: `has no pods: those it gets later read the new password (container "app": env PGPASSWORD from key "password")`},
		{name: "deployment/paused", err: "restart deployment/paused: it is paused", hint: "kubectl rollout resume"},
		{name: "deployment/sick", class: unhealthy, err: "it is not healthy before the start: 0 of 1 pods available"},
		{name: "statefulset/by-hand", err: "its update strategy is OnDelete", hint: "to RollingUpdate; to rotate without it, list in `workloads`"},
		{name: "statefulset/operated", change: `has no pods: those it gets later read the new password (container "app": env PGPASSWORD from key "password")`, warning: "managed by Cluster/pg"},
	} {
		change, warnings, err := found[i].Plan(t.Context())
		if test.err != "" {
			if f := wantFailure(t, err, cmp.Or(test.class, refused), test.err); !strings.Contains(f.Hint(), test.hint) {
				t.Errorf("hint %q, want %q", f.Hint(), test.hint)
			}
		} else if err != nil {
			t.Error(err)
		}
		if !slices.Equal(found[i].Unnamed(), []string{"app"}) {
			t.Errorf("%s: without the user name: %q", found[i], found[i].Unnamed())
		}
		if found[i].String() != test.name || change != test.change || !strings.Contains(strings.Join(warnings, "\n"), test.warning) {
			t.Errorf("%s: change %q, warnings %q", found[i], change, warnings)
		}
	}
}

// TestWorkloadPlanUnhealthy goes on in an emergency, and says so.
func TestWorkloadPlanUnhealthy(t *testing.T) {
	c := lab(t)
	putDeployment(t, c, "sick", 1, func(d *appsv1.Deployment) { d.Spec.Template.Spec.NodeSelector = map[string]string{"no": "node"} })
	found, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}}, options(func(o *Options) { o.Unhealthy = Warn }))
	if err != nil {
		t.Fatal(err)
	}
	change, warnings, err := found[0].Plan(t.Context())
	if err != nil || change != `restarts 1 pods (container "app": env PGPASSWORD from key "password")` || len(warnings) != 2 ||
		!strings.HasPrefix(warnings[0], "deployment/sick: it is not healthy before the start: 0 of 1 pods available") {
		t.Errorf("change %q, warnings %q, %v", change, warnings, err)
	}
}

func TestWorkloadPlanForbidden(t *testing.T) {
	admin := lab(t)
	putDeployment(t, admin, "idle", 0, nil)
	w := settledWorkloads(t, admin, Discovery{}, options(nil))[0]
	nobody := as(t, admin)
	for _, k := range nobody.kinds() {
		if k.name == w.kind.name {
			w.cluster, w.kind = nobody, k
		}
	}
	_, _, err := w.Plan(t.Context())
	f := wantFailure(t, err, refused, "forbidden")
	if want := `{apiGroups: ["apps"], resources: ["deployments"], resourceNames: ["idle"], verbs: ["patch"]}`; !strings.Contains(f.Hint(), want) {
		t.Errorf("hint %q, want %q", f.Hint(), want)
	}
}
