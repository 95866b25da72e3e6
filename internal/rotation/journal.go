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
	keySuperseded = "superseded"
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
	// Superseded are the credentials of a planned rotation that an emergency or a
	// repair has replaced: the database may have either of them until it has Pending.
	Superseded []secret.Credential
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
	Restart   string   `json:"restart,omitempty"` // on the way back: restartNone, restartAll, or as the served Secret tells
	Undoes    string   `json:"undoes,omitempty"`  // the rotation whose previous credential this one brings back
	// Repairs says that the database refused what was served before: there is
	// nothing to go back to.
	Repairs bool `json:"repairs,omitempty"`
	// Ready is what Health counted before the rotation, by owner.
	Ready map[string]secret.Readiness `json:"ready,omitempty"`
	// Claim differs for every claim: an owner may have several processes.
	Claim   string `json:"claim,omitempty"`
	Request string `json:"request,omitempty"` // the one that started the rotation
	// PreviousUntil is when the kept previous credential is due to be wiped.
	PreviousUntil *time.Time `json:"previous_until,omitempty"`
	// Former is a role that still opens a door and is not served any more, until
	// it is retired at RetireAt or later.
	Former   string     `json:"former,omitempty"`
	RetireAt *time.Time `json:"retire_at,omitempty"`
}

// What Record.Restart says of the pods.
const (
	restartNone = "none" // none can have read the pending credential
	restartAll  = "all"  // the served Secret was restored from a backup: it does not tell what they have read
)

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
	d.Data, err = s.data()
	return d, err
}

// data holds the secrets of the state, as JSON by key.
func (s state) data() (map[string]secret.Value, error) {
	if err := s.storable(); err != nil {
		return nil, err
	}
	all := map[string]any{}
	if s.Pending.User != "" {
		all[keyPending] = pack(s.Pending)
	}
	if s.Previous.User != "" {
		all[keyPrevious] = pack(s.Previous).with(s.Former)
	}
	if len(s.Superseded) > 0 {
		all[keySuperseded] = packAll(s.Superseded)
	}
	data := map[string]secret.Value{}
	for key, value := range all {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("encode the journal's %q credential", key)
		}
		data[key] = secret.New(string(text))
	}
	return data, nil
}

// storable refuses what JSON would change without a word.
func (s state) storable() error {
	for _, c := range append([]secret.Credential{s.Pending, s.Previous}, s.Superseded...) {
		if !utf8.ValidString(c.User + c.Password.Reveal() + c.Verifier.Reveal()) {
			return &failure{class: Refused, text: fmt.Sprintf("write the journal: the credential of role %q is not UTF-8", c.User)}
		}
	}
	return nil
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
	if s.Superseded, err = unpackAll(d.Data[keySuperseded], keep); err != nil {
		return state{}, damaged(fmt.Errorf("read %q: %w", keySuperseded, err))
	}
	if err := s.check(); err != nil {
		return state{}, err
	}
	return s, nil
}

// check refuses a journal that this version cannot finish.
func (s state) check() error {
	switch {
	case s.Phase == Idle && (s.Pending.User != "" || len(s.Superseded) > 0):
		return damaged(errors.New("it is idle and holds a credential of an open rotation"))
	case s.Record.Version > recordVersion, s.Phase != Idle && s.Record.Version != recordVersion:
		return damaged(fmt.Errorf("it has version %d, this program writes version %d", s.Record.Version, recordVersion))
	case s.Record.Former != "" && !s.Record.roles().has(s.Record.Former):
		return damaged(fmt.Errorf("its former role %q is none of its own", s.Record.Former))
	case s.Phase == Idle:
		return nil
	case s.Phase != Forward && s.Phase != Back:
		return damaged(fmt.Errorf("it has the unknown phase %q", s.Phase))
	case s.Mode != Planned && s.Mode != Emergency || s.Record.Strategy != InPlace && s.Record.Strategy != Alternate:
		return damaged(fmt.Errorf("mode %q with strategy %q is not known to this version", s.Mode, s.Record.Strategy))
	case s.ID == "":
		return damaged(errors.New("the rotation id is missing"))
	case !complete(s.Pending):
		return damaged(errors.New("the pending credential is missing"))
	case s.Record.Strategy == Alternate && s.Record.Twin == "":
		return damaged(errors.New("the name of the twin is missing"))
	case !s.Record.roles().has(s.Pending.User):
		return damaged(fmt.Errorf("its credentials are of another role than %q", s.Record.Base))
	case s.Mode == Emergency, s.Record.Repairs:
		return s.checkOneWay()
	case len(s.Superseded) > 0:
		return damaged(errors.New("it is of a planned rotation and holds superseded credentials"))
	case !complete(s.Previous) || len(s.Previous.Keys) == 0:
		return damaged(errors.New("the previous credential is missing"))
	case !s.Record.roles().has(s.Previous.User):
		return damaged(fmt.Errorf("its credentials are of another role than %q", s.Record.Base))
	case (s.Previous.User == s.Pending.User) == (s.Record.Strategy == Alternate):
		return damaged(fmt.Errorf("its strategy is %q, and it goes from role %q to role %q", s.Record.Strategy, s.Previous.User, s.Pending.User))
	}
	return nil
}

func (rec Record) roles() pair { return pair{rec.Base, rec.Twin} }

// mostSuperseded is what an open planned rotation holds: pending and previous.
const mostSuperseded = 2

// oneWay tells a rotation that never goes back: what it replaces is compromised,
// or was refused by the database already.
func (s state) oneWay() bool { return s.Mode == Emergency || s.Record.Repairs }

// checkOneWay refuses a way back to what was given up.
func (s state) checkOneWay() error {
	what := "an emergency"
	if s.Mode == Planned {
		what = "a repair"
	}
	switch {
	case s.Phase == Back:
		return damaged(fmt.Errorf("it is of %s and goes back", what))
	case s.Previous.User != "":
		return damaged(fmt.Errorf("it is of %s and holds a previous credential", what))
	case len(s.Superseded) > mostSuperseded:
		return damaged(fmt.Errorf("it holds %d superseded credentials", len(s.Superseded)))
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
		hint: "nothing was changed; see \"A damaged journal\" in docs/unfinished.md before removing it"}
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

func packAll(credentials []secret.Credential) (all []stored) {
	for _, c := range credentials {
		c.Keys = nil // the bytes of a Secret that never comes back
		all = append(all, pack(c))
	}
	return all
}

func unpack(v secret.Value, keep func(string) secret.Value) (c secret.Credential, former secret.Stamp, err error) {
	if v.IsZero() {
		return c, former, nil
	}
	var s stored
	if json.Unmarshal([]byte(v.Reveal()), &s) != nil {
		return c, former, errors.New("it is not the JSON of a credential")
	}
	return s.credential(keep)
}

func unpackAll(v secret.Value, keep func(string) secret.Value) (all []secret.Credential, err error) {
	if v.IsZero() {
		return nil, nil
	}
	var list []stored
	if json.Unmarshal([]byte(v.Reveal()), &list) != nil {
		return nil, errors.New("it is not the JSON of credentials")
	}
	for _, s := range list {
		c, _, err := s.credential(keep)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func (s stored) credential(keep func(string) secret.Value) (c secret.Credential, former secret.Stamp, err error) {
	if s.User == "" {
		return c, former, errors.New("it names no role")
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
