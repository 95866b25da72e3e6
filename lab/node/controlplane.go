package node

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/pgrotate/pgrotate/lab/process"
	"github.com/pgrotate/pgrotate/lab/site"
)

//go:embed audit.yaml
var audit string

// APIServer is the part that serves the Kubernetes API.
type APIServer struct{ Node }

func (a APIServer) process() process.Process {
	ca, folder := a.Authority, a.Site.Folder("kube-apiserver")
	p := a.Node.process("kube-apiserver", []int{site.APIServer}, a.binary("kube-apiserver"),
		"--etcd-servers="+etcdURL(site.Etcd),
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+strconv.Itoa(site.APIServer),
		"--endpoint-reconciler-type=none", // it refuses to publish a loopback address
		"--service-cluster-ip-range=10.96.0.0/16",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--client-ca-file="+ca.CA(),
		"--tls-cert-file="+ca.Cert("kube-apiserver"), "--tls-private-key-file="+ca.Key("kube-apiserver"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+ca.Key("service-account"),
		"--service-account-signing-key-file="+ca.Key("service-account"),
		"--kubelet-client-certificate="+ca.Cert("admin"), "--kubelet-client-key="+ca.Key("admin"),
		"--kubelet-certificate-authority="+ca.CA(),
		"--kubelet-preferred-address-types=Hostname", // "localhost": exec, logs and port-forward stay on loopback
		"--audit-policy-file="+folder+"/audit.yaml", "--audit-log-path="+a.Audit(),
		"--audit-log-maxsize=2000", "--audit-log-maxbackup=1")
	p.Grace = time.Second // it would wait for every open watch
	return p
}

// Start starts the API server, after issuing the certificates that it and its
// administrator show.
func (a APIServer) Start(ctx context.Context) error {
	if _, err := a.file("kube-apiserver", "audit.yaml", audit); err != nil {
		return err
	}
	if err := a.identify("admin", "lab-admin", "system:masters"); err != nil {
		return err
	}
	for _, name := range []string{"kube-apiserver", "service-account"} {
		if err := a.Authority.Issue(name, name); err != nil {
			return err
		}
	}
	return a.process().Start(ctx)
}

// Ready asks the API server whether it is ready.
func (a APIServer) Ready(ctx context.Context) error {
	if err := a.process().Alive(); err != nil {
		return err
	}
	return a.healthy(ctx, site.APIServer, "/readyz")
}

// Stop ends the API server.
func (a APIServer) Stop(ctx context.Context) error { return a.process().Stop(ctx) }

// Controller is a part that watches the API server and acts on what it sees:
// the controller manager or the scheduler.
type Controller struct {
	Node
	Name string // required; of the program
	Port int    // required
	Args []string
}

// ControllerManager returns the part that runs the workload controllers.
func ControllerManager(n Node) Controller {
	return Controller{Node: n, Name: "kube-controller-manager", Port: site.ControllerManager, Args: []string{
		"--service-account-private-key-file=" + n.Authority.Key("service-account"),
		"--root-ca-file=" + n.Authority.CA(),
		"--use-service-account-credentials", // RBAC grants each controller its own rights, and the program none
		"--kube-api-qps=200", "--kube-api-burst=400",
		// Five at a time by default: a thousand workloads, and any other behind them, would wait for minutes.
		"--concurrent-deployment-syncs=20", "--concurrent-replicaset-syncs=20",
	}}
}

// Scheduler returns the part that gives pods to the node.
func Scheduler(n Node) Controller {
	return Controller{Node: n, Name: "kube-scheduler", Port: site.Scheduler}
}

func (c Controller) process() process.Process {
	config := c.kubeconfig(c.Name)
	return c.Node.process(c.Name, []int{c.Port}, append([]string{c.binary(c.Name),
		"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", c.Port),
		"--tls-cert-file=" + c.Authority.Cert(c.Name), "--tls-private-key-file=" + c.Authority.Key(c.Name),
		"--leader-elect=false",
	}, c.Args...)...)
}

// Start starts the program under its own name and rights.
func (c Controller) Start(ctx context.Context) error {
	if err := c.identify(c.Name, "system:"+c.Name); err != nil {
		return err
	}
	return c.process().Start(ctx)
}

// Ready asks the program for its health.
func (c Controller) Ready(ctx context.Context) error {
	if err := c.process().Alive(); err != nil {
		return err
	}
	return c.healthy(ctx, c.Port, "/healthz")
}

// Stop ends the program.
func (c Controller) Stop(ctx context.Context) error { return c.process().Stop(ctx) }
