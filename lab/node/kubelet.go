package node

import (
	"context"
	_ "embed"
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/lab/process"
	"github.com/pgrotate/pgrotate/lab/site"
)

//go:embed kubelet.yaml
var kubeletConfig string

// Kubelet is the part that makes this machine a node.
type Kubelet struct{ Node }

func (k Kubelet) root() string { return filepath.Join(k.Site.Folder("kubelet"), "root") }

func (k Kubelet) process() process.Process {
	return k.Node.process("kubelet", []int{site.Kubelet, site.KubeletHealth}, k.binary("kubelet"),
		"--config="+filepath.Join(k.Site.Folder("kubelet"), "config.yaml"),
		"--kubeconfig="+k.kubeconfig("kubelet"), "--root-dir="+k.root(), "--cert-dir="+k.root()+"/pki",
		"--hostname-override="+Name)
}

// Start starts the kubelet, which registers the node.
func (k Kubelet) Start(ctx context.Context) error {
	if err := pods.Make(); err != nil {
		return err
	}
	if err := k.identify("kubelet", "system:node:"+Name, "system:nodes"); err != nil {
		return err
	}
	text, err := fill(kubeletConfig, map[string]any{
		"CgroupRoot": pods, "Port": site.Kubelet, "HealthPort": site.KubeletHealth, "Socket": k.socket(),
		"CA": k.Authority.CA(), "Cert": k.Authority.Cert("kubelet"), "Key": k.Authority.Key("kubelet"),
	})
	if err != nil {
		return err
	}
	if _, err := k.file("kubelet", "config.yaml", text); err != nil {
		return err
	}
	return k.process().Start(ctx)
}

// Ready tells whether the node is ready to take pods.
func (k Kubelet) Ready(ctx context.Context) error {
	if err := k.process().Alive(); err != nil {
		return err
	}
	client, err := k.Client()
	if err != nil {
		return err
	}
	node, err := client.CoreV1().Nodes().Get(ctx, Name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get the node: %w", err)
	}
	for _, taint := range node.Spec.Taints {
		return fmt.Errorf("the node is tainted %q", taint.Key)
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return fmt.Errorf("the node is not ready: %v", node.Status.Conditions)
}

// Stop ends the kubelet, kills the containers and takes down what it mounted
// for them.
func (k Kubelet) Stop(ctx context.Context) error {
	if err := k.process().Stop(ctx); err != nil {
		return err
	}
	if err := k.killContainers(ctx); err != nil {
		return err
	}
	return unmountBelow(k.Site.Folder("kubelet"))
}
