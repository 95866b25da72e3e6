package rotationtest

import (
	"maps"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// Journal is a journal that does not exist yet, seen by two processes.
type Journal struct {
	Journal rotation.Journal
	Other   rotation.Journal // the same one, as another process sees it
	Delete  func()           // removes it, as a person does
}

// TestJournal holds a Journal to what rotation expects of it. Every subtest
// gets one of its own from the factory.
func TestJournal(t *testing.T, factory func(*testing.T) Journal) {
	for _, c := range []struct {
		name string
		run  func(*testing.T, Journal)
	}{
		{"PlanCreatesNothing", journalPlan},
		{"SaveIsLoaded", journalSave},
		{"SaveReplacesAll", journalReplace},
		{"StaleVersionIsAConflict", journalStale},
		{"CreatedOnce", journalOnce},
		{"RecreatedIsNotTheFormerOne", journalRecreated},
		{"OddBytesSurvive", journalBytes},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := factory(t)
			wantName(t, j.Journal)
			c.run(t, j)
		})
	}
}

func document(version, phase string, data ...string) secret.Document {
	d := secret.Document{Version: version, Data: map[string]secret.Value{},
		Annotations: map[string]string{"pgrotate.io/phase": phase, "pgrotate.io/record": `{"version":1}`}}
	for _, key := range data {
		d.Data[key] = secret.New("value of " + key)
	}
	return d
}

func save(t *testing.T, j rotation.Journal, d secret.Document) secret.Document {
	t.Helper()
	stored, err := j.Save(t.Context(), d)
	must(t, err, "save")
	if stored.Version == "" || stored.Version == d.Version {
		t.Errorf("the version was %q and is %q", d.Version, stored.Version)
	}
	wantDocument(t, stored, d)
	return stored
}

func load(t *testing.T, j rotation.Journal) secret.Document {
	t.Helper()
	d, err := j.Load(t.Context())
	must(t, err, "load")
	return d
}

// wantDocument compares what pgrotate owns; a store may add annotations of others.
func wantDocument(t *testing.T, got, want secret.Document) {
	t.Helper()
	ours := maps.Clone(got.Annotations)
	maps.DeleteFunc(ours, func(name, _ string) bool { return !strings.HasPrefix(name, "pgrotate.io/") })
	if !maps.Equal(ours, want.Annotations) {
		t.Errorf("annotations %q, want %q", ours, want.Annotations)
	}
	if !maps.EqualFunc(got.Data, want.Data, secret.Value.Equal) {
		t.Errorf("the data is not what was saved: %d keys, want %d", len(got.Data), len(want.Data))
	}
}

func wantVersion(t *testing.T, j rotation.Journal, want secret.Document) {
	t.Helper()
	got := load(t, j)
	wantSame(t, "the stored version", want.Version, got.Version)
	wantDocument(t, got, want)
}

func journalPlan(t *testing.T, j Journal) {
	must(t, j.Journal.Plan(t.Context()), "plan")
	if d := load(t, j.Journal); d.Version != "" || len(d.Data) != 0 {
		t.Errorf("a journal that nobody wrote has version %q and %d keys", d.Version, len(d.Data))
	}
	stored := save(t, j.Journal, document("", "idle"))
	must(t, j.Journal.Plan(t.Context()), "plan where there is one")
	wantVersion(t, j.Journal, stored)
}

func journalSave(t *testing.T, j Journal) {
	stored := save(t, j.Journal, document("", "forward", "pending", "previous"))
	wantVersion(t, j.Journal, stored)
	wantVersion(t, j.Other, stored)
}

func journalReplace(t *testing.T, j Journal) {
	stored := save(t, j.Journal, document("", "forward", "pending", "previous"))
	next := document(stored.Version, "idle", "previous")
	delete(next.Annotations, "pgrotate.io/record")
	wantVersion(t, j.Other, save(t, j.Journal, next))
}

func journalStale(t *testing.T, j Journal) {
	first := save(t, j.Journal, document("", "idle"))
	second := save(t, j.Other, document(first.Version, "forward", "pending"))
	_, err := j.Journal.Save(t.Context(), document(first.Version, "back", "previous"))
	wantClass(t, err, rotation.Conflict, "save over a version that is not the stored one", second.Data["pending"])
	_, err = j.Other.Save(t.Context(), document(first.Version, "back", "previous"))
	wantClass(t, err, rotation.Conflict, "save over a version that this process replaced itself", second.Data["pending"])
	wantVersion(t, j.Journal, second)
}

func journalOnce(t *testing.T, j Journal) {
	stored := save(t, j.Journal, document("", "idle"))
	_, err := j.Other.Save(t.Context(), document("", "forward", "pending"))
	wantClass(t, err, rotation.Conflict, "create what exists")
	wantVersion(t, j.Journal, stored)
}

func journalRecreated(t *testing.T, j Journal) {
	former := save(t, j.Journal, document("", "forward", "pending"))
	j.Delete()
	if d := load(t, j.Journal); d.Version != "" {
		t.Errorf("a deleted journal has version %q", d.Version)
	}
	_, err := j.Journal.Save(t.Context(), document(former.Version, "back"))
	wantClass(t, err, rotation.Conflict, "save over a journal that was deleted")
	recreated := save(t, j.Other, document("", "idle"))
	_, err = j.Journal.Save(t.Context(), document(former.Version, "back"))
	wantClass(t, err, rotation.Conflict, "save over a journal that was recreated")
	wantVersion(t, j.Journal, recreated)
}

func journalBytes(t *testing.T, j Journal) {
	d := document("", "idle")
	d.Annotations["pgrotate.io/reason"] = "quarterly: \"päss\" & <b>\n\t'x' 100%"
	d.Data["previous"] = secret.New("a\x00b\xff\xfe\n\r\u2028 end ")
	wantVersion(t, j.Other, save(t, j.Journal, d))
}
