package rotation

import (
	"testing"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// FuzzJournal gives the journal any content. Decoding it never panics, and what
// is accepted encodes to a document that decodes to the same and encodes to
// itself: nothing that a later step relies on is lost by writing it.
func FuzzJournal(f *testing.F) {
	const (
		record = `{"version":1,"strategy":"in-place","base":"app","secret_uid":"u","lock_database":"app","targets":[{"name":"x","updated_at":"2026-03-02T04:17:06Z"}]}`
		stored = `{"user":"app","password":"p","verifier":"SCRAM-SHA-256$4096:c2FsdA==$a:b","keys":{"password":"cA=="},"rotation_id":"r0","rotated_at":"2026-03-02T04:17:06+01:00"}`
	)
	f.Add("", "", "", "", "", "", "", "")
	f.Add("idle", "r1", "planned", "7", record, "", stored, "")
	f.Add("forward", "r1", "planned", "7", record, stored, stored, "")
	f.Add("back", "r1", "planned", "9007199254740991", record, stored, stored, "")
	f.Add("forward", "r1", "emergency", "7", record, stored, "", "["+stored+","+stored+"]")
	f.Add("forward", "r1", "emergency", "-1", "{", "[]", "null", "{}")
	f.Add("sideways", "", "", "x", `{"version":2}`, `{"user":"\ud800"}`, `{"keys":{"a":"%"}}`, `[null]`)
	f.Fuzz(func(t *testing.T, phase, id, mode, epoch, record, pending, previous, superseded string) {
		first := secret.Document{Version: "1", Annotations: map[string]string{}, Data: map[string]secret.Value{}}
		for name, text := range map[string]string{"phase": phase, "rotation-id": id, "mode": mode, "epoch": epoch, "record": record} {
			if text != "" {
				first.Annotations[annotation+name] = text
			}
		}
		for key, text := range map[string]string{keyPending: pending, keyPrevious: previous, keySuperseded: superseded} {
			if text != "" {
				first.Data[key] = secret.New(text)
			}
		}
		s, err := decode(first, secret.New)
		if err != nil {
			return
		}
		once := encoded(t, s)
		again, err := decode(once, secret.New)
		if err != nil {
			t.Fatalf("what was accepted is refused once it is written: %v", err)
		}
		if twice := encoded(t, again); !sameDocument(twice, once) {
			t.Errorf("written again it is another document:\n%v\n%v", once.Annotations, twice.Annotations)
		}
	})
}

func encoded(t *testing.T, s state) secret.Document {
	t.Helper()
	d, err := s.encode()
	if err != nil {
		t.Fatalf("what was accepted cannot be written: %v", err)
	}
	return d
}
