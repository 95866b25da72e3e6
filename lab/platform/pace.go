package platform

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// Pace has every pod of the Deployments log in so often from now on, and returns
// when all that did otherwise are gone.
func Pace(ctx context.Context, client kubernetes.Interface, every time.Duration) error {
	patch := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"service","env":[{"name":"EVERY","value":%q}]}]}}}}`, every)
	for _, name := range Deployments() {
		if _, err := client.AppsV1().Deployments(Namespace).Patch(ctx, name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("change the pace of the Deployment %q: %w", name, err)
		}
	}
	for {
		ready, err := only(ctx, client)
		if ready || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("change the pace of the platform: %w", context.Cause(ctx))
		case <-time.After(time.Second):
		}
	}
}

// only tells whether the Deployments are complete, and have no other pods.
func only(ctx context.Context, client kubernetes.Interface) (bool, error) {
	deployments, err := client.AppsV1().Deployments(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "tier=backend"})
	if err != nil {
		return false, fmt.Errorf("list the Deployments: %w", err)
	}
	for _, d := range deployments.Items {
		if !complete(d) {
			return false, nil
		}
	}
	pods, err := client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "tier=backend"})
	if err != nil {
		return false, fmt.Errorf("list the pods: %w", err)
	}
	return len(pods.Items) == Replicas*len(Deployments()), nil
}
