// Package platform puts a small platform into the cluster, one that needs a
// PostgreSQL role: its Secret, three Deployments that log in all the time, and
// the pod that leads to the server.
package platform

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// What the platform is made of.
const (
	Namespace = "alfred"
	Secret    = "postgres-credentials"
	Role      = "alfred_user"
	Database  = "alfred_db"
	Replicas  = 2
	// PostgresPod is the only pod of StatefulSet postgres.
	PostgresPod = "postgres-0"
)

// The label of what the lab may change and delete.
const (
	ownerLabel = "app.kubernetes.io/managed-by"
	owner      = "pgrotate-lab"
)

// Deployments returns the names of the Deployments.
func Deployments() []string { return []string{"alfred-core", "contact-ingest", "model-registry"} }

// Platform is the part that runs the platform.
type Platform struct {
	// Client returns a client that may do everything in Namespace. Required.
	Client func() (*kubernetes.Clientset, error)
	// Servers returns the superuser's URLs of the servers that get the role. The
	// services log in to the first. Required.
	Servers func() ([]string, error)
	// SSLMode is how the services log in, as in libpq.
	SSLMode string
	Logins  string // required; folder on the node for the records of refused logins
	Port    int    // required; of the pod that leads to the server
}

// Start makes the role with a new password, and the platform that uses it.
func (p Platform) Start(ctx context.Context) error {
	client, err := p.Client()
	if err != nil {
		return err
	}
	if _, err := owned(ctx, client); err != nil {
		return err
	}
	servers, err := p.Servers()
	if err != nil {
		return err
	}
	password := rand.Text()
	for _, server := range servers {
		if err := provide(ctx, server, password); err != nil {
			return err
		}
	}
	config, err := pgconn.ParseConfig(servers[0])
	if err != nil {
		return fmt.Errorf("read the address of the server: it is no connection string")
	}
	return p.apply(ctx, client, password, address{config.Host, config.Port})
}

// Ready tells whether every pod is.
func (p Platform) Ready(ctx context.Context) error {
	client, err := p.Client()
	if err != nil {
		return err
	}
	if err := rolledOut(ctx, client); err != nil {
		return err
	}
	pod, err := client.AppsV1().StatefulSets(Namespace).Get(ctx, "postgres", metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get the StatefulSet: %w", err)
	}
	if pod.Status.ReadyReplicas != 1 {
		return fmt.Errorf("the pod %q is not ready", PostgresPod)
	}
	return nil
}

// rolledOut tells whether all Deployments are complete.
func rolledOut(ctx context.Context, client kubernetes.Interface) error {
	deployments, err := client.AppsV1().Deployments(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "tier=backend"})
	if err != nil {
		return fmt.Errorf("list the Deployments: %w", err)
	}
	if n := len(deployments.Items); n != len(Deployments()) {
		return fmt.Errorf("there are %d Deployments", n)
	}
	for _, d := range deployments.Items {
		if !complete(d) {
			return fmt.Errorf("the Deployment %q has %d ready pods", d.Name, d.Status.ReadyReplicas)
		}
	}
	return nil
}

// complete tells whether the last change of d has been rolled out.
func complete(d appsv1.Deployment) bool {
	s := d.Status
	return s.ObservedGeneration >= d.Generation &&
		s.Replicas == Replicas && s.UpdatedReplicas == Replicas && s.AvailableReplicas == Replicas
}

// Rest ends the pods of the Deployments, which take processor time by their
// logins. Start brings them back.
func (p Platform) Rest(ctx context.Context) error {
	client, err := p.Client()
	if err != nil {
		return err
	}
	if here, err := owned(ctx, client); err != nil || !here {
		return err
	}
	none := []byte(`{"spec":{"replicas":0}}`)
	for _, name := range Deployments() {
		_, err := client.AppsV1().Deployments(Namespace).Patch(ctx, name, types.MergePatchType, none, metav1.PatchOptions{}, "scale")
		if err != nil {
			return fmt.Errorf("scale the Deployment %q: %w", name, err)
		}
	}
	return nil
}

// Stop removes the platform from the cluster and waits until it is gone. The
// role and its database stay.
func (p Platform) Stop(ctx context.Context) error {
	client, err := p.Client()
	if err != nil {
		return err
	}
	for {
		here, err := owned(ctx, client)
		if err != nil || !here {
			return err
		}
		err = client.CoreV1().Namespaces().Delete(ctx, Namespace, metav1.DeleteOptions{})
		if err != nil && !errors.IsConflict(err) && !errors.IsNotFound(err) { // a conflict: it is on its way
			return fmt.Errorf("delete the namespace %q: %w", Namespace, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("delete the namespace %q: %w", Namespace, context.Cause(ctx))
		case <-time.After(time.Second):
		}
	}
}

// owned tells whether the namespace is there, and refuses one that somebody
// else has made: in an existing cluster it may hold anything.
func owned(ctx context.Context, client kubernetes.Interface) (bool, error) {
	namespace, err := client.CoreV1().Namespaces().Get(ctx, Namespace, metav1.GetOptions{})
	if errors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("get the namespace %q: %w", Namespace, err)
	}
	if namespace.Labels[ownerLabel] != owner {
		return false, fmt.Errorf("the namespace %q is not the lab's: it has no label %s=%s", Namespace, ownerLabel, owner)
	}
	return true, nil
}
