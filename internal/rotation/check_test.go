package rotation_test

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

const maximumAge = 80 * 24 * time.Hour

func looking(r *rotation.Rotation, ctx context.Context) rotation.Result { return r.Check(ctx) }

// looks are the calls that a check may make. Any other may write.
var looks = []string{"Served.Look", "Served.Differs", "Journal.Load", "Database.Holds", cluster + ".Differs", remote + ".Updated", inPod + ".Marks", inPod2 + ".Marks"}

// lookOver runs a check and demands that it only looks.
func (w *world) lookOver(t *testing.T, status rotation.Status, exit int, inputs ...func(*rotation.Rotation)) rotation.Result {
	t.Helper()
	w.policy.MaximumAge = maximumAge
	writes, calls := w.writes, len(w.calls)
	res, _ := w.run(looking, inputs...)
	expect(t, res, status, exit)
	if w.writes != writes {
		t.Errorf("a check made %d writes", w.writes-writes)
	}
	for _, call := range w.calls[calls:] {
		if !slices.ContainsFunc(looks, func(name string) bool { return strings.Contains(call, " "+name+" ") }) {
			t.Errorf("a check made the call %q", call)
		}
	}
	return res
}

// finds demands these findings and no others, in this order.
func finds(t *testing.T, res rotation.Result, texts ...string) {
	t.Helper()
	var found []string
	for _, c := range res.Checks {
		if c.Status != "" {
			found = append(found, c.What+": "+c.Err.Error())
		}
	}
	if len(found) != len(texts) {
		t.Fatalf("findings %q, want %d", found, len(texts))
	}
	for i, text := range texts {
		if !strings.Contains(found[i], text) {
			t.Errorf("finding %q does not say %q", found[i], text)
		}
	}
}

func warns(t *testing.T, res rotation.Result, words ...string) {
	t.Helper()
	for _, word := range words {
		if !slices.ContainsFunc(res.Warnings, func(text string) bool { return strings.Contains(text, word) }) {
			t.Errorf("no warning says %q: %q", word, res.Warnings)
		}
	}
}

func TestCheckFindsNothing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		res := w.lookOver(t, rotation.StatusUnchanged, 0)
		if !strings.Contains(res.Reason, "the Secret was created") || !res.OverdueAt.Equal(w.served.created.Add(maximumAge)) {
			t.Errorf("never rotated: %q, due %v", res.Reason, res.OverdueAt)
		}
		w.run(rotate)
		time.Sleep(time.Hour)
		res = w.lookOver(t, rotation.StatusUnchanged, 0)
		if !strings.Contains(res.Reason, "1h") || !strings.Contains(res.Reason, "last rotated") || !res.OverdueAt.Equal(w.served.stamp.RotatedAt.Add(maximumAge)) {
			t.Errorf("rotated: %q, due %v", res.Reason, res.OverdueAt)
		}
		var whats []string
		for _, c := range res.Checks {
			whats = append(whats, c.What)
		}
		if want := []string{"age", "journal", "database", "served Secret", "cluster copies", "restart", "restart", "GitHub"}; !slices.Equal(whats, want) {
			t.Errorf("looked at %q, want %q", whats, want)
		}
		if len(res.Warnings) > 0 {
			t.Errorf("warnings %q", res.Warnings)
		}
	})
}

func TestCheckFindsAnOldPassword(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		time.Sleep(maximumAge)
		w.lookOver(t, rotation.StatusUnchanged, 0)
		time.Sleep(time.Second)
		finds(t, w.lookOver(t, rotation.StatusOverdue, 1), "age: the password is 80 days old (never rotated by pgrotate")
		w.policy.MaximumAge = 0
		res, _ := w.run(looking)
		expect(t, res, rotation.StatusUnchanged, 0)
		if !res.OverdueAt.IsZero() {
			t.Error("it is due though no age was asked for")
		}
	})
}

// TestCheckFindsDrift: each thing that may drift is named, and nothing else.
func TestCheckFindsDrift(t *testing.T) {
	for name, test := range map[string]struct {
		before func(*world)
		want   string
	}{
		"the database has another password":   {func(w *world) { w.accepts = w.verifier("by hand") }, "database: log in as role"},
		"the role is closed":                  {func(w *world) { w.nologin = true }, "database: log in as role \"alfred_user\": the role is NOLOGIN"},
		"the Secret holds no password":        {func(w *world) { delete(w.served.keys, "password") }, "database: log in with what"},
		"another key of the Secret":           {func(w *world) { w.served.keys["url"] = "postgres://alfred_user:other@db/app" }, "served Secret: compare"},
		"a copy in the cluster":               {func(w *world) { w.copies[cluster] = copied{user: role, password: "other"} }, "cluster copies: compare"},
		"a copy that is gone":                 {func(w *world) { delete(w.copies, cluster) }, "cluster copies: there is no such Secret"},
		"a GitHub secret that somebody wrote": {func(w *world) { w.copies[remote] = copied{role, "other", w.tick()} }, "GitHub: look at GitHub secret acme/shop PASSWORD: somebody else wrote it"},
		"a GitHub secret that is gone":        {func(w *world) { delete(w.copies, remote) }, "GitHub: look at GitHub secret acme/shop PASSWORD: there is no such"},
		"a pod of an older rotation": {func(w *world) { w.sets[inPod2].pods[1].mark, w.sets[inPod2].pods[1].created = "id0", time.Time{} },
			"restart: look at deployment/ingest: 1 pod was not started with what rotation id2 serves: ingest-1 (restarted by id0)"},
		"a pod of no rotation":                     {func(w *world) { w.sets[inPod].pods[0].mark, w.sets[inPod].pods[0].created = "", time.Time{} }, "core-0 (no rotation restarted it)"},
		"a pod of a rotation that was turned back": {func(w *world) { w.sets[inPod].pods[0].mark = "id9" }, "core-0 (restarted by id9)"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.run(rotate)
				test.before(w)
				finds(t, w.lookOver(t, rotation.StatusDrifted, 1), test.want)
				w.broken = nil // what was done by hand breaks invariants
			})
		})
	}
}

// TestCheckLetsPodsBe: pods that were made after the change have read what is
// served, and so has every pod after a rotation that was turned back.
func TestCheckLetsPodsBe(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		time.Sleep(time.Second)
		w.sets[inPod].pods = append(w.sets[inPod].pods, pod{user: role, password: "NewPassword1", created: time.Now()})
		w.lookOver(t, rotation.StatusUnchanged, 0)
		w.sick = func(_, mark string) bool { return !strings.HasSuffix(mark, "-back") }
		res, _ := w.run(rotate)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.lookOver(t, rotation.StatusUnchanged, 0)
		w.sets[inPod].mark, w.sets[inPod].pods[0].mark = "", ""
		w.alone = inPod
		w.sets[inPod].pods[0].created = time.Time{}
		w.lookOver(t, rotation.StatusUnchanged, 0)
	})
}

// TestCheckWithoutARecord: a copy that no rotation has written is compared with
// the rotation's moment.
func TestCheckWithoutARecord(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		bare := func(r *rotation.Rotation) { r.RemoteCopies = nil }
		w.run(rotate, bare)
		w.copies[remote] = copied{role, "NewPassword1", time.Now().Add(-time.Hour)}
		finds(t, w.lookOver(t, rotation.StatusDrifted, 1), "GitHub: look at GitHub secret acme/shop PASSWORD: it was last written")
		w.copies[remote] = copied{role, "NewPassword1", time.Now().Add(time.Hour)}
		w.lookOver(t, rotation.StatusUnchanged, 0)
	})
}

// TestCheckFindsAnOpenRotation: the worst finding names the run, and what the
// rotation has yet to write is no drift.
func TestCheckFindsAnOpenRotation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		time.Sleep(maximumAge + time.Second)
		w.crashAt(t, "1 Database.Set 1")
		res := w.lookOver(t, rotation.StatusUnfinished, 1)
		finds(t, res, "age: ", "journal: finish rotation id2: it is open, going forward, the last run to claim it is https://ci/run/1", "database: log in as role")
		if len(res.Checks) != 3 {
			t.Errorf("looked at %d things", len(res.Checks))
		}
		says(t, res.Err, "command: resume")
		if rotation.ClassOf(res.Err) != rotation.Unhealthy || !strings.HasPrefix(res.Err.Error(), "finish rotation id2") {
			t.Errorf("the worst is not the first: %v", res.Err)
		}
		w.run(resume)
	})
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.journal.Annotations["pgrotate.io/record"] = "{"
		finds(t, w.lookOver(t, rotation.StatusUnfinished, 1), "journal: read the journal")
	})
}

// TestCheckNamesWhatItMayNotLookAt: a missing right hides nothing without a
// word, and everything else is still looked at.
func TestCheckNamesWhatItMayNotLookAt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		for _, name := range []string{"Journal.Load", "Database.Holds", cluster + ".Differs", remote + ".Updated", inPod + ".Marks"} {
			w.script["2 "+name+" 1"] = refuse
		}
		res := w.lookOver(t, rotation.StatusUnchanged, 0, func(r *rotation.Rotation) { r.Undiscovered = &failed{"refused", "list deployments: forbidden"} })
		warns(t, res, "not known: journal", "not known: database", "not known: cluster copies", "not known: GitHub", "not known: restart, deployment/core", "list deployments: forbidden")
	})
}

// TestCheckFailsWhereAServerIsGone: that is no missing right, and all is not well.
func TestCheckFailsWhereAServerIsGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.down = func(what string) bool { return what == "Database.Holds" }
		res := w.lookOver(t, rotation.StatusFailed, 2)
		warns(t, res, "not known: database")
		if res.FailedStep != "check" {
			t.Errorf("failed step %q", res.FailedStep)
		}
		w.copies[cluster] = copied{}
		finds(t, w.lookOver(t, rotation.StatusDrifted, 1), "cluster copies")
		w.down = func(what string) bool { return what == "Served.Look" }
		w.lookOver(t, rotation.StatusFailed, 2)
	})
	inWorld(t, func(t *testing.T, w *world) {
		w.served = nil
		w.lookOver(t, rotation.StatusRefused, 2)
	})
}

// TestCheckNamesARoleThatIsToBeRetired: it is a warning, every run may be the
// one that does it.
func TestCheckNamesARoleThatIsToBeRetired(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alternate, w.policy.RetireAfter = true, time.Hour
		w.run(rotate)
		res := w.lookOver(t, rotation.StatusUnchanged, 0)
		if len(res.Warnings) > 0 || res.FormerRole != role {
			t.Errorf("warnings %q, former role %q", res.Warnings, res.FormerRole)
		}
		time.Sleep(2 * time.Hour)
		warns(t, w.lookOver(t, rotation.StatusUnchanged, 0), "still logs in and was to be retired")
	})
}

// TestCheckTakesNoLock: it does not wait for a run that is at it.
func TestCheckTakesNoLock(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		before := maps.Clone(w.locks)
		w.locks[role] = w.process()
		w.lookOver(t, rotation.StatusUnchanged, 0)
		w.locks = before
	})
}
