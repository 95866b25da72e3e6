package crash

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// mode is a kind of rotation, with the inputs that ask for it.
type mode struct {
	name   string
	inputs map[string]string
	begins string // the request since which another run's rotation does for its own
}

// emergency tells whether it replaces a compromised password.
func (m mode) emergency() bool { return m.inputs["INPUT_MODE"] == "emergency" }

func modes() []mode {
	return []mode{
		{"planned", nil, "postgres SELECT pg_advisory_lock"},
		{"alternate", map[string]string{"INPUT_STRATEGY": "alternate"}, "postgres SELECT pg_advisory_lock"},
		// As on GitHub, where masks and groups are commands in the output.
		{"emergency", map[string]string{"INPUT_MODE": "emergency", "INPUT_REASON": "a proof", "GITHUB_ACTIONS": "true"}, "kubernetes PUT secrets/postgres-credentials-rotation #"},
	}
}

const switching = "emergency that switches"

// switchingAlarm is an emergency that switches roles, and closes the former one
// with the last ALTER ROLE.
func switchingAlarm() mode {
	m := modes()[2]
	m.name, m.inputs = switching, maps.Clone(m.inputs)
	m.inputs["INPUT_STRATEGY"] = "alternate"
	return m
}

// allModes are the modes, and the emergency that switches.
func allModes() []mode { return append(modes(), switchingAlarm()) }

// TestNothingIsLost holds the program to its first promise. PGROTATE_CRASH=whole
// tries every case (make crash), else a part of them that is always the same;
// PGROTATE_CASE tries only the case of that name, as a failure tells it.
func TestNothingIsLost(t *testing.T) {
	s := newSuite(t)
	for _, p := range s.long() {
		t.Run(p.name, p.run)
	}
	t.Run("busy", func(t *testing.T) {
		t.Parallel()
		for _, p := range s.busy() {
			t.Run(p.name, p.run)
		}
	})
}

// proof is one of the proofs that nothing is lost.
type proof struct {
	name string
	run  func(*testing.T)
}

// long are those that wait most of their time, and are not left for the end.
func (s *suite) long() []proof {
	return []proof{{"judge", s.judge}, {"outage", s.outage}, {"zombie", s.zombie}}
}

func (s *suite) busy() []proof {
	return []proof{{"kill", s.kill}, {"back", s.back}, {"undo", s.undo}, {"supersede", s.supersede}, {"term", s.term}, {"cut", s.cut}, {"race", s.race}, {"leak", s.leak}, {"round trips", s.roundTrips}}
}

// suite is what all cases share.
type suite struct {
	t       *testing.T // the whole: benches outlive the part that made them
	lab     labtest.Lab
	program string
	folder  string
	whole   bool
	only    string

	resting sync.Mutex
	atRest  map[kind][]proxy.Request // of rotations that met no fault

	mu      sync.Mutex
	used    bool
	free    map[kind][]*Bench // nobody works on them, and no case has failed there
	remarks []string          // a line for each case that has failed or was not met
}

// kind is what a bench is used for: its first rotations are of one mode.
type kind struct {
	mode string
	pods bool
}

func newSuite(t *testing.T) *suite {
	s := &suite{t: t, lab: labtest.Open(t), folder: t.TempDir(), whole: os.Getenv("PGROTATE_CRASH") == "whole", only: os.Getenv("PGROTATE_CASE"),
		atRest: map[kind][]proxy.Request{}, free: map[kind][]*Bench{}}
	t.Cleanup(s.tellRemarks)
	t.Cleanup(func() {
		if !s.used {
			t.Error("no proof or case has this name") // go test says nothing of subtests that are not there
		}
	})
	var err error
	if s.program, err = program.Build(t.Context(), "../..", s.folder); err != nil {
		t.Fatal(err)
	}
	return s
}

// use notes that something is tried.
func (s *suite) use(tries bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = s.used || tries
}

// part chooses about n of the cases, always the same: those that must, and
// others at even distances.
func part[C fmt.Stringer](s *suite, cases []C, n int, must func(C) bool) []C {
	var chosen, rest []C
	for _, c := range cases {
		switch {
		case s.only != "":
			if c.String() == s.only {
				chosen = append(chosen, c)
			}
		case s.whole || must(c):
			chosen = append(chosen, c)
		default:
			rest = append(rest, c)
		}
	}
	if s.whole || s.only != "" {
		return chosen
	}
	return append(chosen, evenly(rest, n-len(chosen))...)
}

// evenly chooses n of the cases, or all, at even distances.
func evenly[C any](cases []C, n int) (chosen []C) {
	n = min(max(0, n), len(cases))
	for i := range n {
		chosen = append(chosen, cases[i*len(cases)/n])
	}
	return chosen
}

// benches is how many cases of a proof are tried at once; go test's -parallel says
// how many proofs.
func (s *suite) benches() int {
	if s.whole {
		return 4
	}
	return 2
}

// bench makes a bench that is removed at the end of all, after a first rotation:
// the journal is there.
func (s *suite) bench(t *testing.T, pods bool) *Bench {
	s.use(s.only == "")
	b, err := NewBench(s.t.Context(), s.lab, s.program, s.folder, pods)
	s.t.Cleanup(func() {
		if err := b.Close(); err != nil {
			s.t.Errorf("remove %s: %v", b.Name, err)
		}
	})
	if err != nil {
		t.Error(err)
		return nil
	}
	if ended, err := b.Run(nil); err != nil || ended.Code != 0 {
		t.Errorf("the first rotation ended with %d: %v\n%s", ended.Code, err, ended.Said)
		return nil
	}
	return b
}

// borrow returns a bench that is free, or a new one.
func (s *suite) borrow(t *testing.T, k kind) *Bench {
	s.mu.Lock()
	if free := s.free[k]; len(free) > 0 {
		s.free[k] = free[1:]
		s.mu.Unlock()
		return free[0]
	}
	s.mu.Unlock()
	return s.bench(t, k.pods)
}

// giveBack makes a bench free. In the whole it is removed: pods that nobody looks at
// any more would go on logging in for hours.
func (s *suite) giveBack(k kind, b *Bench) {
	if s.whole {
		if err := b.Close(); err != nil {
			s.t.Errorf("remove %s: %v", b.Name, err)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free[k] = append(s.free[k], b)
}

// spread tries all cases, several at once, and counts; most of them must be
// reached. A bench on which a case has failed is not used again.
func spread[C fmt.Stringer](s *suite, t *testing.T, k kind, cases []C, try func(*Bench, C) outcome) *figures {
	f := &figures{began: time.Now()}
	if len(cases) == 0 && s.only == "" {
		t.Error("there is no case")
	}
	s.use(len(cases) > 0)
	queue := make(chan C, len(cases))
	for _, c := range cases {
		queue <- c
	}
	close(queue)
	var wg sync.WaitGroup
	for range min(s.benches(), len(cases)) {
		wg.Go(func() {
			b := s.borrow(t, k)
			for c := range queue {
				if b == nil || t.Context().Err() != nil {
					t.Errorf("not tried: %s", c)
					continue
				}
				o := try(b, c)
				if o.unreached && o.err == nil { // in another order it may be there
					o = try(b, c)
				}
				f.add(o)
				if o.unreached && o.err == nil {
					s.remark("not met: %s", c)
				}
				if o.err != nil {
					t.Errorf("%v\nagain: PGROTATE_CASE=%q go test -count=1 -run %s ./crash\n%s", o.err, c, t.Name(), o.said)
					s.remark("failed: %s: %q", c, o.err)
					f.leaked(t, b)
					b = s.borrow(t, k)
				}
			}
			if b != nil {
				f.leaked(t, b)
				s.giveBack(k, b)
			}
		})
	}
	wg.Wait()
	if s.only == "" {
		f.reachedEnough(t)
	}
	return f
}

func (s *suite) remark(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remarks = append(s.remarks, fmt.Sprintf(format, args...))
}

// tellRemarks names the failed cases again after all output, and those that were
// not met.
func (s *suite) tellRemarks() {
	for _, line := range s.remarks {
		fmt.Fprintln(os.Stdout, line)
	}
}

// outcome is what came of one case.
type outcome struct {
	err       error
	unreached bool           // the run ended without the request
	left      *fixture.State // before the resume
	resumed   time.Duration  // how long the resume took
	code      int            // its exit code
	said      string         // what the program said
}

// listed names requests, one a line.
func listed(requests []proxy.Request) string {
	var lines strings.Builder
	for _, r := range requests {
		fmt.Fprintln(&lines, r.Name())
	}
	return lines.String()
}

// figures count outcomes. Safe for concurrent use.
type figures struct {
	began time.Time

	mu                                            sync.Mutex
	tried, unreached, lost, locked, differ, other int
	texts, leaks                                  int
	slowest                                       time.Duration
}

func (f *figures) add(o outcome) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tried++
	f.slowest = max(f.slowest, o.resumed)
	switch {
	case errors.Is(o.err, errLost):
		f.lost++
	case errors.Is(o.err, errLockedOut):
		f.locked++
	case errors.Is(o.err, errDiffering):
		f.differ++
	case o.err != nil:
		f.other++
	case o.unreached:
		f.unreached++
	}
}

// reached is how many cases have met their request.
func (f *figures) reached() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tried - f.unreached
}

// mayMiss is how many of the cases need not be reached: the order of concurrent
// requests differs from run to run, and some are made in a first rotation only.
func mayMiss(tried int) int { return max(1, tried/4) }

func (f *figures) reachedEnough(t testing.TB) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if may := mayMiss(f.tried); f.unreached > may {
		t.Errorf("%d of %d cases were not reached, %d need not be", f.unreached, f.tried, may)
	}
}

// leaked adds what was found on a bench.
func (f *figures) leaked(t *testing.T, b *Bench) {
	hits, searched, err := b.Leaks()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.texts += searched
	f.leaks += len(hits)
	if len(hits) > 0 || err != nil {
		t.Errorf("secrets where they must not be: %v\n%s", err, strings.Join(hits, "\n"))
	}
}

func (f *figures) String() string {
	return fmt.Sprintf("%d tried, %d of them reached, %d lost, %d locked out, %d differing, %d otherwise wrong, %d leaks in %d texts; slowest resume %.1fs, all in %.0fs",
		f.tried, f.tried-f.unreached, f.lost, f.locked, f.differ, f.other, f.leaks, f.texts, f.slowest.Seconds(), time.Since(f.began).Seconds())
}

// reports collects what a test is told to fail with.
type reports struct {
	testing.TB
	said []string
}

func (r *reports) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func TestTheWholeOfTheKillsIsLargeEnough(t *testing.T) {
	for _, c := range []struct {
		whole bool
		kills int
		fails bool
	}{{true, 249, true}, {true, 250, false}, {false, 1, false}} {
		told := &reports{TB: t}
		(&suite{whole: c.whole}).killedEnough(told, c.kills)
		if (len(told.said) > 0) != c.fails {
			t.Errorf("%d kills, whole %t: %q", c.kills, c.whole, told.said)
		}
	}
}

func TestProofFailsWhereTooFewCasesAreReached(t *testing.T) {
	for _, c := range []struct {
		tried, unreached int
		fails            bool
	}{{1, 1, false}, {5, 1, false}, {5, 2, true}, {12, 3, false}, {12, 4, true}, {150, 37, false}, {150, 38, true}} {
		told := &reports{TB: t}
		(&figures{tried: c.tried, unreached: c.unreached}).reachedEnough(told)
		if (len(told.said) > 0) != c.fails {
			t.Errorf("%d of %d cases not reached: %q", c.unreached, c.tried, told.said)
		}
	}
}
