package scale

import (
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/lab/audit"
	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/rollouts"
)

// Cost is what one rotation took.
type Cost struct {
	Total       time.Duration // from the start to the end of the process
	Preflight   time.Duration
	Slowest     time.Duration  // rollout, until the last old pod has ended
	Requests    map[string]int // to the API server, by verb and resource
	GitHub      int            // requests
	Limited     int            // of them refused by GitHub's limits
	Bytes       int64          // to and from the API server
	Connections int64          // to the API server
	Memory      int64          // largest resident set, bytes
	Processor   time.Duration
}

// Asked is the number of requests to the API server.
func (c Cost) Asked() (n int) {
	for _, count := range c.Requests {
		n += count
	}
	return n
}

// Beyond is the time that is not the slowest rollout's.
func (c Cost) Beyond() time.Duration { return c.Total - c.Slowest }

// limit is how long a rotation may take.
const limit = 3 * time.Hour

// Rotate rotates once with the program at that path, and demands that it does.
// more is added to its environment.
func (b *Bench) Rotate(path string, more map[string]string) (Cost, error) {
	logged, err := audit.End(b.Lab.Audit)
	if err != nil {
		return Cost{}, err
	}
	asked, limited := len(b.GitHub.Requests()), b.GitHub.Limited()
	inputs, folder, err := b.prepare()
	if err != nil {
		return Cost{}, err
	}
	maps.Copy(inputs, more)
	slowest, err := rollouts.Watch(b.ctx, b.Cluster, b.Name)
	if err != nil {
		return Cost{}, err
	}
	run, err := program.Start(path, folder, inputs)
	if err != nil {
		slowest()
		return Cost{}, err
	}
	peak := program.WatchMemory(run.PID())
	code, err := run.Wait(limit)
	c := Cost{Slowest: slowest(), Memory: peak(), Bytes: b.Roads[Kubernetes].Bytes(), Connections: b.Roads[Kubernetes].Connections()}
	if err != nil || code != 0 {
		return c, fmt.Errorf("rotate: exit code %d, %v\n%s", code, err, tail(run.Said()))
	}
	c.Total, c.Processor, c.GitHub, c.Limited = run.Took(), run.Processor(), len(b.GitHub.Requests())-asked, b.GitHub.Limited()-limited
	if c.Requests, err = b.requests(logged); err != nil {
		return c, err
	}
	told, err := program.ReadReport(filepath.Join(folder, program.Report))
	c.Preflight = told.Preflight
	return c, err
}

// requests counts those of the platform's account.
func (b *Bench) requests(since audit.Place) (map[string]int, error) {
	account := fmt.Sprintf("system:serviceaccount:%s:pgrotate", b.Name)
	return audit.Requests(b.Lab.Audit, since, account, func(e audit.Event) bool { return e.User.Username == account })
}

// tail is the end of what the program has said.
func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}
