package scale

import (
	"errors"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/fakenode"
)

// Grow adds Deployments on fake nodes until there are count, and returns when
// all their pods are ready.
func (b *Bench) Grow(count int) error {
	errs := make([]error, max(count-b.workloads, 0))
	slots := make(chan struct{}, 16)
	var running sync.WaitGroup
	for i := range errs {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			_, errs[i] = b.Cluster.AppsV1().Deployments(b.Name).Create(b.ctx, b.deployment(b.workloads+i), metav1.CreateOptions{})
		})
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	b.workloads = count
	return b.ready()
}

func (b *Bench) deployment(i int) *appsv1.Deployment {
	name, kept, patience := fmt.Sprintf("worker-%04d", i), int32(1), int32(6000) // a thousand wait for the same controllers, longer than rollout-timeout
	labels := map[string]string{"app": name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{
		Replicas: &b.pods, Selector: &metav1.LabelSelector{MatchLabels: labels}, RevisionHistoryLimit: &kept, ProgressDeadlineSeconds: &patience,
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "service", Image: "example.test/service:1",
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/healthcheck"}}}},
				EnvFrom:        []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: fixture.Secret}}}},
			}},
		}},
	}}
	fakenode.Place(&d.Spec.Template.Spec)
	return d
}

// ready waits until every workload is.
func (b *Bench) ready() error {
	for {
		list, err := b.Cluster.AppsV1().Deployments(b.Name).List(b.ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return fmt.Errorf("list the workloads: %w", err)
		}
		ready := 0
		for _, d := range list.Items {
			if s := d.Status; s.ObservedGeneration == d.Generation && s.Replicas == b.pods && s.UpdatedReplicas == b.pods && s.AvailableReplicas == b.pods {
				ready++
			}
		}
		if ready == b.workloads {
			return nil
		}
		select {
		case <-b.ctx.Done():
			return fmt.Errorf("wait for the workloads, %d of %d are ready: %w", ready, b.workloads, b.ctx.Err())
		case <-time.After(time.Second):
		}
	}
}
