package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/pgrotate/pgrotate/lab/boot"
	"github.com/pgrotate/pgrotate/lab/debian"
	"github.com/pgrotate/pgrotate/lab/image"
	"github.com/pgrotate/pgrotate/lab/node"
	"github.com/pgrotate/pgrotate/lab/pki"
	"github.com/pgrotate/pgrotate/lab/platform"
	"github.com/pgrotate/pgrotate/lab/postgres"
	"github.com/pgrotate/pgrotate/lab/site"
)

// patience is how long a part that runs may be busy before it counts as broken.
const patience = 20 * time.Second

// lab is all parts on this machine.
type lab struct {
	site  site.Site
	log   *boot.Log
	node  node.Node
	scram postgres.Server
	trust postgres.Server
}

func open() (*lab, error) {
	s, err := site.New()
	if err != nil {
		return nil, err
	}
	authority := &pki.Authority{Folder: s.Folder("pki")}
	server := func(name string, port int, hba string) postgres.Server {
		return postgres.Server{Name: name, Folder: s.Folder(name), Port: port, HBA: hba, Authority: authority}
	}
	return &lab{
		site: s, log: boot.NewLog(os.Stdout),
		node:  node.Node{Site: s, Authority: authority},
		scram: server("postgres", site.Postgres, postgres.Scram),
		trust: server("postgres-trust", site.PostgresTrust, postgres.Trust),
	}, nil
}

// steps is the whole lab, each part with those that it needs.
func (l *lab) steps() []boot.Step {
	images := image.Builder{Source: l.site.Source, Folder: l.site.Folder("images")}
	packages := debian.Packages{Say: l.log.Say, Files: map[string]string{
		"etcd-server":                 "/usr/bin/etcd",
		"containerd":                  "/usr/bin/containerd",
		"runc":                        "/usr/sbin/runc",
		"containernetworking-plugins": "/usr/lib/cni/loopback",
		"postgresql-15":               postgres.Programs + "/postgres",
	}}
	alfred := platform.Platform{
		Client: l.node.Client, SSLMode: "disable", Logins: l.site.Logins(), Port: site.PostgresPod,
		Servers: func() ([]string, error) { return urls(l.scram, l.trust) },
	}
	return []boot.Step{
		{Name: "packages", Part: packages, Limit: 10 * time.Minute},
		{Name: "authority", Part: l.node.Authority},
		{Name: "kubernetes", Part: node.Kubernetes{Node: l.node, Say: l.log.Say}, Limit: 30 * time.Minute},
		{Name: "postgres", After: []string{"packages", "authority"}, Part: l.scram, Where: address(site.Postgres)},
		{Name: "postgres-trust", After: []string{"packages", "authority"}, Part: l.trust, Where: address(site.PostgresTrust)},
		{Name: "etcd", After: []string{"packages"}, Part: node.Etcd{Node: l.node}, Where: address(site.Etcd)},
		{Name: "containerd", After: []string{"packages"}, Part: node.Containerd{Node: l.node}},
		{Name: "image archives", Part: images, Limit: 10 * time.Minute},
		{Name: "images", After: []string{"containerd", "image archives"}, Part: node.Images{Node: l.node, Archives: images.Archives()}},
		{Name: "kube-apiserver", After: []string{"authority", "kubernetes", "etcd"}, Part: node.APIServer{Node: l.node}, Where: address(site.APIServer)},
		{Name: "controller-manager", After: []string{"kube-apiserver"}, Part: node.ControllerManager(l.node)},
		{Name: "scheduler", After: []string{"kube-apiserver"}, Part: node.Scheduler(l.node)},
		{Name: "kubelet", After: []string{"kube-apiserver", "images"}, Part: node.Kubelet{Node: l.node}, Where: "the node " + node.Name},
		{Name: "platform", Part: alfred, Where: "namespace " + platform.Namespace, After: []string{
			"postgres", "postgres-trust", "controller-manager", "scheduler", "kubelet"}},
	}
}

func urls(servers ...postgres.Server) ([]string, error) {
	all := make([]string, len(servers))
	for i, server := range servers {
		var err error
		if all[i], err = server.URL(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// up makes the lab ready. A lab that is not whole is removed first: a fresh one
// is ready sooner than a broken one is understood.
func (l *lab) up(ctx context.Context) error {
	if err := l.site.Lock(); err != nil {
		return err
	}
	steps := l.steps()
	if _, err := os.Stat(l.site.State); err == nil {
		missing := boot.Settle(ctx, steps, patience)
		if len(missing) == 0 {
			l.log.Say("the lab runs")
			return nil
		}
		for name, why := range missing {
			l.log.Say("%-20s %v", name, why)
		}
		l.log.Say("removing what an earlier lab left")
		if err := l.remove(ctx, steps); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(l.site.State, 0o711); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	if err := boot.Up(ctx, steps, l.log); err != nil {
		return err
	}
	if err := l.describe(); err != nil {
		return err
	}
	l.log.Say("the lab runs")
	return nil
}

func (l *lab) down(ctx context.Context) error {
	if err := l.site.Lock(); err != nil {
		return err
	}
	if err := l.remove(ctx, l.steps()); err != nil {
		return err
	}
	l.log.Say("the lab is removed")
	return nil
}

// remove stops every part and removes the state.
func (l *lab) remove(ctx context.Context, steps []boot.Step) error {
	if err := boot.Down(ctx, steps); err != nil {
		return err
	}
	points, err := node.Mounts(l.site.State)
	if err != nil {
		return err
	}
	if len(points) > 0 { // what is mounted there would be removed with it
		return fmt.Errorf("remove %q: still mounted: %v", l.site.State, points)
	}
	return errors.Join(os.RemoveAll(l.site.State), os.RemoveAll(l.site.Description()))
}

// status tells of every part whether it is ready.
func (l *lab) status(ctx context.Context) error {
	steps := l.steps()
	missing := boot.Probe(ctx, steps)
	for _, s := range steps {
		if err := missing[s.Name]; err != nil {
			fmt.Printf("%-20s NOT READY: %v\n", s.Name, err)
			continue
		}
		fmt.Printf("%-20s ready %s\n", s.Name, s.Where)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of %d parts are not ready", len(missing), len(steps))
	}
	return nil
}

var _ = slices.Sort[[]int]
