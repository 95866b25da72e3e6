package node

import (
	"context"
	"fmt"
	"net/http"

	"github.com/pgrotate/pgrotate/lab/process"
	"github.com/pgrotate/pgrotate/lab/site"
)

// Etcd is the part that stores the cluster.
type Etcd struct{ Node }

func (e Etcd) process() process.Process {
	client, peer := etcdURL(site.Etcd), etcdURL(site.EtcdPeer)
	return e.Node.process("etcd", []int{site.Etcd, site.EtcdPeer}, "etcd", "--data-dir", e.Site.Folder("etcd")+"/data",
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer,
		"--unsafe-no-fsync", "--logger", "zap", "--log-level", "warn")
}

// Start starts etcd.
func (e Etcd) Start(ctx context.Context) error { return e.process().Start(ctx) }

// Ready asks for its health.
func (e Etcd) Ready(ctx context.Context) error {
	if err := e.process().Alive(); err != nil {
		return err
	}
	return get(ctx, http.DefaultClient, etcdURL(site.Etcd)+"/health")
}

// Stop ends etcd.
func (e Etcd) Stop(ctx context.Context) error { return e.process().Stop(ctx) }

func etcdURL(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }
