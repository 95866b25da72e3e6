package rotation_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// TestCallsThatWaitForOneAnother counts how many calls of a rotation are made one
// after the other: far from the servers that is its time. It does not depend on
// the number of workloads; a copy costs a look at the lock and a write.
func TestCallsThatWaitForOneAnother(t *testing.T) {
	const least = 26 // of a rotation without copies
	for _, test := range []struct{ workloads, clusterCopies, remoteCopies, want int }{
		{1, 0, 0, least},
		{50, 0, 0, least},
		{1, 1, 0, least + 4}, // and two looks whether it has arrived
		{1, 10, 0, least + 22},
		{1, 0, 1, least + 2}, // one of them and all that follows while the pods restart
		{1, 0, 10, least + 20},
	} {
		name := fmt.Sprintf("%d workloads, %d copies in the cluster, %d elsewhere", test.workloads, test.clusterCopies, test.remoteCopies)
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.latency, w.policy.Timeout = time.Second, time.Hour
				began := time.Now()
				res, _ := w.run(rotate, func(r *rotation.Rotation) { w.resize(r, test.workloads, test.clusterCopies, test.remoteCopies) })
				expect(t, res, rotation.StatusRotated, 0)
				if got := int(time.Since(began) / w.latency); got != test.want {
					t.Errorf("%d calls one after the other, want %d", got, test.want)
				}
			})
		})
	}
}

// TestAPlanAsksEveryoneAtOnce counts the same of a plan: it depends on no number.
func TestAPlanAsksEveryoneAtOnce(t *testing.T) {
	const want = 4 // the served Secret, the journal, all targets, the served password
	for _, n := range []int{1, 8} {
		t.Run(fmt.Sprintf("%d of each", n), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.latency, w.policy.Timeout = time.Second, time.Hour
				began, asked := time.Now(), 0
				res, _ := w.run(plan, func(r *rotation.Rotation) { w.resize(r, n, n, n) })
				expect(t, res, rotation.StatusPlanned, 0)
				if got := int(time.Since(began) / w.latency); got != want {
					t.Errorf("%d calls one after the other, want %d", got, want)
				}
				for _, call := range w.calls {
					if strings.Contains(call, " Plan ") {
						asked++
					}
				}
				if asked != 3*n {
					t.Errorf("%d targets were asked, want %d: %q", asked, 3*n, w.calls)
				}
			})
		})
	}
}

// resize gives a rotation as many targets.
func (w *world) resize(r *rotation.Rotation, workloads, clusterCopies, remoteCopies int) {
	p := r.Lock.(lockPort).p
	r.Workloads, r.ClusterCopies, r.RemoteCopies = nil, nil, nil
	for i := range workloads {
		name := fmt.Sprintf("deployment/worker-%d", i)
		w.sets[name] = &podSet{pods: []pod{{user: role, password: birth, created: time.Now()}}}
		r.Workloads = append(r.Workloads, workloadPort{p, name})
	}
	for i := range clusterCopies {
		name := fmt.Sprintf("Secret other/copy-%d", i)
		w.copies[name] = copied{user: role, password: birth, at: w.tick()}
		r.ClusterCopies = append(r.ClusterCopies, readablePort{copyPort{p, name}})
	}
	for i := range remoteCopies {
		name := fmt.Sprintf("GitHub secret acme/shop PASSWORD_%d", i)
		w.copies[name] = copied{user: role, password: birth, at: w.tick()}
		r.RemoteCopies = append(r.RemoteCopies, copyPort{p, name})
	}
	r.Health = nil
}
