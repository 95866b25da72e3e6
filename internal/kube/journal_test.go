package kube

import (
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestJournal(t *testing.T) {
	c := lab(t)
	j := c.Journal(servedName)
	empty, err := j.Load(t.Context())
	if err != nil || empty.Version != "" || len(empty.Annotations)+len(empty.Data) > 0 {
		t.Fatalf("a journal that is not there: %+v, %v", empty, err)
	}
	first := save(t, j, document(empty.Version, "phase=forward", "epoch=1"), "pending=one", "previous=two")
	if o := readSecret(t, c, servedName+"-rotation"); o.Labels[managedBy] != "pgrotate" || string(o.Type) != "Opaque" {
		t.Errorf("labels %v, type %q", o.Labels, o.Type)
	}
	mergePatch(t, c, servedName+"-rotation", `{"metadata":{"labels":{"team":"dba"},"annotations":{"note":"theirs"}}}`)

	_, err = j.Save(t.Context(), first)
	wantFailure(t, err, conflict, "write Secret")

	loaded, err := c.Journal(servedName).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Annotations["pgrotate.io/epoch"] != "1" || loaded.Data["pending"].Reveal() != "one" || len(loaded.Annotations) != 2 {
		t.Errorf("loaded %+v", loaded)
	}
	// Another process that knows the version from elsewhere may write too.
	second := save(t, c.Journal(servedName), document(loaded.Version, "phase=idle"), "previous=two")
	o := readSecret(t, c, servedName+"-rotation")
	if want := map[string]string{"note": "theirs", "pgrotate.io/phase": "idle"}; !reflect.DeepEqual(o.Annotations, want) {
		t.Errorf("annotations %v, want %v", o.Annotations, want)
	}
	if o.Labels["team"] != "dba" || len(o.Data) != 1 || string(o.Data["previous"]) != "two" {
		t.Errorf("labels %v, data %q", o.Labels, o.Data)
	}
	for _, stale := range []string{first.Version, loaded.Version} {
		for _, writer := range []*Journal{j, c.Journal(servedName)} {
			_, err := writer.Save(t.Context(), document(stale, "phase=forward"))
			wantFailure(t, err, conflict, "")
		}
	}
	save(t, j, document(second.Version, "phase=forward"))
}

func TestJournalCreatedTwice(t *testing.T) {
	c := lab(t)
	save(t, c.Journal(servedName), document("", "phase=idle"))
	_, err := c.Journal(servedName).Save(t.Context(), document("", "phase=idle"))
	wantFailure(t, err, conflict, "already exists")
}

func TestJournalDeletedOrMadeAnew(t *testing.T) {
	c := lab(t)
	j := c.Journal(servedName)
	d := save(t, j, document("", "phase=idle"))
	erase(t, c, "secrets", c.namespace, servedName+"-rotation")
	_, err := j.Save(t.Context(), d)
	wantFailure(t, err, conflict, "deleted")

	anew := save(t, c.Journal(servedName), document("", "phase=idle"))
	if o := readSecret(t, c, servedName+"-rotation"); !strings.HasPrefix(anew.Version, string(o.UID)) {
		t.Errorf("version %q does not tell which object it is of", anew.Version)
	}
	_, err = j.Save(t.Context(), d)
	wantFailure(t, err, conflict, "")
}

func TestJournalPlan(t *testing.T) {
	admin := lab(t)
	name := servedName + "-rotation"
	get := `{"apiGroups":[""],"resources":["secrets"],"resourceNames":["` + name + `"],"verbs":["get"]}`
	update := strings.Replace(get, "get", "update", 1)
	create := `{"apiGroups":[""],"resources":["secrets"],"verbs":["create"]}`

	if err := admin.Journal(servedName).Plan(t.Context()); err != nil {
		t.Errorf("as administrator: %v", err)
	}
	f := wantFailure(t, as(t, lab(t)).Journal(servedName).Plan(t.Context()), refused, "forbidden")
	if !strings.Contains(f.Hint(), `resourceNames: ["postgres-credentials-rotation"], verbs: ["get", "update"]`) {
		t.Errorf("hint %q", f.Hint())
	}
	wantFailure(t, as(t, lab(t), get).Journal(servedName).Plan(t.Context()), refused, "may not update it")
	f = wantFailure(t, as(t, lab(t), get, update).Journal(servedName).Plan(t.Context()), refused, "may not create it")
	if !strings.Contains(f.Hint(), "name: "+name+"\n") {
		t.Errorf("the hint has no manifest: %q", f.Hint())
	}
	if err := as(t, lab(t), get, update, create).Journal(servedName).Plan(t.Context()); err != nil {
		t.Errorf("with all rights: %v", err)
	}

	c := lab(t)
	save(t, c.Journal(servedName), document("", "phase=idle"))
	if err := as(t, c, get, update).Journal(servedName).Plan(t.Context()); err != nil {
		t.Errorf("a journal that is there needs no right to create: %v", err)
	}
}

func document(version string, annotations ...string) secret.Document {
	d := secret.Document{Version: version, Annotations: map[string]string{}, Data: map[string]secret.Value{}}
	for _, pair := range annotations {
		name, text, _ := strings.Cut(pair, "=")
		d.Annotations[annotationPrefix+name] = text
	}
	return d
}

func save(t *testing.T, j *Journal, d secret.Document, data ...string) secret.Document {
	t.Helper()
	for _, pair := range data {
		key, text, _ := strings.Cut(pair, "=")
		d.Data[key] = secret.New(text)
	}
	stored, err := j.Save(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if stored.Version == d.Version || !maps.Equal(stored.Annotations, d.Annotations) {
		t.Fatalf("stored %+v, want %+v with a new version", stored, d)
	}
	return stored
}
