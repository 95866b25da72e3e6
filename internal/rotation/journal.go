package rotation

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Phase is where a rotation stands.
type Phase string

const (
	Idle    Phase = "idle"    // nothing is open
	Forward Phase = "forward" // the pending credential is being brought in
	Back    Phase = "back"    // the previous credential is being put back
)

// The journal's annotations and data keys.
const (
	annotation    = "pgrotate.io/"
	keyPending    = "pending"
	keyPrevious   = "previous"
	recordVersion = 1
)

// state is the journal, decoded.
type state struct {
	version string // of the stored document; empty: there is none yet

	Phase   Phase
	ID      string // rotation id, of the last rotation while idle
	Mode    Mode
	Epoch   int64
	Owner   string // who writes, or wrote last
	Request string // the last request that committed a rotation
	Reason  string
	Record  Record

	Pending  secret.Credential
	Previous secret.Credential
	// Former is the served Secret's stamp before the rotation.
	Former secret.Stamp
}

// Record is what a rotation has written down about its targets. It refuses a
// later run that has others; it never adds one.
type Record struct {
	Version   int      `json:"version"`
	Strategy  string   `json:"strategy"`
	Base      string   `json:"base"`
	Twin      string   `json:"twin,omitempty"`
	SecretUID string   `json:"secret_uid"`
	System    string   `json:"system_identifier,omitempty"`
	LockedIn  string   `json:"lock_database"`
	Targets   []Stored `json:"targets,omitempty"`
	Workloads []string `json:"workloads,omitempty"`
	Restart   string   `json:"restart,omitempty"` // "none": the way back restarts nobody
	// Claim differs for every claim: an owner may have several processes.
	Claim   string `json:"claim,omitempty"`
	Request string `json:"request,omitempty"` // the one that started the rotation
	// PreviousUntil is when the kept previous credential is due to be wiped.
	PreviousUntil *time.Time `json:"previous_until,omitempty"`
}

// Stored is a copy and when its store last said that it was updated.
type Stored struct {
	Name      string     `json:"name"`
	UpdatedAt *time.Time `json:"updated_at,omitempty"`
}

// encode turns the state into annotations without secrets and data with them.
func (s state) encode() (secret.Document, error) {
	record, err := json.Marshal(s.Record)
	if err != nil {
		return secret.Document{}, fmt.Errorf("encode the journal's record: %w", err)
	}
	d := secret.Document{Version: s.version, Annotations: map[string]string{}, Data: map[string]secret.Value{}}
	for name, text := range map[string]string{
		"phase": string(s.Phase), "rotation-id": s.ID, "mode": string(s.Mode), "epoch": strconv.FormatInt(s.Epoch, 10),
		"owner": s.Owner, "request": s.Request, "reason": s.Reason, "record": string(record),
	} {
		if text != "" {
			d.Annotations[annotation+name] = text
		}
	}
	for key, c := range map[string]stored{keyPending: pack(s.Pending), keyPrevious: pack(s.Previous).with(s.Former)} {
		if err := c.into(d.Data, key); err != nil {
			return secret.Document{}, err
		}
	}
	return d, nil
}

// decode reads a stored journal and refuses what it does not understand.
func decode(d secret.Document, keep func(string) secret.Value) (state, error) {
	text := func(name string) string { return d.Annotations[annotation+name] }
	s := state{version: d.Version, Phase: Phase(text("phase")), ID: text("rotation-id"), Mode: Mode(text("mode")),
		Owner: text("owner"), Request: text("request"), Reason: text("reason")}
	if s.Phase == "" && len(d.Data) == 0 {
		s.Phase = Idle
	}
	var err error
	if s.Epoch, err = decodeEpoch(text("epoch")); err != nil {
		return state{}, damaged(err)
	}
	if raw := text("record"); raw != "" {
		if err := json.Unmarshal([]byte(raw), &s.Record); err != nil {
			return state{}, damaged(fmt.Errorf("read its record: %w", err))
		}
	}
	if s.Pending, _, err = unpack(d.Data[keyPending], keep); err != nil {
		return state{}, damaged(fmt.Errorf("read %q: %w", keyPending, err))
	}
	if s.Previous, s.Former, err = unpack(d.Data[keyPrevious], keep); err != nil {
		return state{}, damaged(fmt.Errorf("read %q: %w", keyPrevious, err))
	}
	if err := s.check(); err != nil {
		return state{}, err
	}
	return s, nil
}

// check refuses a journal that this version cannot finish.
func (s state) check() error {
	switch {
	case s.Phase == Idle && s.Pending.User != "":
		return damaged(errors.New("it is idle and holds a pending credential"))
	case s.Phase == Idle && s.Record.Version <= recordVersion:
		return nil
	case s.Record.Version != recordVersion:
		return damaged(fmt.Errorf("it has version %d, this program writes version %d", s.Record.Version, recordVersion))
	case s.Phase != Forward && s.Phase != Back:
		return damaged(fmt.Errorf("it has the unknown phase %q", s.Phase))
	case s.Mode != Planned || s.Record.Strategy != InPlace:
		return damaged(fmt.Errorf("mode %q with strategy %q is not known to this version", s.Mode, s.Record.Strategy))
	case s.ID == "":
		return damaged(errors.New("the rotation id is missing"))
	case !complete(s.Pending):
		return damaged(errors.New("the pending credential is missing"))
	case !complete(s.Previous) || len(s.Previous.Keys) == 0:
		return damaged(errors.New("the previous credential is missing"))
	case s.Pending.User != s.Record.Base || s.Previous.User != s.Record.Base:
		return damaged(fmt.Errorf("its credentials are of another role than %q", s.Record.Base))
	}
	return nil
}

// highestEpoch is never reached by claims: it keeps a forged one from
// overflowing.
const highestEpoch = 1 << 53

func decodeEpoch(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	epoch, err := strconv.ParseInt(text, 10, 64)
	if err != nil || epoch < 0 || epoch >= highestEpoch {
		return 0, fmt.Errorf("its epoch %q is no number of a claim", text)
	}
	return epoch, nil
}

func complete(c secret.Credential) bool {
	return c.User != "" && !c.Password.IsZero() && !c.Verifier.IsZero()
}

func damaged(err error) error {
	return &failure{class: Refused, text: fmt.Sprintf("read the journal: %v", err),
		hint: "nothing was changed; see \"a damaged journal\" in the guide before removing it"}
}

// stored is a credential as the journal's data holds it.
type stored struct {
	User       string            `json:"user"`
	Password   string            `json:"password"`
	Verifier   string            `json:"verifier,omitempty"`
	Keys       map[string]string `json:"keys,omitempty"` // base64
	RotationID string            `json:"rotation_id,omitempty"`
	RotatedAt  *time.Time        `json:"rotated_at,omitempty"`
}

func pack(c secret.Credential) stored {
	s := stored{User: c.User, Password: c.Password.Reveal(), Verifier: c.Verifier.Reveal()}
	for key, value := range c.Keys {
		if s.Keys == nil {
			s.Keys = map[string]string{}
		}
		s.Keys[key] = base64.StdEncoding.EncodeToString([]byte(value.Reveal()))
	}
	return s
}

func (s stored) with(former secret.Stamp) stored {
	s.RotationID, s.RotatedAt = former.RotationID, optional(former.RotatedAt)
	return s
}

func (s stored) into(data map[string]secret.Value, key string) error {
	switch {
	case s.User == "":
		return nil
	case !utf8.ValidString(s.User + s.Password + s.Verifier):
		return &failure{class: Refused, text: fmt.Sprintf("write the journal: the %s credential is not UTF-8", key)}
	}
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the journal's %q credential", key)
	}
	data[key] = secret.New(string(text))
	return nil
}

func unpack(v secret.Value, keep func(string) secret.Value) (c secret.Credential, former secret.Stamp, err error) {
	if v.IsZero() {
		return c, former, nil
	}
	var s stored
	if json.Unmarshal([]byte(v.Reveal()), &s) != nil {
		return c, former, fmt.Errorf("it is not the JSON of a credential")
	}
	c = secret.Credential{User: s.User, Password: keep(s.Password), Verifier: keep(s.Verifier)}
	for key, text := range s.Keys {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return c, former, fmt.Errorf("its key %q is not base64", key)
		}
		if c.Keys == nil {
			c.Keys = map[string]secret.Value{}
		}
		if c.Keys[key] = secret.New(string(raw)); string(raw) != s.User {
			c.Keys[key] = keep(string(raw))
		}
	}
	former.RotationID = s.RotationID
	if s.RotatedAt != nil {
		former.RotatedAt = *s.RotatedAt
	}
	return c, former, nil
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
