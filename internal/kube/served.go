package kube

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// The annotations of the served Secret.
const (
	annotationPrefix = "pgrotate.io/"
	annotationID     = annotationPrefix + "rotation-id"
	annotationAt     = annotationPrefix + "rotated-at" // RFC 3339 with nanoseconds
	annotationEpoch  = annotationPrefix + "epoch"
)

// Served is the Secret that the workloads read. It is never created, and only
// its mapped keys and three annotations are ever written, and one removed: that
// of `kubectl apply`, where it holds the password that is written over.
type Served struct {
	holder

	mu   sync.Mutex
	seen *corev1.Secret // the last one read or written: what a write is compared with
}

// Served returns the Secret of that name, whose keys are mapped by m. managed is
// what its plan, and those of its copies, do where somebody else writes it, too.
func (c *Cluster) Served(name string, m Mapping, managed Reaction) *Served {
	return &Served{holder: holder{cluster: c, name: name, mapping: m, managed: managed, absent: "check `kubernetes-secret` and `namespace`; if it was deleted, recreate it with its other keys: `resume` fills in the credential"}}
}

// Look reads the Secret. What it finds in the mapped keys is masked, except the
// user name; keys that are missing or cannot be read leave their part of the
// credential empty. Class missing: there is no such Secret.
func (s *Served) Look(ctx context.Context) (secret.Snapshot, error) {
	o, err := s.get(ctx)
	if err != nil {
		return secret.Snapshot{}, err
	}
	epoch, err := epochOf(o)
	if err != nil {
		return secret.Snapshot{}, fail(refused, noStamp, "read %s: %v", s, err)
	}
	at, err := rotatedAt(o)
	if err != nil {
		return secret.Snapshot{}, fail(refused, noStamp, "read %s: %v", s, err)
	}
	return secret.Snapshot{
		UID: string(o.UID), RotationID: o.Annotations[annotationID], RotatedAt: at, Epoch: epoch,
		Created: o.CreationTimestamp.Time, Credential: s.read(o),
	}, nil
}

func (s *Served) get(ctx context.Context) (*corev1.Secret, error) {
	o, err := s.holder.get(ctx)
	if err == nil {
		s.remember(o)
	}
	return o, err
}

func (s *Served) remember(o *corev1.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = o
}

func (s *Served) last() *corev1.Secret {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// noStamp is the remedy for an annotation that somebody else has written.
const noStamp = "remove the annotation: the next rotation writes it anew"

func epochOf(o *corev1.Secret) (int64, error) {
	text := o.Annotations[annotationEpoch]
	if text == "" {
		return 0, nil
	}
	epoch, err := strconv.ParseInt(text, 10, 64)
	if err != nil || epoch < 0 {
		return 0, fmt.Errorf("its annotation %q is %q, which is no epoch", annotationEpoch, text)
	}
	return epoch, nil
}

func rotatedAt(o *corev1.Secret) (time.Time, error) {
	text := o.Annotations[annotationAt]
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("its annotation %q is %q, which is no time", annotationAt, text)
	}
	return at, nil
}
