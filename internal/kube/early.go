package kube

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A pod that is ready is asked while others still start and former ones end:
// a yes of its own is worth the same then, and nobody waits for it when all are up.
// Any other answer counts for nothing: the pod is asked again at the end.

// earlyTimeout is for a health command that is executed early: one that hangs keeps
// the turns of others, and is executed again.
const earlyTimeout = 10 * time.Second

// life is that of a pod's containers, from their start.
type life struct {
	pod      types.UID
	restarts int32
}

func (p pod) life() life { return life{p.uid, p.restarts} }

// early are the pods that were asked before all were up.
type early struct {
	asked   map[life]*answer
	turns   turns // of the workload, beside those of all
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
		a.early.asked, a.early.turns = map[life]*answer{}, make(turns, together)
	}
	for _, p := range pods {
		if p.ready && a.early.asked[p.life()] == nil {
			a.early.asked[p.life()] = a.begin(ctx, p)
		}
	}
}

// begin asks a pod and does not wait for its answer.
func (a *attempt) begin(ctx context.Context, p pod) *answer {
	given := &answer{done: make(chan struct{})}
	a.early.running.Go(func() {
		defer close(given.done)
		given.yes = a.agrees(ctx, p)
	})
	return given
}

// agrees executes the health command once and tells whether it says yes.
func (a *attempt) agrees(ctx context.Context, p pod) bool {
	for _, all := range []turns{a.early.turns, a.cluster.commands} {
		done, err := all.take(ctx)
		if err != nil {
			return false
		}
		defer done()
	}
	ctx, cancel := context.WithTimeout(ctx, earlyTimeout)
	defer cancel()
	return a.cluster.execute(ctx, p, a.options.HealthCommand, &tailBuffer{}) == nil
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
