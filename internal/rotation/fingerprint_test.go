package rotation_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// fingerprint tells worlds apart in which a new run could go on differently: all
// of the world but what is noted for the test. Times are those of a bubble.
func (w *world) fingerprint() string {
	var b strings.Builder
	for i, f := range reflect.VisibleFields(reflect.TypeFor[world]()) {
		switch value := reflect.ValueOf(w).Elem().FieldByIndex(f.Index); f.Name {
		case "mu", "freed", "calls", "broken", "script", "hooks", "late", "processes", "writes", "checked", "stopped":
		case "sets", "locks", "journal": // of pointers and functions
		default:
			fmt.Fprintf(&b, "%d %s %+v\n", i, f.Name, value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.sets)) {
		fmt.Fprintf(&b, "%s %+v\n", name, reflect.ValueOf(w.sets[name]).Elem())
	}
	fmt.Fprintln(&b, slices.Sorted(maps.Keys(w.locks)), w.journal.Version, w.journal.Annotations)
	for _, key := range slices.Sorted(maps.Keys(w.journal.Data)) {
		fmt.Fprintln(&b, key, w.journal.Data[key].Reveal())
	}
	return b.String()
}

func TestFingerprintTellsWorldsApart(t *testing.T) {
	for name, change := range map[string]func(*world){
		"the password":              func(w *world) { w.accepts = w.verifier("Another") },
		"the role":                  func(w *world) { w.nologin = true },
		"the twin":                  func(w *world) { w.twin = &login{} },
		"the twin's password":       func(w *world) { w.twin.accepts = "SCRAM$" },
		"the Secret":                func(w *world) { w.served.keys["password"] = "Another" },
		"the Secret's epoch":        func(w *world) { w.served.stamp.Epoch++ },
		"a pod":                     func(w *world) { w.sets[inPod].pods[1].password = "Another" },
		"a mark":                    func(w *world) { w.sets[inPod2].mark = "id" },
		"a copy":                    func(w *world) { w.copies[remote] = copied{role, "Another", w.copies[remote].at} },
		"the time of a copy":        func(w *world) { w.copies[remote] = copied{role, birth, w.copies[remote].at.Add(1)} },
		"a lock":                    func(w *world) { w.locks[role] = nil },
		"an annotation":             func(w *world) { w.journal.Annotations = map[string]string{"pgrotate.io/epoch": "2"} },
		"a password of the journal": func(w *world) { w.journal.Data = map[string]secret.Value{"pending": secret.New("a")} },
		"another one":               func(w *world) { w.journal.Data["pending"] = secret.New("b") },
		"the version":               func(w *world) { w.journal.Version = "2" },
		"when it was changed":       func(w *world) { w.changed = time.Now() },
		"the next password":         func(w *world) { w.passwords++ },
	} {
		w := newWorld()
		w.twin, w.journal.Data = &login{accepts: "SCRAM"}, map[string]secret.Value{"pending": secret.New("a")}
		if name == "the twin" || name == "a password of the journal" {
			w.twin, w.journal.Data = nil, nil
		}
		before := w.fingerprint()
		if w.fingerprint() != before {
			t.Fatalf("one world has two fingerprints: %s", before)
		}
		if change(w); w.fingerprint() == before {
			t.Errorf("%s is not told apart by %s", name, before)
		}
	}
}
