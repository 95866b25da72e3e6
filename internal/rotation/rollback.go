package rotation

import (
	"fmt"
	"time"
)

// turnsBack tells whether this run was asked to turn the open rotation back.
func (r *run) turnsBack() bool {
	undoing := r.state.Record.Undoes != "" // a rollback itself, which is to be finished
	return r.command == rollback && !r.started && !undoing && r.state.Phase == Forward && !r.state.oneWay()
}

// undoable tells why the last rotation cannot be undone, nil where it can.
func (r *run) undoable() error {
	until := r.state.Record.PreviousUntil
	switch {
	case r.noted.id != r.state.ID:
		return undo("rotation %q was made while this run waited for the lock", r.state.ID)
	case r.state.ID == "":
		return undo("there is none that the journal knows of")
	case r.state.Mode == Emergency:
		return undo("rotation %q was an emergency: the password that it replaced is compromised and stored nowhere", r.state.ID)
	case r.served.RotationID != r.state.ID && r.served.Epoch == r.state.Epoch && !complete(r.state.Previous):
		return undo("rotation %q was turned back, and the password before the one that is served again was not kept", r.state.ID)
	case r.served.RotationID != r.state.ID:
		return undo("%s holds rotation %q and the journal's last one is %q: somebody else changed it since", r.Served, r.served.RotationID, r.state.ID)
	case until == nil || !complete(r.state.Previous):
		return undo("the password before rotation %q was not kept (`keep-previous`)", r.state.ID)
	case r.Now().After(*until):
		return undo("the password before rotation %q was kept until %s only (`keep-previous`)", r.state.ID, until.UTC().Format(time.RFC3339))
	case r.state.Previous.User != r.served.Credential.User && !(r.switches() && r.roles.has(r.state.Previous.User)):
		return undo("the kept password is of role %q, and %s serves role %q", r.state.Previous.User, r.Served, r.served.Credential.User)
	}
	return nil
}

func undo(format string, args ...any) error {
	return &failure{class: Refused, text: "undo the last rotation: " + fmt.Sprintf(format, args...),
		hint: "nothing was changed; `rotate` brings in a new password instead"}
}
