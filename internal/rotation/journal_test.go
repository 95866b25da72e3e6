package rotation

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pgrotate/pgrotate/internal/secret"
	"pgregory.net/rapid"
)

func same(t interface{ Errorf(string, ...any) }, got, want state) {
	diff := cmp.Diff(want, got, cmp.AllowUnexported(state{}), cmp.Comparer(secret.Value.Equal))
	if diff != "" {
		t.Errorf("the journal was not read as it was written (-want +got):\n%s", diff)
	}
}

func drawTime(t *rapid.T, name string) time.Time {
	return time.Unix(rapid.Int64Range(1, 1<<33).Draw(t, name), 123456000).UTC()
}

func drawCredential(t *rapid.T, user string) secret.Credential {
	text := rapid.StringN(1, 40, -1)
	c := secret.Credential{User: user, Password: secret.New(text.Draw(t, "password")), Verifier: secret.New(text.Draw(t, "verifier")), Keys: map[string]secret.Value{}}
	for key, raw := range rapid.MapOfN(text, rapid.SliceOfN(rapid.Byte(), 1, 30), 1, 4).Draw(t, "keys") {
		c.Keys[key] = secret.New(string(raw))
	}
	return c
}

func drawState(t *rapid.T) state {
	text := rapid.String()
	role := rapid.StringN(1, 63, -1).Draw(t, "role")
	until := drawTime(t, "until")
	s := state{version: text.Draw(t, "version"), Phase: rapid.SampledFrom([]Phase{Idle, Forward, Back}).Draw(t, "phase"),
		ID: "r" + text.Draw(t, "id"), Mode: Planned, Epoch: rapid.Int64Range(0, highestEpoch-1).Draw(t, "epoch"),
		Owner: text.Draw(t, "owner"), Request: text.Draw(t, "request"), Reason: text.Draw(t, "reason"),
		Record: Record{Version: recordVersion, Strategy: InPlace, Base: role, SecretUID: text.Draw(t, "uid"), System: "1", LockedIn: "postgres",
			Targets: []Stored{{Name: text.Draw(t, "target"), UpdatedAt: &until}}, Workloads: []string{text.Draw(t, "workload")}, PreviousUntil: &until},
		Previous: drawCredential(t, role),
		Former:   secret.Stamp{RotationID: text.Draw(t, "former"), RotatedAt: drawTime(t, "rotated at")},
	}
	pending := role
	if rapid.Bool().Draw(t, "alternate") {
		pending = role + "_alt"
		s.Record.Strategy, s.Record.Twin, s.Record.Former, s.Record.RetireAt = Alternate, pending, pending, &until
	}
	if s.Phase != Idle {
		s.Pending = drawCredential(t, pending)
	}
	if s.Phase == Forward && rapid.Bool().Draw(t, "emergency") {
		s.Mode, s.Previous, s.Former = Emergency, secret.Credential{}, secret.Stamp{}
		for range rapid.IntRange(0, mostSuperseded).Draw(t, "superseded") {
			c := drawCredential(t, role)
			c.Keys = nil
			s.Superseded = append(s.Superseded, c)
		}
	}
	return s
}

func TestJournalIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawState(t)
		d, err := want.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(d, secret.New)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, want)
	})
}

func TestJournalKeepsSecretsOutOfItsAnnotations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawState(t)
		s.Previous.Password, s.Previous.Verifier = secret.New("CanaryPassword"), secret.New("CanaryVerifier")
		d, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range d.Annotations {
			if strings.Contains(text, "Canary") {
				t.Fatalf("annotation %q holds a secret", name)
			}
		}
	})
}

func TestCredentialThatTheJournalCouldNotKeepIsRefused(t *testing.T) {
	s := state{Phase: Idle, Previous: secret.Credential{User: "app", Password: secret.New("bytes\xff\xfe")}}
	_, err := s.encode()
	if ClassOf(err) != Refused || strings.Contains(err.Error(), "bytes") {
		t.Errorf("class %q: %v", ClassOf(err), err)
	}
}

// FuzzDecode: whatever is in the journal, it is understood or refused.
func FuzzDecode(f *testing.F) {
	record := `{"version":1,"strategy":"in-place","base":"app","secret_uid":"u","lock_database":"postgres"}`
	repair := strings.Replace(record, "{", `{"repairs":true,`, 1)
	credential := `{"user":"app","password":"canary","verifier":"v","keys":{"password":"Y2FuYXJ5"}}`
	f.Add("forward", "planned", "id", "7", record, credential, credential, "")
	f.Add("back", "planned", "id", "7", record, credential, credential, "")
	f.Add("forward", "emergency", "id", "7", record, credential, "", "["+credential+","+credential+"]")
	f.Add("forward", "planned", "id", "7", repair, credential, "", "["+credential+"]")
	f.Add("idle", "", "", "", "", "", "", "")
	f.Add("idle", "", "", "", "", `{"password":"canary"}`, `{"password":"canary"}`, "")
	f.Add("", "", "", "-1", "{", "{", "null", "[{}]")
	f.Fuzz(func(t *testing.T, phase, mode, id, epoch, record, pending, previous, superseded string) {
		d := secret.Document{Version: "1", Annotations: map[string]string{}, Data: map[string]secret.Value{}}
		for name, text := range map[string]string{"phase": phase, "mode": mode, "rotation-id": id, "epoch": epoch, "record": record} {
			d.Annotations[annotation+name] = text
		}
		for key, text := range map[string]string{keyPending: pending, keyPrevious: previous, keySuperseded: superseded} {
			if text != "" {
				d.Data[key] = secret.New(text)
			}
		}
		s, err := decode(d, secret.New)
		if err != nil {
			refused(t, err, phase+mode+id+epoch+record)
			return
		}
		usable(t, s)
	})
}

func refused(t *testing.T, err error, public string) {
	if ClassOf(err) != Refused || len(Hints(err)) == 0 {
		t.Errorf("a damaged journal has class %q and no hint: %v", ClassOf(err), err)
	}
	if strings.Contains(err.Error(), "canary") && !strings.Contains(public, "canary") {
		t.Errorf("the error holds a secret: %v", err)
	}
}

// usable demands that what was understood can be finished and written again.
func usable(t *testing.T, s state) {
	if s.Phase != Idle && (s.ID == "" || !complete(s.Pending) || complete(s.Previous) == s.oneWay()) {
		t.Errorf("an open rotation was read without all that it needs: %s", s.Phase)
	}
	d, err := s.encode()
	if err != nil {
		if !errors.As(err, new(*failure)) {
			t.Error(err)
		}
		return
	}
	again, err := decode(d, secret.New)
	if err != nil {
		t.Fatalf("what was understood once is refused when it was written again: %v", err)
	}
	same(t, again, kept(s))
}

// kept is what is written of what was understood: the Secret that a superseded
// credential was in never comes back.
func kept(s state) state {
	for i := range s.Superseded {
		s.Superseded[i].Keys = nil
	}
	return s
}
