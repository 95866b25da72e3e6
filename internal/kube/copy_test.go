package kube

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgrotate/pgrotate/internal/secret"
)

const copyName = "reports-credentials"

// copySecret holds the credential of servedSecret beside things of its own.
func copySecret(url string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: copyName, Labels: map[string]string{"team": "reports"}, Annotations: map[string]string{"note": "ours"}},
		Data:       bytesOf(map[string]string{"username": "alfred_user", "password": "former-password", "DATABASE_URL": url, "region": "eu", "binary": "\x00\xff"}),
	}
}

// copied makes the served Secret, and a copy of it in another namespace.
func copied(t *testing.T, o *corev1.Secret) (served *Served, c *Copy, there *Cluster) {
	t.Helper()
	home := lab(t)
	there = lab(t)
	putSecret(t, home, servedSecret())
	putSecret(t, there, o)
	served = home.Served(servedName, urlMapping, Refuse)
	copies, err := served.Copies([]string{there.namespace + "/" + copyName})
	if err != nil {
		t.Fatal(err)
	}
	return served, copies[0], there
}

// TestCopyIsWrittenWhereTheServerIsAwayForAMoment, whether it has done what it was asked
// for or not.
func TestCopyIsWrittenWhereTheServerIsAwayForAMoment(t *testing.T) {
	for _, test := range []struct {
		name        string
		away        int
		done        bool
		left, class string
	}{
		{"once, before it writes", 1, false, "brand-new-password", ""},
		{"once, after it has written", 1, true, "brand-new-password", ""},
		{"for longer", 99, false, "former-password", unavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			api, writes := newSecretsAPI(), 0
			c, next := api.planned(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPatch || r.URL.Query().Has("dryRun") {
					api.serve(w, r)
					return
				}
				if writes++; writes > test.away {
					api.serve(w, r)
					return
				}
				if test.done {
					api.serve(httptest.NewRecorder(), r)
				}
				reply(w, http.StatusServiceUnavailable, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: http.StatusServiceUnavailable})
			})
			err := c.Set(t.Context(), next, stillHeld)
			if (err != nil) != (test.class != "") || err != nil && classOf(err) != test.class || api.holds() != test.left || writes > hiccups {
				t.Errorf("%d writes, holds %q, %v", writes, api.holds(), err)
			}
		})
	}
}

func TestCopiesRefusesLines(t *testing.T) {
	served := (&Cluster{namespace: "shop"}).Served(servedName, nil, Refuse)
	copies, err := served.Copies([]string{"other", "b/other", "other", "shop/other", servedName, "shop/" + servedName, servedName + "-rotation", "/x", "a/b/c", "Bad_Name", ""})
	if copies != nil {
		t.Error("a part of the list is returned")
	}
	want := []string{`"other": Secret "shop/other" is named twice`, `"shop/other": Secret "shop/other" is named twice`,
		`"postgres-credentials": Secret "shop/postgres-credentials" is the served Secret itself`,
		`"shop/postgres-credentials": Secret "shop/postgres-credentials" is the served Secret itself`,
		`"postgres-credentials-rotation": Secret "shop/postgres-credentials-rotation" is the journal`,
		`"/x": want [namespace/]name of a Secret`, `"a/b/c": want [namespace/]name of a Secret`, `"Bad_Name": want [namespace/]name of a Secret`, `"": want [namespace/]name of a Secret`}
	if err == nil || err.Error() != strings.Join(want, "\n") {
		t.Errorf("error\n%v\nwant\n%s", err, strings.Join(want, "\n"))
	}

	copies, err = served.Copies([]string{"other", "b/other"})
	if err != nil || len(copies) != 2 || copies[0].String() != `Secret "shop/other"` || copies[1].String() != `Secret "b/other"` {
		t.Errorf("copies %v, %v", copies, err)
	}
}

// TestCopyGoesThereAndBack spells the user in a way that this package would not.
func TestCopyGoesThereAndBack(t *testing.T) {
	served, c, there := copied(t, copySecret("postgres://alfred%5Fuser:former-password@replica.reports:5433/reports?sslmode=require\n"))
	before := readSecret(t, there, copyName)
	next := rendered(t, served)
	if err := c.Set(t.Context(), next, stillHeld); err != nil {
		t.Fatal(err)
	}
	after := readSecret(t, there, copyName)
	want := maps.Clone(before.Data)
	want["password"] = []byte("brand-new-password")
	want["DATABASE_URL"] = []byte("postgres://alfred%5Fuser:brand-new-password@replica.reports:5433/reports?sslmode=require\n")
	if !reflect.DeepEqual(after.Data, want) || !reflect.DeepEqual(after.Annotations, before.Annotations) || !reflect.DeepEqual(after.Labels, before.Labels) {
		t.Errorf("the copy is %v %q, want %v %q", after.Annotations, after.Data, before.Annotations, want)
	}
	if err := c.Set(t.Context(), next, stillHeld); err != nil {
		t.Fatal(err)
	}
	if again := readSecret(t, there, copyName); again.ResourceVersion != after.ResourceVersion {
		t.Error("the same again was written")
	}
	snapshot, err := served.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), snapshot.Credential, stillHeld); err != nil {
		t.Fatal(err)
	}
	if back := readSecret(t, there, copyName); !reflect.DeepEqual(back.Data, before.Data) {
		t.Errorf("after the way back %q, want %q", back.Data, before.Data)
	}
}

// TestCopyOfTheSameText gets even an unusual spelling of the password back: it
// is that of the served Secret.
func TestCopyOfTheSameText(t *testing.T) {
	const odd = "postgres://alfred_user:former%2Dpassword@db:5432/alfred_db"
	served, c, there := copied(t, copySecret(odd))
	mergePatch(t, served.cluster, servedName, `{"data":{"DATABASE_URL":null},"stringData":{"DATABASE_URL":"`+odd+`"}}`)
	snapshot, err := served.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, cred := range []secret.Credential{rendered(t, served), snapshot.Credential} {
		if err := c.Set(t.Context(), cred, stillHeld); err != nil {
			t.Fatal(err)
		}
	}
	if o := readSecret(t, there, copyName); string(o.Data["DATABASE_URL"]) != odd {
		t.Errorf("the URL came back as %q", o.Data["DATABASE_URL"])
	}
}

func TestCopyPlan(t *testing.T) {
	const url = "postgres://alfred_user:former-password@replica/reports"
	for _, test := range []struct {
		name       string
		change     func(*corev1.Secret)
		text, hint string // of a refusal; empty: none
	}{
		{name: "a copy"},
		{name: "without a key", change: func(o *corev1.Secret) { delete(o.Data, "DATABASE_URL") }, text: `key "DATABASE_URL", mapped to "url": the Secret has no such key`},
		{name: "not mapped", change: func(o *corev1.Secret) { o.Data["PGPASS"] = []byte("former-password") },
			text: `key "PGPASS" holds the current password and is not mapped`, hint: "`PGPASS=password`"},
		{name: "another role", change: func(o *corev1.Secret) {
			o.Data["username"], o.Data["DATABASE_URL"] = []byte("other"), []byte("postgres://other:former-password@replica/reports")
		}, text: `it holds the credential of "other"`, hint: "take it out of the copies"},
		{name: "another password", change: func(o *corev1.Secret) {
			o.Data["password"], o.Data["DATABASE_URL"] = []byte("stale"), []byte("postgres://alfred_user:stale@replica/reports")
		}, text: "it holds another password than", hint: "put the served credential into it"},
		{name: "immutable", change: func(o *corev1.Secret) { o.Immutable = new(true) }, text: "it is immutable"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := copySecret(url)
			if test.change != nil {
				test.change(o)
			}
			_, c, there := copied(t, o)
			before := readSecret(t, there, copyName)
			change, _, err := c.Plan(t.Context(), secret.Credential{User: "alfred_user", Password: secret.New("brand-new-password")})
			switch {
			case test.text != "":
				if f := wantFailure(t, err, refused, test.text); !strings.Contains(f.Hint(), test.hint) {
					t.Errorf("hint %q, want %q", f.Hint(), test.hint)
				}
			case err != nil || change != `writes "DATABASE_URL", "password"`:
				t.Errorf("change %q, %v", change, err)
			}
			if after := readSecret(t, there, copyName); after.ResourceVersion != before.ResourceVersion {
				t.Error("the plan changed the copy")
			}
		})
	}
}

func TestCopyForbidden(t *testing.T) {
	served, _, there := copied(t, copySecret("postgres://alfred_user:former-password@replica/reports"))
	reader := as(t, there, `{"apiGroups":[""],"resources":["secrets"],"resourceNames":["`+copyName+`"],"verbs":["get"]}`)
	copies, err := served.Copies([]string{there.namespace + "/" + copyName})
	if err != nil {
		t.Fatal(err)
	}
	copies[0].cluster = reader
	next := rendered(t, served)
	_, _, planned := copies[0].Plan(t.Context(), next)
	for _, err := range []error{planned, copies[0].Set(t.Context(), next, stillHeld)} {
		f := wantFailure(t, err, refused, "forbidden")
		if want := `in namespace "` + there.namespace + `": {apiGroups: [""], resources: ["secrets"], resourceNames: ["` + copyName + `"], verbs: ["get", "patch"]}`; !strings.Contains(f.Hint(), want) {
			t.Errorf("hint %q, want %q", f.Hint(), want)
		}
	}
}

func stillHeld(context.Context) error { return nil }

// TestCopyIsNotWrittenOver: whoever wrote it after the lock was last held keeps what he
// has written; what was written before that is written over.
func TestCopyIsNotWrittenOver(t *testing.T) {
	served, c, there := copied(t, copySecret("postgres://alfred_user:former-password@replica/reports"))
	next := rendered(t, served)
	if _, _, err := c.Plan(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	asked, gone := 0, errors.New("the lock is gone")
	err := c.Set(t.Context(), next, func(context.Context) error {
		if asked++; asked > 1 {
			return gone
		}
		mergePatch(t, there, copyName, `{"data":{"password":"b3RoZXI="}}`)
		return nil
	})
	if o := readSecret(t, there, copyName); !errors.Is(err, gone) || asked != 2 || string(o.Data["password"]) != "other" {
		t.Errorf("asked %d times, %v, it holds %q", asked, err, o.Data["password"])
	}
	if err := c.Set(t.Context(), next, stillHeld); err != nil {
		t.Error(err)
	}
	if o := readSecret(t, there, copyName); string(o.Data["password"]) != "brand-new-password" {
		t.Errorf("it holds %q", o.Data["password"])
	}
}

func TestCopyOverwritten(t *testing.T) {
	served, c, there := copied(t, copySecret("postgres://alfred_user:former-password@replica/reports"))
	next := rendered(t, served)
	if err := c.Set(t.Context(), next, stillHeld); err != nil {
		t.Fatal(err)
	}
	written, err := c.Verify(t.Context(), next)
	if err != nil || written.IsZero() {
		t.Fatalf("verify: %v, %v", written, err)
	}
	somebody := there.secrets()
	_, err = somebody.call(t.Context(), somebody.rest.Patch(types.MergePatchType).Name(copyName).Param("fieldManager", "somebody").Body([]byte(`{"metadata":{"labels":{"x":"y"}},"data":{"region":"dXM="}}`)))
	if err != nil {
		t.Fatal(err)
	}
	if at, err := c.Updated(t.Context()); err != nil || !at.Equal(written) {
		t.Errorf("a foreign key moved the time from %v to %v, %v", written, at, err)
	}
	mergePatch(t, there, copyName, `{"data":{"password":"b3RoZXI="}}`)
	_, err = c.Verify(t.Context(), next)
	wantFailure(t, err, unhealthy, `somebody else has changed key "password"`)
	if err := c.Set(t.Context(), next, stillHeld); err != nil {
		t.Fatal(err)
	}
	if o := readSecret(t, there, copyName); string(o.Data["region"]) != "us" || string(o.Data["password"]) != "brand-new-password" {
		t.Errorf("after another write: %q", o.Data)
	}

	erase(t, there, "secrets", there.namespace, copyName)
	if at, err := c.Updated(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("updated %v, %v of a copy that is not there", at, err)
	}
	f := wantFailure(t, c.Set(t.Context(), next, stillHeld), missing, "there is no such Secret")
	if !strings.Contains(f.Hint(), "recreate it") {
		t.Errorf("hint %q", f.Hint())
	}
}

func TestWrittenIsTheYoungestMappedKey(t *testing.T) {
	entry := func(second int64, fields string) metav1.ManagedFieldsEntry {
		at := metav1.Unix(second, 0)
		return metav1.ManagedFieldsEntry{Time: &at, FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)}}
	}
	o := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.Unix(10, 0), ManagedFields: []metav1.ManagedFieldsEntry{
		entry(20, `{"f:data":{"f:password":{}}}`), entry(40, `{"f:data":{"f:region":{}}}`), entry(50, `{"f:metadata":{}}`), entry(30, `{"f:stringData":{"f:username":{}}}`), {}}}}
	h := &holder{mapping: urlMapping}
	if got := h.written(o).Unix(); got != 30 {
		t.Errorf("written at %d, want 30", got)
	}
	o.ManagedFields = o.ManagedFields[1:3]
	if got := h.written(o).Unix(); got != 10 {
		t.Errorf("written at %d, want the creation", got)
	}
}

// TestWorkloadsOfCopies looks in every namespace that holds the credential.
func TestWorkloadsOfCopies(t *testing.T) {
	home, there := lab(t), lab(t)
	putDeployment(t, home, "shop", 0, nil)
	putDeployment(t, there, "shop", 0, nil)
	putDeployment(t, there, "stranger", 0, readsNothing)
	secrets := []string{servedName, there.namespace + "/" + servedName}
	for _, test := range []struct{ listed, want []string }{
		{nil, []string{"deployment/shop", there.namespace + "/deployment/shop"}},
		{[]string{there.namespace + "/deploy/stranger"}, []string{there.namespace + "/deployment/stranger"}},
		{[]string{there.namespace + "/deploy/shop", "deploy/shop"}, []string{"deployment/shop", there.namespace + "/deployment/shop"}},
	} {
		found, err := home.Workloads(t.Context(), Discovery{Secrets: secrets, Listed: test.listed}, options(nil))
		if err != nil || !slices.Equal(stringsOf(found), test.want) {
			t.Errorf("%q: found %q, %v; want %q", test.listed, stringsOf(found), err, test.want)
		}
	}
	found, err := home.Workloads(t.Context(), Discovery{Secrets: []string{servedName, there.namespace + "/" + copyName}}, options(nil))
	if err != nil || !slices.Equal(stringsOf(found), []string{"deployment/shop"}) {
		t.Errorf("a Secret of that name in another namespace was taken for the copy: %q, %v", stringsOf(found), err)
	}
}

// TestWorkloadsOfCopiesForbidden has an error beside what is found elsewhere.
func TestWorkloadsOfCopiesForbidden(t *testing.T) {
	home, there := lab(t), lab(t)
	putDeployment(t, home, "shop", 0, nil)
	var rules []string
	for _, plural := range []string{"deployments", "statefulsets", "daemonsets"} {
		rules = append(rules, `{"apiGroups":["apps"],"resources":["`+plural+`"],"verbs":["list","watch"]}`)
	}
	rules = append(rules, `{"apiGroups":["batch"],"resources":["cronjobs"],"verbs":["list"]}`, `{"apiGroups":[""],"resources":["pods"],"verbs":["list","watch","delete"]}`)
	c := as(t, home, rules...)
	if _, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}}, options(nil)); err != nil {
		t.Fatal(err)
	}
	found, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName, there.namespace + "/" + copyName}}, options(nil))
	if f := wantFailure(t, err, refused, "list deployments"); len(found) != 1 || !strings.Contains(f.Hint(), `in namespace "`+there.namespace+`"`) {
		t.Errorf("found %q, hint %q", stringsOf(found), f.Hint())
	}
}
