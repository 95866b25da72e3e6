// Package proof lets pods that have addresses of their own log in to the lab's
// PostgreSQL: by its sessions the real program proves or refutes each of them.
package proof

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
)

// Pods are what runs in the pods of a platform: each reads the Secret when it
// starts, and keeps one session open with what it has read.
type Pods struct {
	*fixture.Platform

	mu      sync.Mutex
	first   *credential       // that any pod has read
	stale   int               // how many pods to come get first, as from the cache of their node
	roles   map[string]string // that living pods have logged in with, by the pods' names
	started int
}

type credential struct{ user, password string }

// Stale makes the next pods start with what the first pod of all has read.
func (p *Pods) Stale(count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stale = count
}

// Roles returns which role each living pod has logged in with, and how many pods
// have started so far.
func (p *Pods) Roles() (roles []string, started int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, role := range p.roles {
		roles = append(roles, role)
	}
	return roles, p.started
}

// Serve is the fakenode.Service of a pod. Pods of other platforms do nothing.
func (p *Pods) Serve(ctx context.Context, pod *corev1.Pod, address string) (end func(), err error) {
	if pod.Namespace != p.Name {
		return func() {}, nil
	}
	c, err := p.read(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := p.login(ctx, c, address)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started++
	p.roles[pod.Name] = c.user
	return func() {
		_ = conn.Close(context.WithoutCancel(ctx))
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.roles, pod.Name)
	}, nil
}

// read is what a node gives a pod that starts.
func (p *Pods) read(ctx context.Context) (credential, error) {
	s, err := p.Cluster.CoreV1().Secrets(p.Name).Get(ctx, fixture.Secret, metav1.GetOptions{})
	if err != nil {
		return credential{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	c := credential{string(s.Data["username"]), string(s.Data["password"])}
	switch {
	case p.first == nil:
		p.first = &c
	case p.stale > 0:
		p.stale--
		return *p.first, nil
	}
	return c, nil
}

func (p *Pods) login(ctx context.Context, c credential, address string) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(p.Superuser)
	if err != nil {
		return nil, errors.New("read the address of the server: it is malformed")
	}
	config.User, config.Password, config.Database = c.user, c.password, p.Name
	config.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}).DialContext
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("log in as a pod: %w", err)
	}
	return conn, nil
}
