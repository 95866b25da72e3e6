// Package labtest tells tests where the lab runs. Tests that need a real
// PostgreSQL server or a real Kubernetes node call Open; it is never linked
// into the product.
package labtest

import (
	"encoding/json"
	"os"
	"syscall"
	"testing"
)

// Lab is the file that `make lab` writes and PGROTATE_LAB names. On an existing
// server PostgresTrustURL, PostgresLog and PostgresCA are empty, on an existing
// cluster Audit is.
type Lab struct {
	// PostgresURL reaches the scram server as its superuser, verify-full, with
	// password and sslrootcert in it.
	PostgresURL string `json:"postgres_url"`
	// PostgresTrustURL reaches the second server, which asks no one on 127.0.0.1
	// for a password, as its superuser.
	PostgresTrustURL string `json:"postgres_trust_url"`
	PostgresLog      string `json:"postgres_log"` // of the scram server, log_statement=all
	PostgresCA       string `json:"postgres_ca"`  // PEM file
	// PostgresPrograms is the folder of initdb and postgres for NewServer; empty: Debian's.
	PostgresPrograms string `json:"postgres_programs,omitempty"`
	Kubeconfig       string `json:"kubeconfig"` // file, cluster-admin
	Namespace        string `json:"namespace"`  // of the demonstration platform
	// Audit is the API server's log of all requests with their bodies; of Secrets
	// and tokens it tells only that there was a request.
	Audit string `json:"audit"`
	// PostgresPod is "namespace/name:port" of the pod that leads to the scram server.
	PostgresPod string `json:"postgres_pod"`
	GitHubURL   string `json:"github_url"`   // API base of the emulator
	GitHubToken string `json:"github_token"` // one that may write every secret
	Logins      string `json:"logins"`       // folder in which the services of the platform record each refused login
}

// Open returns the lab, or skips the test where PGROTATE_LAB names none.
func Open(t testing.TB) Lab {
	t.Helper()
	path := os.Getenv("PGROTATE_LAB")
	if path == "" {
		t.Skip("needs the lab: run `make test`, or `make lab` and set PGROTATE_LAB as it tells")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("read the lab's description: %v", err)
	}
	var lab Lab
	if err := json.Unmarshal(text, &lab); err != nil {
		t.Fatalf("read the lab's description %q: %v", path, err)
	}
	return lab
}

// Own is Open for tests that need what the lab itself runs beside its API server:
// it skips the test where the lab is on somebody else's cluster.
func Own(t testing.TB) Lab {
	t.Helper()
	lab := Open(t)
	if lab.Audit == "" {
		t.Skip("needs the lab's own cluster")
	}
	return lab
}

// OwnServer is Open for tests that need the lab's own PostgreSQL, or its programs:
// it skips the test where the lab is on somebody else's server.
func OwnServer(t testing.TB) Lab {
	t.Helper()
	lab := Open(t)
	if lab.PostgresLog == "" {
		t.Skip("needs a lab that runs PostgreSQL itself")
	}
	return lab
}

// Platform waits until no other test, in whatever process, works on the lab's
// platform, and keeps the others away until t ends. Every test that restarts its
// workloads, changes its Secret or role, or expects it to be at rest calls it.
func (Lab) Platform(t testing.TB) {
	t.Helper()
	file, err := os.OpenFile(os.Getenv("PGROTATE_LAB")+".platform", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatalf("open the lock of the platform: %v", err)
	}
	t.Cleanup(func() { file.Close() }) // which unlocks
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatalf("lock the platform: %v", err)
	}
}
