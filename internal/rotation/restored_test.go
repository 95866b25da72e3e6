package rotation_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// backup is the served Secret as it is now, its annotations included.
func (w *world) backup() servedSecret {
	held := *w.served
	held.keys = maps.Clone(held.keys)
	return held
}

// restore puts a backup of the served Secret in its place.
func (w *world) restore(old servedSecret) {
	old.keys, old.version = maps.Clone(old.keys), w.version()
	w.served, w.highest[1] = &old, 0
}

// accepted is the password that the role has, of those that it ever had.
func (w *world) accepted() string {
	return w.had[slices.IndexFunc(w.had, w.login.opens)]
}

// open are the calls of the third rotation after which its journal is open.
func open(t *testing.T) []string {
	var calls []string
	inWorld(t, func(t *testing.T, w *world) {
		for range 3 {
			w.calls = nil
			w.run(rotate)
		}
		calls = w.calls
	})
	return calls[slices.Index(calls, "3 Journal.Save 2"):slices.Index(calls, "3 Journal.Save 3")]
}

// The journal of an open rotation holds what the database accepts, whatever comes
// back from a backup: the rotation ends as if the Secret had never been older.
func TestRestoredSecretOverAnOpenRotationIsWrittenAgain(t *testing.T) {
	ways := map[string]struct {
		next   command
		status rotation.Status
		serves string
	}{
		"resume":    {resume, rotation.StatusRotated, "NewPassword3"},
		"rotate":    {rotate, rotation.StatusRotated, "NewPassword3"},
		"repair":    {repair, rotation.StatusRotated, "NewPassword3"},
		"rollback":  {undo, rotation.StatusRolledBack, "NewPassword2"},
		"emergency": {emergency, rotation.StatusRotated, "NewPassword4"},
	}
	for _, call := range open(t) {
		for name, way := range ways {
			for _, age := range []string{"before all", "before the last", "right before it"} {
				t.Run(name+" after "+call+" with the Secret of "+age, func(t *testing.T) {
					inWorld(t, func(t *testing.T, w *world) {
						backups := map[string]servedSecret{"before all": w.backup()}
						w.run(rotate)
						backups["before the last"] = w.backup()
						w.run(rotate)
						backups["right before it"] = w.backup()
						w.crashAt(t, call)
						w.restore(backups[age])
						res, _ := w.run(way.next)
						expect(t, res, way.status, 0)
						w.settled(t, way.serves)
					})
				})
			}
		}
	}
}

// Whom the way back restarts is decided once: a run that dies on it between its
// claim and its fence leaves the Secret behind the journal, as a backup would.
func TestWayBackThatRestartsNobodyIsDecidedOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		w.script["2 Database.Set 1"], w.script["2 Journal.Save 3"], w.script["3 Journal.Save 1"] = refuse, crashAfter, crashAfter
		w.run(rotate)
		w.run(resume)
		w.calls = nil
		res, _ := w.run(resume)
		expect(t, res, rotation.StatusRolledBack, 1)
		w.settled(t, "NewPassword1")
		if slices.ContainsFunc(w.calls, func(call string) bool {
			return strings.Contains(call, ".Restart ") || strings.Contains(call, "Restart deployment")
		}) {
			t.Errorf("pods are restarted that have read nothing: %q", w.calls)
		}
	})
}

// Nobody but the pods and the copies has the password of a finished rotation when
// an older Secret comes back: no planned run touches what the database has, and
// only one that brings a new password in goes ahead.
func TestRestoredSecretIsRefusedWhereNoRotationIsOpen(t *testing.T) {
	for name, forward := range map[string]command{"emergency": emergency, "repair": repair} {
		for age := range 2 {
			t.Run(name, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					var backups []servedSecret
					for range 2 {
						backups = append(backups, w.backup())
						w.run(rotate)
					}
					w.restore(backups[age])
					w.foreign = "NewPassword2" // none that is stored
					writes := w.writes
					res, _ := w.run(rotate)
					expect(t, res, rotation.StatusRefused, 2)
					says(t, res.Err, "the database refuses the password", "put the right password into the Secret")
					res, _ = w.run(undo)
					expect(t, res, rotation.StatusRefused, 2)
					res, _ = w.run(resume)
					expect(t, res, rotation.StatusUnchanged, 0)
					if w.writes != writes || w.accepted() != "NewPassword2" {
						t.Errorf("%d writes, the database accepts %q", w.writes-writes, w.accepted())
					}
					res, _ = w.run(forward)
					expect(t, res, rotation.StatusRotated, 0)
					w.settled(t, "NewPassword4") // the refused run had made one, too
				})
			})
		}
	}
}

// A Secret that was made anew from a backup is another one until its epoch says
// that no rotation has written it.
func TestRestoredSecretThatWasMadeAnewIsRefusedOverAnOpenRotation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.run(rotate)
		old := w.backup()
		w.run(rotate)
		w.script["3 Served.Set 2"] = crashAfter
		w.run(rotate)
		old.uid = w.version()
		w.restore(old)
		writes := w.writes
		for _, next := range []command{resume, rotate, undo} {
			res, _ := w.run(next)
			expect(t, res, rotation.StatusRefused, 2)
			says(t, res.Err, "Secret uid", "remove its annotation pgrotate.io/epoch")
		}
		if w.writes != writes || w.accepted() != "NewPassword3" || !strings.Contains(strings.Join(w.journaled(), " "), "NewPassword3") {
			t.Errorf("%d writes, the database accepts %q, the journal holds %q", w.writes-writes, w.accepted(), w.journaled())
		}
		w.served.stamp = secret.Stamp{}
		res, _ := w.run(resume)
		expect(t, res, rotation.StatusRotated, 0)
		w.settled(t, "NewPassword3")
	})
}
