package bench

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/byhand"
	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/rehearsal"
)

// BenchmarkRotation prints what a rotation costs, by hand and by pgrotate.
func BenchmarkRotation(b *testing.B) {
	lab := labtest.Open(b)
	lab.Platform(b)
	path, err := program.Build(b.Context(), "../..", b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	ways := []Way{
		{"by hand", "kubectl/", hand(b, lab)},
		{"pgrotate, in-place", "pgrotate", rotation(b, lab, path, "in-place")},
		{"pgrotate, alternate", "pgrotate", rotation(b, lab, path, "alternate")},
	}
	for b.Loop() {
		var costs []Cost
		for _, way := range ways {
			cost, err := Measure(b.Context(), lab, way)
			if err != nil {
				b.Fatal(err)
			}
			costs = append(costs, cost)
		}
		fmt.Fprint(os.Stdout, "\n"+Table(ways, costs))
		if _, err := rotation(b, lab, path, "alternate")(b.Context()); err != nil { // back to the role of the runbook
			b.Fatal(err)
		}
	}
}

func hand(b *testing.B, lab labtest.Lab) func(context.Context) (Cost, error) {
	return func(ctx context.Context) (Cost, error) {
		f, err := byhand.Rotate(ctx, lab, b.Output())
		return Cost{Total: f.Total, Refused: f.Refused, Window: f.Window}, err
	}
}

func rotation(b *testing.B, lab labtest.Lab, program, strategy string) func(context.Context) (Cost, error) {
	return func(ctx context.Context) (Cost, error) {
		f, err := rehearsal.Rehearsal{Lab: lab, Program: program, Folder: b.TempDir(), Strategy: strategy, Out: b.Output()}.Run(ctx)
		return Cost{Total: f.Total, Slowest: f.Slowest, Refused: f.Refused, Window: f.Seen, Memory: f.Memory}, err
	}
}

func TestOnlyWhatIsGoneCounts(t *testing.T) {
	events := make(chan watch.Event, 4)
	for _, kind := range []watch.EventType{watch.Added, watch.Modified, watch.Deleted, watch.Added} {
		events <- watch.Event{Type: kind}
	}
	close(events)
	if gone(events) <= 0 {
		t.Error("a Secret that was deleted was there all the time")
	}
	calm := make(chan watch.Event, 2)
	calm <- watch.Event{Type: watch.Added}
	calm <- watch.Event{Type: watch.Modified}
	close(calm)
	if d := gone(calm); d != 0 {
		t.Errorf("a Secret that was there all the time was gone for %s", d)
	}
}

func TestTableTellsWhatIsNotKnown(t *testing.T) {
	got := Table([]Way{{Name: "by hand"}}, []Cost{{Refused: 126, Window: 1500 * time.Millisecond, Requests: 7}})
	want := `| | by hand |
|---|---:|
| refused logins | 126 |
| from the first to the last of them | 1.50 s |
| the Secret is not there for | 0.00 s |
| whole | 0.00 s |
| beyond the slowest rollout | not measured |
| requests to the API server | 7 |
| processor time | 0.00 s |
| peak memory | not measured |
`
	if got != want {
		t.Errorf("got\n%s", got)
	}
}
