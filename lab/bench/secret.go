package bench

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/platform"
)

// watchSecret watches the served Secret until absent is called, which tells for
// how long it was not there.
func watchSecret(ctx context.Context, lab labtest.Lab) (absent func() time.Duration, err error) {
	config, err := clientcmd.BuildConfigFromFlags("", lab.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	one := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", platform.Secret).String()}
	secrets := client.CoreV1().Secrets(lab.Namespace)
	list, err := secrets.List(ctx, one)
	if err != nil {
		return nil, fmt.Errorf("find the Secret: %w", err)
	}
	// From the list's version: a watch without one begins when the server gets to it.
	one.ResourceVersion = list.ResourceVersion
	events, err := secrets.Watch(ctx, one)
	if err != nil {
		return nil, fmt.Errorf("watch the Secret: %w", err)
	}
	total := make(chan time.Duration)
	go func() { total <- gone(events.ResultChan()) }()
	return func() time.Duration {
		events.Stop()
		return <-total
	}, nil
}

// gone adds up the times from each deletion to what follows it.
func gone(events <-chan watch.Event) (total time.Duration) {
	var since time.Time
	for event := range events {
		switch {
		case event.Type == watch.Deleted:
			since = time.Now()
		case event.Type == watch.Added && !since.IsZero():
			total += time.Since(since)
			since = time.Time{}
		}
	}
	return total
}
