// Package bench measures pgrotate beside the runbook by hand: the same platform,
// one after the other.
package bench

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/audit"
)

// Way is a way to rotate the platform's password.
type Way struct {
	Name   string
	Agent  string // how its requests to the API server begin to name their sender
	Rotate func(context.Context) (Cost, error)
}

// Cost is what one rotation took.
type Cost struct {
	Total   time.Duration
	Slowest time.Duration // rollout; zero: not known
	Refused int           // logins of the services
	Window  time.Duration // from the first to the last of them
	Memory  int64         // largest resident set, bytes; zero: not known

	Absent    time.Duration // the Secret was not there
	Requests  int           // to the API server
	Processor time.Duration // of the tool and all that it ran
}

// Measure rotates once.
func Measure(ctx context.Context, lab labtest.Lab, way Way) (Cost, error) {
	logged, err := audit.Size(lab.Audit)
	if err != nil {
		return Cost{}, err
	}
	absent, err := watchSecret(ctx, lab)
	if err != nil {
		return Cost{}, err
	}
	before := children()
	cost, err := way.Rotate(ctx)
	if err != nil {
		return Cost{}, fmt.Errorf("rotate %s: %w", way.Name, err)
	}
	cost.Processor, cost.Absent = children()-before, absent()
	cost.Requests, err = requests(lab.Audit, logged, way.Agent)
	return cost, err
}

// children is the processor time of all processes that this one has waited for.
func children() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// requests counts those of a sender that the API server has logged from offset on.
func requests(log string, offset int64, agent string) (count int, err error) {
	all, err := audit.Requests(log, offset, agent, func(e audit.Event) bool { return strings.HasPrefix(e.UserAgent, agent) })
	for _, n := range all {
		count += n
	}
	return count, err
}
