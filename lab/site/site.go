// Package site says where the lab keeps its files and which ports it uses.
package site

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// The ports of the lab, all on 127.0.0.1. They lie below the ephemeral range
// (32768 and up, ip_local_port_range), out of which the services' many
// connections would sooner or later take one of them.
const (
	Etcd              = 25379
	EtcdPeer          = 25380
	APIServer         = 25443
	ControllerManager = 25257
	Scheduler         = 25259
	Kubelet           = 25250
	KubeletHealth     = 25248
	ContainerdStream  = 25010
	Postgres          = 25432
	PostgresTrust     = 25433
	PostgresPod       = 25434 // the forwarder in pod postgres-0
	GitHub            = 25480
	FakeNodes         = 25251
	// The servers of lab/versions, of one version at a time.
	PostgresVersion      = 25435
	PostgresVersionTrust = 25436
)

// Site is one lab on one machine.
type Site struct {
	// State holds what a lab makes while it runs; removing the lab removes it.
	// The user that runs PostgreSQL must be able to enter it.
	State string
	// Cache holds what the next lab can use again, and the description.
	Cache string
	// Source is the folder of the lab's own module.
	Source string
}

// New returns the site of this user, with the working directory as Source.
func New() (Site, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Site{}, fmt.Errorf("find the cache folder: %w", err)
	}
	source, err := os.Getwd()
	if err != nil {
		return Site{}, fmt.Errorf("find the lab's sources: %w", err)
	}
	if _, err := os.Stat(filepath.Join(source, "kubernetes", "go.mod")); err != nil {
		return Site{}, fmt.Errorf("find the lab's sources: run it in the folder lab: %w", err)
	}
	s := Site{Cache: filepath.Join(cache, "pgrotate-lab"), Source: source}
	s.State = filepath.Join(s.Cache, "state")
	if os.Geteuid() == 0 {
		s.State = "/var/lib/pgrotate-lab" // root's home is closed to PostgreSQL's user
	}
	return s, nil
}

// Description is the file that tells tests where everything is.
func (s Site) Description() string { return filepath.Join(s.Cache, "lab.json") }

// Logins is the folder in which the services record refused logins.
func (s Site) Logins() string { return filepath.Join(s.State, "logins") }

// Folder returns the part's own folder below State.
func (s Site) Folder(part string) string { return filepath.Join(s.State, part) }

// Lock keeps other lab commands out until this process ends. It waits for one
// that is at work, after telling so by calling waiting.
func (s Site) Lock(ctx context.Context, waiting func()) error {
	name := s.State + ".lock" // beside the state: caches may differ, the state is the machine's
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return fmt.Errorf("make the folder of the lock: %w", err)
	}
	// Not os.OpenFile: the garbage collector would close the file, and with it the lock.
	fd, err := syscall.Open(name, syscall.O_CREAT|syscall.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("open %q: %w", name, err)
	}
	for {
		err := syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if err != syscall.EWOULDBLOCK {
			return fmt.Errorf("lock %q: %w", name, err)
		}
		waiting()
		waiting = func() {}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for another lab command: %w", context.Cause(ctx))
		case <-time.After(100 * time.Millisecond):
		}
	}
}
