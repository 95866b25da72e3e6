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
		missing := paced(ctx, client)
		if missing == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("change the pace of the platform: %w", missing)
		case <-time.After(time.Second):
		}
	}
}

// paced tells whether the Deployments are complete, and have no other pods.
func paced(ctx context.Context, client kubernetes.Interface) error {
	if err := rolledOut(ctx, client); err != nil {
		return err
	}
	pods, err := client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "tier=backend"})
	if err != nil {
		return fmt.Errorf("list the pods: %w", err)
	}
	if n := len(pods.Items); n != Replicas*len(Deployments()) {
		return fmt.Errorf("there are %d pods", n)
	}
	return nil
}
