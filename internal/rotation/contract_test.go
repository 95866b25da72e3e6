package rotation_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation/rotationtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// The world keeps the promises that it is used to test with.

func TestWorldIsADatabase(t *testing.T) {
	rotationtest.TestDatabase(t, func(*testing.T) rotationtest.Database {
		w := newWorld()
		one, other := w.process(), w.process()
		return rotationtest.Database{Lock: lockPort{one}, Database: databasePort{one}, Other: lockPort{other},
			Role: role, Current: secret.Credential{User: role, Password: secret.New(birth)}, Cut: one.cut, Keep: secret.New}
	})
}

func TestWorldHasTwins(t *testing.T) {
	rotationtest.TestTwins(t, func(*testing.T) rotationtest.Twins {
		w := newWorld()
		one, other := w.process(), w.process()
		d := rotationtest.Database{Lock: lockPort{one}, Database: databasePort{one}, Other: lockPort{other},
			Role: role, Current: secret.Credential{User: role, Password: secret.New(birth)}, Cut: one.cut, Keep: secret.New}
		for _, set := range w.sets {
			set.pods = nil
		}
		return rotationtest.Twins{Database: d, Twins: twinsPort{one}, Retirement: retirementPort{one}, Twin: twin,
			Session: func(c secret.Credential) func() bool {
				alive := w.letsIn(c.User, c.Password.Reveal())
				w.visitors[c.User]++
				return func() bool { return alive }
			}}
	})
}

func TestWorldIsServed(t *testing.T) {
	rotationtest.TestServed(t, func(*testing.T) rotationtest.Served {
		w := newWorld()
		return rotationtest.Served{Served: servedPort{w.process()}, Keep: secret.New,
			Current: secret.Credential{User: role, Password: secret.New(birth)},
			Version: func() string { return w.served.version },
			Others:  func() string { return w.served.keys["other"] + w.served.keys["touched"] },
			Touch:   func() { w.served.keys["touched"], w.served.version = "by hand", w.version() },
			Delete:  func() { w.served = nil },
		}
	})
}

func TestWorldIsACopy(t *testing.T) {
	rotationtest.TestCopy(t, func(t *testing.T, check func(*testing.T, rotationtest.Copy)) {
		w := newWorld()
		check(t, rotationtest.Copy{Copy: copyPort{w.process(), remote},
			First:  secret.Credential{User: role, Password: secret.New("First")},
			Second: secret.Credential{User: role, Password: secret.New("Second")},
			Held:   func() secret.Value { return secret.New(w.copies[remote].password) },
			Want:   func(c secret.Credential) secret.Value { return c.Password },
		})
	})
}

func TestWorldIsAWorkload(t *testing.T) {
	rotationtest.TestWorkload(t, func(*testing.T) rotationtest.Workload {
		w := newWorld()
		return rotationtest.Workload{Workload: workloadPort{w.process(), inPod},
			Pods: func() map[string]string {
				pods := map[string]string{}
				for i, p := range w.sets[inPod].pods {
					pods[fmt.Sprintf("pod-%d-%s", i, p.mark)] = p.mark
				}
				return pods
			},
			Break: func() { w.sick = func(string, string) bool { return true } },
		}
	})
}

func TestWorldIsAJournal(t *testing.T) {
	rotationtest.TestJournal(t, func(*testing.T) rotationtest.Journal {
		w := newWorld()
		return rotationtest.Journal{Journal: journalPort{w.process()}, Other: journalPort{w.process()},
			Delete: func() { w.journal = secret.Document{} }}
	})
}

func TestWorldHasSessions(t *testing.T) {
	rotationtest.TestSessions(t, func(*testing.T) rotationtest.Sessions {
		w := newWorld()
		return rotationtest.Sessions{Sessions: sessionsPort{w.process()}, Role: role, Now: time.Now,
			Open: func(application string) func() bool {
				one := session{role, application, "10.1.0.1", time.Now()}
				w.clients = append(w.clients, one)
				return func() bool { return slices.Contains(w.clients, one) }
			}}
	})
}

func TestWorldHasAStandby(t *testing.T) {
	w := newWorld()
	p := w.process()
	rotationtest.TestStandbys(t, rotationtest.Standbys{Standbys: standbysPort{p}, Role: role, Names: []string{"standby two"},
		Change: func() secret.Credential {
			c := secret.Credential{User: role, Password: secret.New("Next"), Verifier: secret.New(w.verifier("Next"))}
			w.change(c)
			return c
		},
		Hold:    func() { w.replay = time.Hour },
		Release: func() { w.replay = 0 },
	})
}

func TestWorldHasAddresses(t *testing.T) {
	w := newWorld()
	w.origins = map[string]secret.Origin{"10.1.0.1": {Pods: []string{"prod/core-0"}, Owners: []string{inPod}}}
	rotationtest.TestAddresses(t, rotationtest.Addresses{Addresses: addressesPort{w.process()}, Has: "10.1.0.1", Pod: "prod/core-0", Unknown: "192.0.2.1"})
}

func TestWorldHasHealth(t *testing.T) {
	w := newWorld()
	rotationtest.TestHealth(t, rotationtest.Health{Health: healthPort{w.process()},
		Want:   map[string]secret.Readiness{inPod: {Ready: 2, Pods: 2}, inPod2: {Ready: 2, Pods: 2}},
		Sicken: func(owner string) { w.sick = func(name, _ string) bool { return name == owner } },
	})
}
