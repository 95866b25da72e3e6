package kube

import (
	"encoding/base64"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/pgrotate/pgrotate/internal/secret"
)

const someKubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://127.0.0.1:1"}}]
users:
- {name: token, user: {token: verysecrettoken}}
- {name: gke, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: gke-gcloud-auth-plugin, interactiveMode: Never}}}
- {name: old, user: {auth-provider: {name: azure}}}
contexts:
- {name: prod, context: {cluster: lab, user: token, namespace: alfred}}
- {name: plain, context: {cluster: lab, user: token}}
- {name: gke, context: {cluster: lab, user: gke}}
- {name: old, context: {cluster: lab, user: old}}
- {name: nobody, context: {cluster: lab, user: absent}}
- {name: nowhere, context: {cluster: absent, user: token}}
current-context: prod
`

func TestConnectChoosesNamespace(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte(someKubeconfig))
	for _, test := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"of the current context", Config{Kubeconfig: secret.New(someKubeconfig)}, "alfred"},
		{"base64 in lines", Config{Kubeconfig: secret.New(encoded[:70] + "\n" + encoded[70:] + "\n")}, "alfred"},
		{"of a named context", Config{Kubeconfig: secret.New(someKubeconfig), Context: "plain"}, "default"},
		{"given", Config{Kubeconfig: secret.New(someKubeconfig), Namespace: "mine"}, "mine"},
		{"contents before the path", Config{Kubeconfig: secret.New(someKubeconfig), Path: "/absent"}, "alfred"},
		{"path", Config{Path: writeFile(t, someKubeconfig) + ":/absent"}, "alfred"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.cfg.Keeper = secret.NewKeeper(nil)
			c, err := Connect(test.cfg)
			if err != nil {
				t.Fatal(err)
			}
			if c.namespace != test.want {
				t.Errorf("namespace %q, want %q", c.namespace, test.want)
			}
			if got := test.cfg.Keeper.Scrub("verysecrettoken"); got != "***" {
				t.Errorf("the token is not masked: %q", got)
			}
		})
	}
}

func TestConnectRefuses(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	t.Setenv("PATH", t.TempDir())
	broken := strings.Replace(someKubeconfig, "users:", "users: verysecretpassword", 1)
	without := strings.Replace(someKubeconfig, "current-context: prod", "", 1)
	for _, test := range []struct {
		name       string
		cfg        Config
		want, hint string
	}{
		{"nothing", Config{}, "find the Kubernetes cluster: no kubeconfig was given, $KUBECONFIG is not set", "give the contents"},
		{"context without a kubeconfig", Config{Context: "prod"}, `choose context "prod": there is no kubeconfig`, ""},
		{"neither YAML nor base64", Config{Kubeconfig: secret.New("hello!")}, "read the kubeconfig: neither YAML nor base64", ""},
		{"broken YAML", Config{Kubeconfig: secret.New(broken)}, "read the kubeconfig: not the YAML of a kubeconfig", ""},
		{"base64 of nonsense", Config{Kubeconfig: secret.New("aGVsbG86IFt3b3JsZA==")}, "read the kubeconfig: base64 of something that is not a kubeconfig", ""},
		{"no contexts", Config{Kubeconfig: secret.New("apiVersion: v1\nkind: Config\n")}, "it has no contexts", ""},
		{"unknown context", Config{Kubeconfig: secret.New(someKubeconfig), Context: "test"},
			`choose context "test" of the kubeconfig: it is not there; there are "gke", "nobody", "nowhere", "old", "plain", "prod"`, ""},
		{"no current context", Config{Kubeconfig: secret.New(without)}, "it has no current one, and none was named; it has \"gke\"", ""},
		{"unknown user", Config{Kubeconfig: secret.New(someKubeconfig), Context: "nobody"}, `context "nobody" names user "absent", which is not in it`, ""},
		{"unknown cluster", Config{Kubeconfig: secret.New(someKubeconfig), Context: "nowhere"}, `context "nowhere" names cluster "absent", which is not in it`, ""},
		{"missing plugin", Config{Kubeconfig: secret.New(someKubeconfig), Context: "gke"},
			`user "gke" logs in with the credential plugin "gke-gcloud-auth-plugin", which is not installed here`, "get-gke-credentials"},
		{"removed auth provider", Config{Kubeconfig: secret.New(someKubeconfig), Context: "old"}, `auth provider "azure"`, "kubelogin get-token"},
		{"no file", Config{Path: "/absent/config"}, `read the kubeconfig "/absent/config" of $KUBECONFIG: there is no such file`, ""},
		{"contents for a path", Config{Path: someKubeconfig}, "read the kubeconfig of $KUBECONFIG: it holds no path", "the input `kubeconfig`"},
		{"base64 for a path", Config{Path: base64.StdEncoding.EncodeToString([]byte(someKubeconfig))}, "read the kubeconfig of $KUBECONFIG: it holds no path", ""},
		{"a folder", Config{Path: "/"}, `file "/" cannot be read: is a directory`, ""},
		{"broken file", Config{Path: writeFile(t, broken)}, "is not the YAML of a kubeconfig", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.cfg.Keeper = secret.NewKeeper(nil)
			_, err := Connect(test.cfg)
			var f *failure
			if !errors.As(err, &f) || f.Class() != refused {
				t.Fatalf("error %v, want a refusal", err)
			}
			if !strings.Contains(f.Error(), test.want) || !strings.Contains(f.Hint(), test.hint) {
				t.Errorf("error %q, hint %q; want %q, %q", f, f.Hint(), test.want, test.hint)
			}
			if strings.Contains(f.Error(), "verysecret") {
				t.Errorf("the error holds a secret: %v", f)
			}
		})
	}
}

func TestPluginsGetNoInputs(t *testing.T) {
	t.Setenv("INPUT_POSTGRES-PASSWORD", "Secret1Password")
	t.Setenv("HTTPS_PROXY", "http://proxy.internal")
	plugin := &api.ExecConfig{Command: "/bin/sh", Env: []api.ExecEnvVar{{Name: "PROFILE", Value: "prod"}}}
	if err := usable(&api.AuthInfo{Exec: plugin}, "prod", "the kubeconfig"); err != nil {
		t.Fatal(err)
	}
	env := os.Environ()
	for _, one := range plugin.Env { // as client-go adds them
		env = append(env, one.Name+"="+one.Value)
	}
	printed := exec.Command("/usr/bin/env")
	printed.Env = env
	out, err := printed.Output()
	if err != nil || strings.Contains(string(out), "Secret1Password") || !strings.Contains(string(out), "PROFILE=prod") || !strings.Contains(string(out), "HTTPS_PROXY=http") {
		t.Errorf("%v, the plugin gets:\n%s", err, out)
	}
}

func TestConnectTakesInstalledPlugin(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("PATH", folder)
	if err := os.WriteFile(filepath.Join(folder, "gke-gcloud-auth-plugin"), []byte("#!/bin/true\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Connect(Config{Kubeconfig: secret.New(someKubeconfig), Context: "gke", Keeper: secret.NewKeeper(nil)}); err != nil {
		t.Error(err)
	}
}

func TestRecipes(t *testing.T) {
	for plugin, want := range map[string]string{
		"gke-gcloud-auth-plugin": "get-gke-credentials", "aws": "aws eks get-token", "aws-iam-authenticator": "aws eks get-token",
		"kubelogin": "kubelogin get-token", "tsh": "kubectl create token",
	} {
		if got := recipe(plugin); !strings.Contains(got, want) {
			t.Errorf("recipe(%q) = %q, lacks %q", plugin, got, want)
		}
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
