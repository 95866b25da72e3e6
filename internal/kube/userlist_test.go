package kube

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// salt is that of RFC 7677.
const salt = "W22ZaJ0SNY7soEsUEjb6gQ=="

// TestVerifies knows a verifier of the password from those of others.
func TestVerifies(t *testing.T) {
	verifier := func(password string) string { return secret.SCRAM(password, salt, 4096) }
	mine, others := verifier("former-password"), verifier("another-password")
	slow := strings.Replace(others, "$4096:", "$10000001:", 1)
	for _, test := range []struct {
		name, text string
		whole      bool
		want       bool
	}{
		{"SCRAM alone", mine, true, true},
		{"SCRAM in a list", fmt.Sprintf("\"metrics\" %q\n\"app\" %q\n", others, mine), false, true},
		{"SCRAM with few iterations", secret.SCRAM("former-password", salt, 1), true, true},
		{"md5 alone", secret.MD5("app", "former-password"), true, true},
		{"md5 in a list", fmt.Sprintf("%q %q", "app", secret.MD5("app", "former-password")), false, true},
		{"too slow to judge", slow, true, true},
		{"too slow, and of another user", fmt.Sprintf("%q %q", "metrics", slow), false, false},
		{"another password", others, false, false},
		{"md5 of another user", secret.MD5("metrics", "former-password"), false, false},
		{"md5 of another password", secret.MD5("app", "another-password"), false, false},
		{"cut off", mine[:len(mine)-1], false, false},
		{"no salt", strings.Replace(mine, salt, "====", 1), false, false},
		{"nothing", "", false, false},
	} {
		property, got := verifies(test.text, "app", "former-password")
		if got != test.want || (property == Verifier) != test.whole {
			t.Errorf("%s: %v, %q", test.name, got, property)
		}
	}
}

// TestVerifiersOfTheCurrentPasswordAreRefused: PgBouncer would refuse everybody
// after the rotation.
func TestVerifiersOfTheCurrentPasswordAreRefused(t *testing.T) {
	mine, others := secret.SCRAM("b", salt, 4096), secret.SCRAM("another-password", salt, 4096)
	const list = "let the container make its list of that, or take the verifier out of the Secret: see docs/pgbouncer.md"
	for _, test := range []struct {
		name       string
		mapping    Mapping
		change     func(*corev1.Secret)
		text, hint string
	}{
		{"a list", nil, func(o *corev1.Secret) { o.Data["userlist.txt"] = fmt.Appendf(nil, "%q %q\n", "app", mine) }, `key "userlist.txt"`, list},
		{"a key of its own", nil, func(o *corev1.Secret) { o.Data["verifier"] = []byte(mine) }, `key "verifier"`, "`password=password`, `username=username`, `verifier=verifier`"},
		{"an annotation", nil, func(o *corev1.Secret) { o.Annotations = map[string]string{"pooler": mine} }, `annotation "pooler"`, list},
		{"mapped", Mapping{"username": Username, "password": Password, "verifier": Verifier}, func(o *corev1.Secret) { o.Data["verifier"] = []byte(mine) }, "", ""},
		{"a list of others", nil, func(o *corev1.Secret) { o.Data["userlist.txt"] = fmt.Appendf(nil, "%q %q\n", "metrics", others) }, "", ""},
		{"no password", nil, func(o *corev1.Secret) {
			o.Data["userlist.txt"] = fmt.Appendf(nil, "%q %q\n", "app", secret.SCRAM("", salt, 4096))
			delete(o.Data, "password")
		}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, o := unstored(test.mapping, map[string]string{"username": "app", "password": "b"}) // short: what may stand somewhere by chance
			test.change(o)
			err := h.verifiers(o, "app", h.mapping.read(o.Data, secret.New).Password)
			if test.text == "" && err != nil {
				t.Error(err)
			}
			if test.text == "" {
				return
			}
			f := wantFailure(t, err, refused, `rotate Secret "shop/postgres-credentials": `+test.text+" holds a verifier of the current password and is not mapped")
			if !strings.Contains(f.Hint(), test.hint) {
				t.Errorf("hint %q, want %q", f.Hint(), test.hint)
			}
		})
	}
}

// TestPlanAsksForVerifiersAndNames: of the served Secret and of a copy.
func TestPlanAsksForVerifiersAndNames(t *testing.T) {
	const path = "/api/v1/namespaces/alfred/secrets/"
	api := &secretsAPI{objects: map[string]*corev1.Secret{}}
	for _, name := range []string{"served", "copy"} {
		api.objects[path+name] = &corev1.Secret{TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "alfred"},
			Data: bytesOf(map[string]string{"username": "app", "password": "former-password", "PGUSER": "app", "id": "app", "userlist.txt": secret.MD5("app", "former-password") + "\n"})}
	}
	delete(api.objects[path+"copy"].Data, "username") // the served Secret says whom it is of
	served := answering(t, api.serve).Served("served", nil, Refuse)
	copies, err := served.Copies([]string{"copy"})
	if err != nil {
		t.Fatal(err)
	}
	next := secret.Credential{User: "app_alt", Password: secret.New("brand-new-password")}
	for name, plan := range map[string]func(context.Context, secret.Credential) (string, []string, error){"served": served.Plan, "copy": copies[0].Plan} {
		_, warnings, err := plan(t.Context(), next)
		wantFailure(t, err, refused, `rotate Secret "alfred/`+name+`": key "userlist.txt" holds a verifier of the current password`)
		wantFailure(t, err, refused, `serve another user in Secret "alfred/`+name+`": key "PGUSER" holds the name of the served one`)
		if len(warnings) != 1 || !strings.Contains(warnings[0], `key "id" is the name of the served user`) {
			t.Errorf("%s: warnings %q", name, warnings)
		}
	}
}
