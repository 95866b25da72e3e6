// Package bench measures pgrotate beside the runbook by hand: the same platform,
// one after the other.
package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest"
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
	audit, err := os.Stat(lab.Audit)
	if err != nil {
		return Cost{}, fmt.Errorf("find the audit log: %w", err)
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
	cost.Requests, err = requests(lab.Audit, audit.Size(), way.Agent)
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
func requests(audit string, offset int64, agent string) (count int, err error) {
	file, err := os.Open(audit)
	if err != nil {
		return 0, fmt.Errorf("read the audit log: %w", err)
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return count, nil // a line that is being written is nobody's yet
		}
		var event struct{ Stage, UserAgent string }
		if err := json.Unmarshal(line, &event); err != nil {
			return 0, fmt.Errorf("read the audit log: %w", err)
		}
		if event.Stage == "ResponseComplete" && strings.HasPrefix(event.UserAgent, agent) {
			count++
		}
	}
}
