package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/platform"
)

// observation is what is seen of a rotation from outside.
type observation struct {
	absent  time.Duration // the Secret was not there
	changed time.Time     // the role's password; zero: it was not
	served  time.Time     // the Secret held another password
	slowest time.Duration // rollout, until its Deployment is complete
}

// gap is the time from ALTER ROLE to the Secret, to the five milliseconds between
// two looks; negative where the Secret was first, or one of them has not changed.
func (o observation) gap() time.Duration {
	if o.changed.IsZero() || o.served.IsZero() {
		return -1
	}
	return o.served.Sub(o.changed)
}

// observe looks at the platform until end is called.
func observe(ctx context.Context, lab labtest.Lab) (end func() observation, err error) {
	config, err := clientcmd.BuildConfigFromFlags("", lab.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	changed, err := watchRole(ctx, lab.PostgresURL)
	if err != nil {
		return nil, err
	}
	// Watches that ask for no version begin with the present state.
	secrets, err := client.CoreV1().Secrets(lab.Namespace).Watch(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", platform.Secret).String()})
	if err != nil {
		return nil, fmt.Errorf("watch the Secret: %w", err)
	}
	rollouts, err := client.AppsV1().Deployments(lab.Namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("watch the Deployments: %w", err)
	}
	seen, slowest := make(chan observation), make(chan time.Duration)
	go func() { seen <- served(secrets.ResultChan()) }()
	go func() { slowest <- longest(rollouts.ResultChan()) }()
	return func() observation {
		secrets.Stop()
		rollouts.Stop()
		o := <-seen
		o.slowest, o.changed = <-slowest, changed()
		return o
	}, nil
}

// served follows a Secret, whose first event is its present state.
func served(events <-chan watch.Event) (o observation) {
	var gone time.Time
	former := ""
	for event := range events {
		secret, is := event.Object.(*corev1.Secret)
		switch {
		case !is:
		case event.Type == watch.Deleted:
			gone = time.Now()
		case former == "":
			former = string(secret.Data["password"])
		case o.served.IsZero() && string(secret.Data["password"]) != former:
			o.served = time.Now()
		}
		if event.Type == watch.Added && !gone.IsZero() {
			o.absent += time.Since(gone)
			gone = time.Time{}
		}
	}
	return o
}

// longest is the longest time from a change of a Deployment until it is complete.
// https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#complete-deployment
func longest(events <-chan watch.Event) (slowest time.Duration) {
	first, began := map[string]int64{}, map[string]time.Time{}
	for event := range events {
		d, is := event.Object.(*appsv1.Deployment)
		if !is {
			continue
		}
		generation, known := first[d.Name]
		switch {
		case !known:
			first[d.Name] = d.Generation
		case d.Generation > generation && began[d.Name].IsZero():
			began[d.Name] = time.Now()
		case !began[d.Name].IsZero() && complete(d):
			slowest = max(slowest, time.Since(began[d.Name]))
			first[d.Name] = d.Generation
			delete(began, d.Name)
		}
	}
	return slowest
}

func complete(d *appsv1.Deployment) bool {
	s, wanted := d.Status, *d.Spec.Replicas
	return s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == wanted && s.Replicas == wanted && s.AvailableReplicas == wanted
}

// watchRole looks at the passwords of the platform's roles every five milliseconds
// until changed is called, which tells when one had changed.
func watchRole(ctx context.Context, address string) (changed func() time.Time, err error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return nil, errors.New("connect to PostgreSQL as its superuser")
	}
	ctx, stop := context.WithCancel(ctx)
	at := make(chan time.Time, 1)
	go func() {
		defer conn.Close(context.WithoutCancel(ctx))
		at <- firstChange(ctx, conn)
	}()
	return func() time.Time {
		stop()
		return <-at
	}, nil
}

func firstChange(ctx context.Context, conn *pgx.Conn) time.Time {
	var former string
	for ctx.Err() == nil {
		var now string
		err := conn.QueryRow(ctx, "SELECT coalesce(string_agg(rolname || rolpassword, ',' ORDER BY rolname), '') FROM pg_authid WHERE rolname LIKE $1 || '%'", platform.Role).Scan(&now)
		switch {
		case err != nil:
			return time.Time{}
		case former != "" && now != former:
			return time.Now()
		}
		former = now
		time.Sleep(5 * time.Millisecond)
	}
	return time.Time{}
}
