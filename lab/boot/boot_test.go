package boot

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgrotate/pgrotate/lab/process"
)

// world records what happens to its parts.
type world struct {
	mu     sync.Mutex
	events []string
}

func (w *world) note(event string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, event)
}

func (w *world) before(t *testing.T, first, second string) {
	t.Helper()
	i, j := slices.Index(w.events, first), slices.Index(w.events, second)
	if i < 0 || j < 0 || i > j {
		t.Errorf("want %q before %q in %q", first, second, w.events)
	}
}

// part becomes ready some time after it was started.
type part struct {
	world *world
	name  string
	takes time.Duration
	fails error // of Start
	ends  error // of Ready

	mu      sync.Mutex
	started time.Time
}

func (p *part) Start(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.world.note("start " + p.name)
	p.started = time.Now()
	return p.fails
}

func (p *part) Ready(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ends != nil {
		return p.ends
	}
	if p.started.IsZero() || time.Since(p.started) < p.takes {
		return errors.New("not yet")
	}
	p.world.note("ready " + p.name)
	return nil
}

func (p *part) Stop(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.world.note("stop " + p.name)
	p.started = time.Time{}
	return p.fails
}

func quiet() *Log { return NewLog(&strings.Builder{}) }

func TestUpKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		steps := []Step{
			{Name: "c", After: []string{"a", "b"}, Part: &part{world: w, name: "c"}},
			{Name: "a", Part: &part{world: w, name: "a", takes: time.Second}},
			{Name: "b", Part: &part{world: w, name: "b", takes: time.Minute}},
		}
		begin := time.Now()
		if err := Up(t.Context(), steps, quiet()); err != nil {
			t.Fatal(err)
		}
		w.before(t, "ready a", "start c")
		w.before(t, "ready b", "start c")
		if took := time.Since(begin); took >= time.Minute+time.Second {
			t.Errorf("a and b did not start together: %s", took)
		}
	})
}

func TestUpLeavesAloneWhatIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		steps := []Step{{Name: "a", Part: &part{world: w, name: "a"}}}
		for range 2 {
			if err := Up(t.Context(), steps, quiet()); err != nil {
				t.Fatal(err)
			}
		}
		starts := slices.DeleteFunc(w.events, func(e string) bool { return e != "start a" })
		if len(starts) != 1 {
			t.Errorf("started %d times", len(starts))
		}
	})
}

func TestUpFails(t *testing.T) {
	gone := process.Ended{Name: "a"}
	for name, test := range map[string]struct {
		part *part
		want string
	}{
		"does not start":   {&part{fails: errors.New("no")}, "a: no"},
		"ends":             {&part{ends: gone}, "a: a does not run"},
		"never gets ready": {&part{takes: time.Hour}, "a: not ready after 2m0s: not yet"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &world{}
				test.part.world, test.part.name = w, "a"
				steps := []Step{
					{Name: "a", Part: test.part},
					{Name: "b", After: []string{"a"}, Part: &part{world: w, name: "b"}},
				}
				err := Up(t.Context(), steps, quiet())
				if err == nil || err.Error() != test.want {
					t.Errorf("error %q, want %q", err, test.want)
				}
				if slices.Contains(w.events, "start b") {
					t.Error("b was started")
				}
			})
		})
	}
}

func TestUpRefusesAnUnknownName(t *testing.T) {
	steps := []Step{{Name: "a", After: []string{"z"}, Part: &part{world: &world{}}}}
	if err := Up(t.Context(), steps, quiet()); err == nil || !strings.Contains(err.Error(), `"z"`) {
		t.Errorf("error %v", err)
	}
}

func TestSettle(t *testing.T) {
	for name, test := range map[string]struct {
		parts map[string]*part
		want  []string
		after time.Duration
	}{
		"all ready":   {map[string]*part{"a": {}}, nil, 0},
		"busy":        {map[string]*part{"a": {takes: 5 * time.Second}}, nil, 5 * time.Second},
		"too busy":    {map[string]*part{"a": {takes: time.Hour}, "b": {}}, []string{"a"}, 20 * time.Second},
		"ended":       {map[string]*part{"a": {ends: process.Ended{}}, "b": {}}, []string{"a"}, 0},
		"ended, busy": {map[string]*part{"a": {ends: process.Ended{}}, "b": {takes: time.Hour}}, []string{"a", "b"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var steps []Step
				for name, p := range test.parts {
					p.world, p.started = &world{}, time.Now()
					steps = append(steps, Step{Name: name, Part: p})
				}
				begin := time.Now()
				missing := Settle(t.Context(), steps, 20*time.Second)
				for _, name := range test.want {
					if missing[name] == nil {
						t.Errorf("%s is not missing", name)
					}
				}
				if len(missing) != len(test.want) {
					t.Errorf("missing %v, want %v", missing, test.want)
				}
				if took := time.Since(begin); took != test.after {
					t.Errorf("answered after %s, want %s", took, test.after)
				}
			})
		})
	}
}

func TestDownGoesBackwardsAndOn(t *testing.T) {
	w := &world{}
	steps := []Step{
		{Name: "a", Part: &part{world: w, name: "a"}},
		{Name: "b", Part: &part{world: w, name: "b", fails: errors.New("no")}},
		{Name: "c", Part: &part{world: w, name: "c"}},
	}
	if err := Down(t.Context(), steps, quiet()); err == nil || err.Error() != "b: no" {
		t.Errorf("error %v", err)
	}
	if want := []string{"stop c", "stop b", "stop a"}; !slices.Equal(w.events, want) {
		t.Errorf("events %q, want %q", w.events, want)
	}
}
