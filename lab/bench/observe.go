package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/platform"
)

// observation is what is seen of a rotation from outside.
type observation struct {
	absent  time.Duration // the Secret was not there
	changed time.Time     // the role's password; zero: it was not
	served  time.Time     // the Secret held another password
}

// gap is the time from ALTER ROLE to the Secret; negative where one of them has not
// changed.
func (o observation) gap() time.Duration {
	if o.changed.IsZero() || o.served.IsZero() {
		return -1
	}
	return o.served.Sub(o.changed)
}

// observe looks at the platform until end is called.
func observe(ctx context.Context, lab labtest.Lab) (end func() observation, err error) {
	client, err := platform.Connect(lab.Kubeconfig)
	if err != nil {
		return nil, err
	}
	changed, err := watchRole(ctx, lab.PostgresURL)
	if err != nil {
		return nil, err
	}
	password, secrets, err := watchSecret(ctx, client, lab.Namespace)
	if err != nil {
		return nil, err
	}
	seen := make(chan observation)
	go func() { seen <- served(password, secrets.ResultChan()) }()
	return func() observation {
		secrets.Stop()
		o := <-seen
		if at := changed(); o.changed.IsZero() {
			o.changed = at
		}
		return o
	}, nil
}

// watchSecret returns the served password and watches what becomes of it. From the
// list's version: a watch without one begins when the server gets to it.
func watchSecret(ctx context.Context, client kubernetes.Interface, namespace string) (password string, events watch.Interface, err error) {
	one := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", platform.Secret).String()}
	list, err := client.CoreV1().Secrets(namespace).List(ctx, one)
	if err != nil || len(list.Items) == 0 {
		return "", nil, fmt.Errorf("find the Secret: %w", cmp.Or(err, errors.New("it is not there")))
	}
	one.ResourceVersion = list.ResourceVersion
	if events, err = client.CoreV1().Secrets(namespace).Watch(ctx, one); err != nil {
		return "", nil, fmt.Errorf("watch the Secret: %w", err)
	}
	return string(list.Items[0].Data["password"]), events, nil
}

// served follows a Secret that held the former password.
func served(former string, events <-chan watch.Event) (o observation) {
	var gone time.Time
	for event := range events {
		secret, is := event.Object.(*corev1.Secret)
		switch {
		case !is:
		case event.Type == watch.Deleted:
			gone = time.Now()
		case o.served.IsZero() && string(secret.Data["password"]) != former:
			o.served = time.Now()
			// What pgrotate has noted by the database's clock, which is this machine's, is more exact than a look at the role.
			o.changed, _ = time.Parse(time.RFC3339Nano, secret.Annotations["pgrotate.io/rotated-at"])
		}
		if event.Type == watch.Added && !gone.IsZero() {
			o.absent += time.Since(gone)
			gone = time.Time{}
		}
	}
	return o
}

// watchRole looks at the passwords of the platform's roles every five milliseconds,
// or as often as a busy server answers, until changed is called, which tells when one
// had changed.
func watchRole(ctx context.Context, address string) (changed func() time.Time, err error) {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL as its superuser: %w", err)
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
		err := conn.QueryRow(ctx, "SELECT coalesce(string_agg(rolname || rolpassword, ',' ORDER BY rolname), '') FROM pg_authid WHERE starts_with(rolname, $1)", platform.Role).Scan(&now)
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
