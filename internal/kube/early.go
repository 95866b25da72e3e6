package kube

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// A pod that is ready is asked while others still start and former ones end:
// a yes is worth the same then, and nobody waits for it when all are up. Any other
// answer counts for nothing: the pod is asked again at the end.

// life is that of a pod's container, from its start.
type life struct {
	pod      types.UID
	restarts int32
}

func (p pod) life() life { return life{p.uid, p.restarts} }

// early are the pods that were asked before all were up.
type early struct {
	asked   map[life]*answer
	running sync.WaitGroup
}

// answer is read when done is closed.
type answer struct {
	done chan struct{}
	yes  bool
}

// askEarly asks the pods that are ready and were not asked yet, and waits for none.
func (a *attempt) askEarly(ctx context.Context, pods []pod) {
	if len(a.options.HealthCommand) == 0 {
		return
	}
	if a.early.asked == nil {
		a.early.asked = map[life]*answer{}
	}
	for _, p := range pods {
		if !p.ready || a.early.asked[p.life()] != nil {
			continue
		}
		given := &answer{done: make(chan struct{})}
		a.early.asked[p.life()] = given
		a.early.running.Go(func() {
			defer close(given.done)
			given.yes = a.agrees(ctx, p)
		})
	}
}

// agreed tells whether the health command has said yes in a pod that has not
// been restarted since. It waits for an answer that is under way.
func (a *attempt) agreed(p pod) bool {
	given := a.early.asked[p.life()]
	if given == nil {
		return false
	}
	<-given.done
	return given.yes
}

// agrees executes the health command once and tells whether it says yes.
func (w *Workload) agrees(ctx context.Context, p pod) bool {
	done, err := w.cluster.commands.take(ctx)
	if err != nil {
		return false
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	return w.cluster.execute(ctx, p, w.options.HealthCommand, &tailBuffer{}) == nil
}
