package kube

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"k8s.io/client-go/tools/clientcmd/api"
)

// usable tells whether a user of a kubeconfig can log in from here. A user that
// needs a program of a cloud provider is told before anything starts: the
// program is not in the image.
func usable(user *api.AuthInfo, name, source string) error {
	if user == nil {
		return nil
	}
	if user.AuthProvider != nil {
		return fail(refused, recipe(user.AuthProvider.Name),
			"read %s: user %q logs in with the auth provider %q, which Kubernetes has removed", source, name, user.AuthProvider.Name)
	}
	if user.Exec == nil {
		return nil
	}
	if _, err := exec.LookPath(user.Exec.Command); err != nil {
		return fail(refused, recipe(filepath.Base(user.Exec.Command)),
			"read %s: user %q logs in with the credential plugin %q, which is not installed here", source, name, user.Exec.Command)
	}
	withoutInputs(user.Exec)
	return nil
}

// withoutInputs gives the plugin, which gets the environment of this process, none
// of the action's inputs: passwords and tokens are among them. Of two variables of
// a name the later one counts.
func withoutInputs(plugin *api.ExecConfig) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "INPUT_") {
			plugin.Env = append(plugin.Env, api.ExecEnvVar{Name: name})
		}
	}
}

// recipe tells how to get a kubeconfig that needs no plugin.
// https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
func recipe(plugin string) string {
	const head = "mint a token in an earlier step and give a kubeconfig that holds it: "
	switch plugin {
	case "gke-gcloud-auth-plugin", "gcloud", "gcp":
		return head + "`uses: google-github-actions/get-gke-credentials` writes such a file to $KUBECONFIG"
	case "aws", "aws.exe", "aws-iam-authenticator":
		return head + "`kubectl config set-credentials USER --token=\"$(aws eks get-token --cluster-name CLUSTER --query status.token --output text)\"`, " +
			"good for 15 minutes"
	case "kubelogin", "kubelogin.exe", "azure":
		return head + "`kubectl config set-credentials USER --token=\"$(kubelogin get-token --login azurecli " +
			"--server-id 6dae42f8-4368-4678-94ff-3960e28e3630 | jq -r .status.token)\"`"
	}
	return head + "`kubectl create token SERVICEACCOUNT --duration 1h` makes one for a service account of the cluster"
}
