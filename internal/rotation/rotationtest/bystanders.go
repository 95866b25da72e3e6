package rotationtest

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// Sessions are those of one role, which nobody else uses.
type Sessions struct {
	Sessions rotation.Sessions
	Role     string
	Now      func() time.Time // database clock
	// Open opens a session that calls itself so, and returns what tells whether it
	// is alive.
	Open func(application string) (alive func() bool)
	Own  string // what the sessions of pgrotate call themselves; empty: there are none
}

// TestSessions holds a Sessions to what rotation expects of it. Every subtest
// gets a role of its own from the factory.
func TestSessions(t *testing.T, factory func(*testing.T) Sessions) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Sessions)
	}{
		{"PlansEndNothing", sessionsPlan},
		{"TheChangePartsTheFormerFromTheRecent", sessionsOpened},
		{"TerminateEndsTheFormerOnly", sessionsTerminate},
		{"OthersAreLeftAlone", sessionsOthers},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, factory(t)) })
	}
}

func (s Sessions) opened(t *testing.T, roles []string, change time.Time) map[string]secret.Sessions {
	t.Helper()
	found, err := s.Sessions.Opened(t.Context(), roles, change)
	must(t, err, "look at the sessions")
	all := map[string]secret.Sessions{}
	for _, one := range found {
		all[one.Application] = one
	}
	return all
}

func sessionsPlan(t *testing.T, s Sessions) {
	alive := s.Open("planned")
	_, err := s.Sessions.PlanSessions(t.Context(), s.Role)
	must(t, err, "plan to look")
	must(t, s.Sessions.PlanTermination(t.Context(), s.Role), "plan to end them")
	if !alive() {
		t.Error("a plan ended a session")
	}
}

func sessionsOpened(t *testing.T, s Sessions) {
	before := s.Now()
	s.Open("old")
	s.Open("both")
	s.Open("old")
	change := s.Now()
	s.Open("both")
	s.Open("new")
	found := s.opened(t, []string{s.Role, s.Role + "_that_is_not_there"}, change)
	for application, want := range map[string][2]int{"old": {2, 0}, "both": {1, 1}, "new": {0, 1}} {
		got := found[application]
		if got.Role != s.Role || got.Former != want[0] || got.Recent != want[1] || got.Hidden != 0 {
			t.Errorf("%q: %+v, want %d former and %d recent", application, got, want[0], want[1])
		}
		if got.Since.IsZero() != (want[0] == 0) || !got.Since.IsZero() && (got.Since.Before(before) || !got.Since.Before(change)) {
			t.Errorf("%q: the oldest is said to be of %v", application, got.Since)
		}
	}
	if len(found) != 3 {
		t.Errorf("%d clients, want 3", len(found))
	}
}

func sessionsTerminate(t *testing.T, s Sessions) {
	old, older := s.Open("old"), s.Open("older")
	change := s.Now()
	recent := s.Open("old")
	for _, want := range []int{2, 0} {
		ended, err := s.Sessions.Terminate(t.Context(), []string{s.Role}, change)
		must(t, err, "end the former sessions")
		if ended != want {
			t.Errorf("%d were ended, want %d", ended, want)
		}
	}
	if old() || older() || !recent() {
		t.Errorf("alive: %v, %v, the recent one %v", old(), older(), recent())
	}
}

func sessionsOthers(t *testing.T, s Sessions) {
	open := s.Open("old")
	own := func() bool { return true }
	if s.Own != "" {
		own = s.Open(s.Own)
	}
	found := s.opened(t, []string{s.Role}, s.Now())
	if _, there := found[s.Own]; there && s.Own != "" {
		t.Error("a session of pgrotate is named")
	}
	ended, err := s.Sessions.Terminate(t.Context(), []string{s.Role + "_that_is_not_there"}, s.Now())
	must(t, err, "end the sessions of another role")
	if ended != 0 || !open() {
		t.Errorf("%d sessions of another role were ended", ended)
	}
	_, err = s.Sessions.Terminate(t.Context(), []string{s.Role}, s.Now())
	must(t, err, "end the former sessions")
	if !own() || open() {
		t.Errorf("alive: pgrotate's %v, the former one %v", own(), open())
	}
}

// Standbys replay what Change does.
type Standbys struct {
	Standbys rotation.Standbys
	Role     string
	Change   func() secret.Credential // gives the role another password
	Hold     func()                   // the standbys replay nothing from now on
	Release  func()                   // they go on
	Names    []string                 // words that name each of them
}

// TestStandbys holds a Standbys to what rotation expects of it.
func TestStandbys(t *testing.T, s Standbys) {
	change, _, err := s.Standbys.PlanStandbys(t.Context(), s.Role)
	must(t, err, "plan")
	if change == "" {
		t.Error("the plan does not say what would be waited for")
	}
	s.Hold()
	c := s.Change()
	position, err := s.Standbys.Position(t.Context())
	must(t, err, "ask for the position")
	for range 2 {
		lagging := strings.Join(s.lagging(t, position, c), "; ")
		for _, name := range s.Names {
			if !strings.Contains(lagging, name) {
				t.Errorf("%q is not named: %s", name, lagging)
			}
		}
	}
	s.Release()
	for deadline := time.Now().Add(time.Minute); len(s.lagging(t, position, c)) > 0; <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("they lag for ever: %q", s.lagging(t, position, c))
		}
	}
}

func (s Standbys) lagging(t *testing.T, position string, c secret.Credential) []string {
	t.Helper()
	names, err := s.Standbys.Lagging(t.Context(), position, c)
	must(t, err, "ask who lags")
	return names
}

// Addresses is a cluster in which somebody has one address, and nobody another.
type Addresses struct {
	Addresses    rotation.Addresses
	Has, Unknown string
	Pod          string // that has it, "namespace/name"
}

// TestAddresses holds an Addresses to what rotation expects of it.
func TestAddresses(t *testing.T, a Addresses) {
	found, searched, err := a.Addresses.Origins(t.Context(), []string{a.Unknown, a.Has})
	must(t, err, "look for the addresses")
	at := found[a.Has]
	if !slices.Contains(at.Pods, a.Pod) || len(at.Owners) != len(at.Pods) || searched == "" {
		t.Errorf("%+v in %q, want %q", at, searched, a.Pod)
	}
	if _, there := found[a.Unknown]; there {
		t.Errorf("an address that nobody has: %+v", found[a.Unknown])
	}
}

// Health is some pods, all ready.
type Health struct {
	Health rotation.Health
	Want   map[string]secret.Readiness
	Sicken func(owner string) // takes the readiness of one of its pods
}

// TestHealth holds a Health to what rotation expects of it.
func TestHealth(t *testing.T, h Health) {
	wantName(t, h.Health)
	now, err := h.Health.Ready(t.Context())
	must(t, err, "count the pods")
	if !maps.Equal(now, h.Want) {
		t.Errorf("counted %+v, want %+v", now, h.Want)
	}
	for owner, was := range h.Want {
		h.Sicken(owner)
		now, err := h.Health.Ready(t.Context())
		must(t, err, "count the pods")
		if now[owner].Ready >= was.Ready {
			t.Errorf("%s: %+v though a pod is not ready", owner, now[owner])
		}
	}
}
