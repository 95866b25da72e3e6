// Package bench measures pgrotate beside the runbook by hand: the same platform,
// one after the other.
package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/audit"
	"github.com/pgrotate/pgrotate/lab/road"
)

// Way is a way to rotate the platform's password.
type Way struct {
	Name   string
	Agent  string // how its requests to the API server begin to name their sender
	Rotate func(context.Context, labtest.Lab) (Cost, error)
}

// Cost is what one rotation took.
type Cost struct {
	Total     time.Duration // from the start to the end of the process
	Preflight time.Duration // zero: there is none
	Slowest   time.Duration // rollout, until the last old pod has ended; zero: not known
	Refused   int           // logins of the services
	Window    time.Duration // from the first to the last of them
	Memory    int64         // largest resident set of a process, bytes; zero: not known

	Absent    time.Duration // the Secret was not there
	Gap       time.Duration // from ALTER ROLE to the Secret; negative: not known
	Requests  int           // to the API server
	Bytes     int64         // to and from it
	Processor time.Duration // of the tool and all that it ran
}

// Measure rotates once.
func Measure(ctx context.Context, lab labtest.Lab, way Way) (Cost, error) {
	logged, err := audit.End(lab.Audit)
	if err != nil {
		return Cost{}, err
	}
	end, err := observe(ctx, lab)
	if err != nil {
		return Cost{}, err
	}
	over, counted, err := counting(lab)
	if err != nil {
		return Cost{}, err
	}
	defer counted.Close()
	before := children()
	cost, err := way.Rotate(ctx, over)
	seen := end()
	if err != nil {
		return Cost{}, fmt.Errorf("rotate %s: %w", way.Name, err)
	}
	cost.Processor, cost.Bytes = children()-before, counted.Bytes()
	cost.Absent, cost.Gap = seen.absent, seen.gap()
	cost.Requests, err = requests(lab.Audit, logged, way.Agent)
	return cost, err
}

// counting is the lab with a way to its API server that counts bytes.
func counting(lab labtest.Lab) (labtest.Lab, *road.Road, error) {
	config, err := clientcmd.LoadFromFile(lab.Kubeconfig)
	if err != nil {
		return lab, nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	cluster := config.Clusters[config.Contexts[config.CurrentContext].Cluster]
	server, err := url.Parse(cluster.Server)
	if err != nil {
		return lab, nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	r, err := road.New(server.Host)
	if err != nil {
		return lab, nil, err
	}
	cluster.Server = "https://" + r.Address
	if err := clientcmdapi.FlattenConfig(config); err != nil {
		return lab, nil, errors.Join(fmt.Errorf("read the kubeconfig: %w", err), r.Close())
	}
	lab.Kubeconfig += ".counting"
	return lab, r, clientcmd.WriteToFile(*config, lab.Kubeconfig)
}

// children is the processor time of all processes that this one has waited for.
func children() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &used); err != nil {
		return 0
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// requests counts those of a sender that the API server has logged since.
func requests(log string, since audit.Place, agent string) (count int, err error) {
	all, err := audit.Requests(log, since, agent, func(e audit.Event) bool { return strings.HasPrefix(e.UserAgent, agent) })
	for _, n := range all {
		count += n
	}
	return count, err
}
