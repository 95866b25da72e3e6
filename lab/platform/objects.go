package platform

import (
	"context"
	_ "embed"
	"fmt"
	"strings"
	"text/template"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apps "k8s.io/client-go/applyconfigurations/apps/v1"
	core "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/pgrotate/pgrotate/lab/image"
)

var (
	//go:embed deployment.yaml
	deploymentYAML string
	//go:embed statefulset.yaml
	statefulSetYAML string
)

// apply makes the cluster have the platform, by server-side apply: what is as it
// should be stays as it is.
func (p Platform) apply(ctx context.Context, client *kubernetes.Clientset, password string, server address) error {
	options := metav1.ApplyOptions{FieldManager: owner, Force: true}
	namespace := core.Namespace(Namespace).WithLabels(map[string]string{ownerLabel: owner})
	if _, err := client.CoreV1().Namespaces().Apply(ctx, namespace, options); err != nil {
		return fmt.Errorf("apply the namespace %q: %w", Namespace, err)
	}
	if err := putSecret(ctx, client, password); err != nil {
		return err
	}
	made := time.Now()
	for _, name := range Deployments() {
		deployment, err := p.deployment(name, server, made)
		if err != nil {
			return err
		}
		if _, err := client.AppsV1().Deployments(Namespace).Apply(ctx, deployment, options); err != nil {
			return fmt.Errorf("apply the Deployment %q: %w", name, err)
		}
	}
	set, err := p.statefulSet(server)
	if err != nil {
		return err
	}
	if _, err := client.AppsV1().StatefulSets(Namespace).Apply(ctx, set, options); err != nil {
		return fmt.Errorf("apply the StatefulSet %q: %w", *set.Name, err)
	}
	return nil
}

// putSecret makes the Secret as the runbook does, anew: one that is applied
// belongs to whoever applies it, who would put an old password back.
func putSecret(ctx context.Context, client *kubernetes.Clientset, password string) error {
	secrets := client.CoreV1().Secrets(Namespace)
	if err := secrets.Delete(ctx, Secret, metav1.DeleteOptions{}); err != nil && !errors.IsNotFound(err) {
		return fmt.Errorf("delete the Secret %q: %w", Secret, err)
	}
	_, err := secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: Secret}, StringData: map[string]string{
		"username": Role, "password": password, "database": Database,
	}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create the Secret %q: %w", Secret, err)
	}
	return nil
}

// address is where the server listens.
type address struct {
	host string
	port uint16
}

func (p Platform) deployment(name string, server address, made time.Time) (*apps.DeploymentApplyConfiguration, error) {
	values := p.values(server)
	values["Name"], values["Image"], values["Made"] = name, image.Service, made.UTC().Format(time.RFC3339Nano)
	values["Whole"] = name == "contact-ingest" // takes all keys, the others name theirs
	deployment := apps.Deployment("", "")
	return deployment, decode(deploymentYAML, values, deployment)
}

func (p Platform) statefulSet(server address) (*apps.StatefulSetApplyConfiguration, error) {
	values := p.values(server)
	values["Image"], values["PodPort"] = image.Forward, p.Port
	set := apps.StatefulSet("", "")
	return set, decode(statefulSetYAML, values, set)
}

func (p Platform) values(server address) map[string]any {
	return map[string]any{
		"Namespace": Namespace, "Secret": Secret, "Replicas": Replicas, "Logins": p.Logins,
		"Host": server.host, "ServerPort": server.port, "SSLMode": p.SSLMode,
	}
}

// decode fills in a manifest and reads it.
func decode(text string, values map[string]any, into any) error {
	t, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		return fmt.Errorf("parse a manifest: %w", err)
	}
	var b strings.Builder
	if err := t.Execute(&b, values); err != nil {
		return fmt.Errorf("fill in a manifest: %w", err)
	}
	if err := yaml.UnmarshalStrict([]byte(b.String()), into); err != nil {
		return fmt.Errorf("read a manifest: %w", err)
	}
	return nil
}
