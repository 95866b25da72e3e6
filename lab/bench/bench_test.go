package bench

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/byhand"
	"github.com/pgrotate/pgrotate/lab/platform"
	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/rehearsal"
)

// paces are how often each of the six pods logs in: more often than the small machine
// can serve, as the platform does by itself, and at ease.
func paces() []time.Duration { return []time.Duration{100 * time.Millisecond, time.Second} }

// BenchmarkRotation prints what a rotation costs, by hand and by pgrotate.
func BenchmarkRotation(b *testing.B) {
	lab := labtest.Open(b)
	lab.Platform(b)
	client, err := platform.Connect(lab.Kubeconfig)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := platform.Pace(context.WithoutCancel(b.Context()), client, paces()[0]); err != nil {
			b.Error(err)
		}
	})
	path, err := program.Build(b.Context(), "../..", b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	ways := []Way{
		{"by hand", "kubectl/", hand(b)},
		{"pgrotate, in-place", "pgrotate", rotation(b, path, "in-place")},
		{"pgrotate, alternate", "pgrotate", rotation(b, path, "alternate")},
	}
	for b.Loop() {
		for _, pace := range paces() {
			if err := platform.Pace(b.Context(), client, pace); err != nil {
				b.Fatal(err)
			}
			fmt.Fprintf(os.Stdout, "\neach pod logs in every %s\n\n%s", pace, Table(ways, measured(b, lab, ways)))
			if _, err := rotation(b, path, "alternate")(b.Context(), lab); err != nil { // back to the role of the runbook
				b.Fatal(err)
			}
		}
	}
}

func measured(b *testing.B, lab labtest.Lab, ways []Way) (costs []Cost) {
	for _, way := range ways {
		cost, err := Measure(b.Context(), lab, way)
		if err != nil {
			b.Fatal(err)
		}
		costs = append(costs, cost)
	}
	return costs
}

func hand(b *testing.B) func(context.Context, labtest.Lab) (Cost, error) {
	return func(ctx context.Context, lab labtest.Lab) (Cost, error) {
		f, err := byhand.Rotate(ctx, lab, b.Output())
		return Cost{Total: f.Total, Slowest: f.Slowest, Refused: f.Refused, Window: f.Window, Memory: f.Memory}, err
	}
}

func rotation(b *testing.B, program, strategy string) func(context.Context, labtest.Lab) (Cost, error) {
	return func(ctx context.Context, lab labtest.Lab) (Cost, error) {
		f, err := rehearsal.Rehearsal{Lab: lab, Program: program, Folder: b.TempDir(), Strategy: strategy, Out: b.Output()}.Run(ctx)
		return Cost{Total: f.Total, Preflight: f.Preflight, Slowest: f.Slowest, Refused: f.Refused, Window: f.Seen, Memory: f.Memory}, err
	}
}

func TestOnlyWhatIsGoneOrChangedCounts(t *testing.T) {
	type step struct {
		kind     watch.EventType
		password string
	}
	seen := func(steps ...step) observation {
		events := make(chan watch.Event, len(steps))
		for _, s := range steps {
			events <- watch.Event{Type: s.kind, Object: &corev1.Secret{Data: map[string][]byte{"password": []byte(s.password)}}}
		}
		close(events)
		return served("a", events)
	}
	if o := seen(step{watch.Modified, "a"}, step{watch.Deleted, "a"}, step{watch.Added, "b"}); o.absent <= 0 || o.served.IsZero() {
		t.Errorf("a Secret that was deleted and made anew: %+v", o)
	}
	if o := seen(step{watch.Modified, "a"}); o.absent != 0 || !o.served.IsZero() {
		t.Errorf("a Secret that was there all the time: %+v", o)
	}
}

func TestTableTellsWhatIsNotKnown(t *testing.T) {
	got := Table([]Way{{Name: "by hand"}}, []Cost{{Refused: 126, Window: 1500 * time.Millisecond, Gap: -1, Requests: 7, Bytes: 1 << 19}})
	want := `| | by hand |
|---|---:|
| refused logins | 126 |
| from the first to the last of them | 1.50 s |
| the Secret is not there for | 0.00 s |
| from ALTER ROLE to the Secret | not measured |
| whole | 0.00 s |
| preflight | none |
| beyond the slowest rollout | not measured |
| requests to the API server | 7 |
| bytes to and from it | 0.50 MiB |
| processor time | 0.00 s |
| peak memory | not measured |
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}
