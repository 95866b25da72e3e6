package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/pgrotate/pgrotate/lab/boot"
	"github.com/pgrotate/pgrotate/lab/debian"
	"github.com/pgrotate/pgrotate/lab/emulator"
	"github.com/pgrotate/pgrotate/lab/image"
	"github.com/pgrotate/pgrotate/lab/node"
	"github.com/pgrotate/pgrotate/lab/pki"
	"github.com/pgrotate/pgrotate/lab/platform"
	"github.com/pgrotate/pgrotate/lab/postgres"
	"github.com/pgrotate/pgrotate/lab/site"
)

// lab is all parts on this machine, and what stands in for them.
type lab struct {
	site   site.Site
	log    *boot.Log
	node   node.Node
	scram  postgres.Server
	trust  postgres.Server
	github emulator.Emulator
	// server is the superuser's URL of an existing server, and cluster the
	// kubeconfig of an existing cluster; empty: the lab runs its own.
	server, cluster string
}

// newLab describes the lab that getenv asks for. A KUBECONFIG without
// PGROTATE_LAB_POSTGRES_URL is no request for an existing cluster: it may stand
// in any shell and lead to production.
func newLab(s site.Site, getenv func(string) string) *lab {
	authority := &pki.Authority{Folder: s.Folder("pki")}
	server := func(name string, port int, hba string) postgres.Server {
		return postgres.Server{Name: name, Folder: s.Folder(name), Port: port, HBA: hba, Authority: authority}
	}
	l := &lab{
		site: s, log: boot.NewLog(os.Stdout),
		node:   node.Node{Site: s, Authority: authority},
		scram:  server("postgres", site.Postgres, postgres.Scram),
		trust:  server("postgres-trust", site.PostgresTrust, postgres.Trust),
		github: emulator.Emulator{Site: s},
		server: getenv("PGROTATE_LAB_POSTGRES_URL"),
	}
	if config := getenv("KUBECONFIG"); l.server != "" && config != l.node.Kubeconfig() {
		l.cluster = config
	}
	return l
}

// usable returns what to do where this machine cannot run the lab because of
// why; nil where why is empty or the lab does not need this machine.
func (l *lab) usable(why string) error {
	if why == "" || l.server != "" && l.cluster != "" {
		return nil
	}
	images := slices.Sorted(maps.Keys(l.builder().Archives()))
	return fmt.Errorf("%s: the lab boots PostgreSQL and a Kubernetes node as root on Debian 12; elsewhere set KUBECONFIG "+
		"to an existing cluster that has the images %s on its nodes (`go run . images` builds them), and "+
		"PGROTATE_LAB_POSTGRES_URL to the superuser's URL of an existing server that its pods reach",
		why, strings.Join(images, ", "))
}

// steps is the whole lab, each part with those that it needs.
func (l *lab) steps() []boot.Step {
	steps := []boot.Step{{Name: "github", Part: l.github, Where: emulator.URL()}}
	if l.server == "" || l.cluster == "" {
		steps = append(steps, boot.Step{Name: "packages", Part: l.packages(), Limit: 10 * time.Minute})
		steps = append(steps, boot.Step{Name: "authority", Part: l.node.Authority})
	}
	if l.server == "" {
		steps = append(steps, l.serverSteps()...)
	}
	if l.cluster == "" {
		steps = append(steps, l.clusterSteps()...)
	}
	all := boot.Step{Name: "platform", Part: l.platform(), Where: "namespace " + platform.Namespace}
	for _, s := range steps {
		all.After = append(all.After, s.Name)
	}
	return append(steps, all)
}

// replaceable tells whether the part called name can be made ready again while
// the others run on.
func replaceable(name string) bool {
	return slices.Contains([]string{"github", "packages", "kubernetes", "image archives", "platform"}, name)
}

func (l *lab) serverSteps() []boot.Step {
	after := []string{"packages", "authority"}
	return []boot.Step{
		{Name: "postgres", After: after, Part: l.scram, Where: address(site.Postgres)},
		{Name: "postgres-trust", After: after, Part: l.trust, Where: address(site.PostgresTrust)},
	}
}

func (l *lab) clusterSteps() []boot.Step {
	n := l.node
	return []boot.Step{
		{Name: "kubernetes", Part: node.Kubernetes{Node: n, Say: l.log.Say}, Where: node.Version, Limit: 30 * time.Minute},
		{Name: "etcd", After: []string{"packages"}, Part: node.Etcd{Node: n}, Where: address(site.Etcd)},
		{Name: "containerd", After: []string{"packages"}, Part: node.Containerd{Node: n}},
		{Name: "image archives", Part: l.builder(), Limit: 10 * time.Minute},
		{Name: "images", After: []string{"containerd", "image archives"},
			Part: node.Images{Node: n, Archives: l.builder().Archives()}},
		{Name: "kube-apiserver", After: []string{"authority", "kubernetes", "etcd"},
			Part: node.APIServer{Node: n}, Where: address(site.APIServer)},
		{Name: "controller-manager", After: []string{"kube-apiserver"}, Part: node.ControllerManager(n)},
		{Name: "scheduler", After: []string{"kube-apiserver"}, Part: node.Scheduler(n)},
		{Name: "kubelet", After: []string{"kube-apiserver", "images"}, Part: node.Kubelet{Node: n}, Where: "node " + node.Name},
	}
}

func (l *lab) packages() debian.Packages {
	files := map[string]string{ // what only tests use: the race detector's C compiler, a pooler, libsodium
		"gcc": "/usr/bin/gcc", "libc6-dev": "/usr/include/stdio.h", "pgbouncer": "/usr/sbin/pgbouncer",
		"python3-nacl": "/usr/lib/python3/dist-packages/nacl/__init__.py",
	}
	if l.server == "" {
		files["postgresql-15"] = postgres.Programs + "/postgres"
	}
	if l.cluster == "" {
		files["etcd-server"] = "/usr/bin/etcd"
		files["containerd"] = "/usr/bin/containerd"
		files["runc"] = "/usr/sbin/runc"
		files["containernetworking-plugins"] = "/usr/lib/cni/loopback"
	}
	return debian.Packages{Files: files, Say: l.log.Say}
}

func (l *lab) builder() image.Builder {
	return image.Builder{Source: l.site.Source, Folder: l.site.Folder("images")}
}

func (l *lab) platform() boot.Part {
	if l.cluster == "" {
		return endsWithNode{l.services()}
	}
	return l.services()
}

func (l *lab) services() platform.Platform {
	p := platform.Platform{
		Client: l.node.Client, Servers: l.servers, SSLMode: "disable",
		Logins: l.site.Logins(), Port: site.PostgresPod,
	}
	if l.server != "" {
		p.SSLMode = "prefer"
	}
	if l.cluster == "" {
		return p
	}
	p.Client = func() (*kubernetes.Clientset, error) { return platform.Connect(l.cluster) }
	return p
}

// endsWithNode is a part that needs no end of its own.
type endsWithNode struct{ boot.Part }

func (endsWithNode) Stop(context.Context) error { return nil }

// servers returns the superuser's URLs, first of the server that the platform uses.
func (l *lab) servers() ([]string, error) {
	if l.server != "" {
		return []string{l.server}, nil
	}
	scram, err := l.scram.URL()
	if err != nil {
		return nil, err
	}
	trust, err := l.trust.URL()
	return []string{scram, trust}, err
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
