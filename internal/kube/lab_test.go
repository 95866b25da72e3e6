package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// wantFailure demands an error of that class with that text in it.
func wantFailure(t *testing.T, err error, class, text string) *failure {
	t.Helper()
	var f *failure
	if !errors.As(err, &f) || f.Class() != class || !strings.Contains(err.Error(), text) {
		t.Fatalf("error %v, want class %q and %q", err, class, text)
	}
	return f
}
