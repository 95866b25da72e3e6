package kube

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// lab connects to the lab's cluster as its administrator, in a namespace that
// is made for the test.
func lab(t *testing.T) *Cluster {
	t.Helper()
	text, err := os.ReadFile(labtest.Open(t).Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	name := "kube-test-" + strings.ToLower(rand.Text()[:8])
	c, err := Connect(Config{Kubeconfig: secret.New(string(text)), Namespace: name, Keeper: secret.NewKeeper(nil)})
	if err != nil {
		t.Fatal(err)
	}
	namespaces := resource[*corev1.Namespace, *corev1.NamespaceList]{c.core, c.codec, "", "namespaces",
		func() *corev1.Namespace { return &corev1.Namespace{} }, func() *corev1.NamespaceList { return &corev1.NamespaceList{} }}
	if _, err := namespaces.create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { erase(t, c, "namespaces", "", name) })
	return c
}

func erase(t *testing.T, c *Cluster, plural, namespace, name string) {
	t.Helper()
	request := c.core.Delete().NamespaceIfScoped(namespace, namespace != "").Resource(plural).Name(name)
	if err := request.Do(context.Background()).Error(); err != nil {
		t.Errorf("delete %s %q: %v", plural, name, err)
	}
}

// putSecret creates a Secret, or replaces the one that is there.
func putSecret(t *testing.T, c *Cluster, o *corev1.Secret) *corev1.Secret {
	t.Helper()
	made, err := c.secrets().create(t.Context(), o)
	if err != nil {
		t.Fatalf("create Secret %q: %v", o.Name, err)
	}
	return made
}

func readSecret(t *testing.T, c *Cluster, name string) *corev1.Secret {
	t.Helper()
	o, err := c.secrets().get(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func mergePatch(t *testing.T, c *Cluster, name, body string) {
	t.Helper()
	if _, err := c.secrets().patch(t.Context(), name, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

// as connects as a service account that has only the given rules in the namespace of admin.
func as(t *testing.T, admin *Cluster, rules ...string) *Cluster {
	t.Helper()
	name := "tester-" + strings.ToLower(rand.Text()[:8])
	role := `{"metadata":{"name":"` + name + `"},"rules":[` + strings.Join(rules, ",") + `]}`
	binding := `{"metadata":{"name":"` + name + `"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"` + name + `"},` +
		`"subjects":[{"kind":"ServiceAccount","namespace":"` + admin.namespace + `","name":"` + name + `"}]}`
	for plural, body := range map[string]string{"roles": role, "rolebindings": binding} {
		request := admin.core.Post().AbsPath("/apis/rbac.authorization.k8s.io/v1/namespaces", admin.namespace, plural)
		if err := request.SetHeader("Content-Type", "application/json").Body([]byte(body)).Do(t.Context()).Error(); err != nil {
			t.Fatalf("create %s: %v", plural, err)
		}
	}
	c := &Cluster{config: rest.CopyConfig(admin.config), namespace: admin.namespace, keeper: admin.keeper}
	c.config.Impersonate.UserName = "system:serviceaccount:" + admin.namespace + ":" + name
	if err := c.dial(); err != nil {
		t.Fatal(err)
	}
	awaitRules(t, c, rules)
	return c
}

// awaitRules waits until the API server has taken notice of new rules.
func awaitRules(t *testing.T, c *Cluster, rules []string) {
	t.Helper()
	for _, text := range rules {
		var r struct {
			APIGroups, Resources, ResourceNames, Verbs []string
		}
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		resource, subresource, _ := strings.Cut(r.Resources[0], "/")
		a := authorizationv1.ResourceAttributes{Group: r.APIGroups[0], Resource: resource, Subresource: subresource, Verb: r.Verbs[0]}
		if len(r.ResourceNames) > 0 {
			a.Name = r.ResourceNames[0]
		}
		err := wait.PollUntilContextCancel(t.Context(), 10*time.Millisecond, true, func(ctx context.Context) (bool, error) { return c.allowed(ctx, a) })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// wantFailure demands an error of that class with that text in it.
func wantFailure(t *testing.T, err error, class, text string) *failure {
	t.Helper()
	var f *failure
	if !errors.As(err, &f) || f.Class() != class || !strings.Contains(err.Error(), text) {
		t.Fatalf("error %v, want class %q and %q", err, class, text)
	}
	return f
}
