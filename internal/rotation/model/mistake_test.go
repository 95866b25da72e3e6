package model

import "testing"

// seed is a mistake: what is left out, the focus that shows it, and how the
// invariant begins that it breaks.
type seed struct {
	mistake             Mistake
	what, focus, breaks string
}

func seeds() []seed {
	return []seed{
		{NoNote, "nothing is noted before the lock", "started together", "I5 runs"},
		{NoNoteOfOpen, "it is not noted that a rotation is open", "started together", "I5 runs"},
		{NoteServed, "what is served is noted, and then what is open", "started together", "I5 runs"},
		{NoteAnew, "after a way back the note is taken anew", "started together", "I5 runs"},
		{RequestForgotten, "a request that has its rotation gets another", "one request", "I5 runs"},
		{RequestTooEarly, "an emergency that finished another one has its request recorded", "one request", "I3 a password works"},
		{ClaimBeforeLook, "a run claims before it knows whether there is something to do", "one request", "I5 a run writes"},
		{FewerTargets, "a run may leave recorded targets out", "other inputs", "I4 a rotation ends without"},
		{EpochOfJournal, "a claim does not ask the Secret for its epoch", "deleted journals", "I4"},
		{NoLockCheck, "a claim is not followed by a look at the lock", "rotations", "I1"},
		{NoFence, "a claim leaves the served Secret as it is", "rotations", "I2 the served credential does not log in"},
		{NoEpochCheck, "an older run may write the served Secret", "rotations", "I6"},
		{AnySecret, "a Secret is written that is not the one that was fenced", "Secrets made anew", "I2"},
		{NoPreconditions, "every write wins", "rotations", "I1"},

		{AlterBeforeJournal, "the password changes before it is written down", "rotations", "I1"},
		{NewPasswordOnResume, "what is pending is forgotten", "rotations", "I1"},
		{AlterWithoutLock, "a run that lost its session still changes passwords", "rotations", "I1"},
		{SecretBeforeAlter, "the pods may read what the database does not know", "rotations", "I2 the served credential does not log in"},
		{CommitEarly, "the journal is closed before the places agree", "rotations", "I1"},
		{NoTurnFence, "the way back is decided without a fence of its own", "restarts", "I6"},
		{BackWithoutRestart, "the way back leaves the pods as they are", "rotations", "I6"},
		{SameMark, "the restart mark of the way back is that of the way forward", "restarts", "I6"},
		{RestartMarked, "the way back restarts only pods that the way forward has restarted", "restarts", "I6"},
		{NotPending, "the way back restarts nobody where the Secret does not hold the pending credential", "Secrets made anew", "I6"},
		{RestoredUnseen, "it is not seen that the Secret is older than the open rotation", "restored Secrets", "I4 a run without faults leaves pods"},
		{NoComparison, "nobody asks when GitHub was written", "late writes", "I4 a run without faults leaves GitHub"},
		{AnyTime, "the record has the time of whatever write GitHub shows", "late writes", "I4 a run without faults leaves GitHub"},
		{IntactUnanswered, "the way back leaves GitHub alone after a lost answer", "rotations", "I4 a way back leaves alone"},
		{IntactOnResume, "the way back leaves GitHub alone in a run that has not begun the rotation", "rotations", "I4 a way back leaves alone"},
		{IntactIsWritten, "GitHub that was left alone passes for written", "late writes", "I4 a run without faults leaves GitHub"},

		{EmergencyKeepsOld, "an emergency stores the password that it replaces", "rotations", "I3 a compromised password works again"},
		{EmergencyLeavesKept, "an emergency leaves the kept credential in the journal", "rotations", "I3 the journal keeps"},
		{EscalationForgets, "an emergency drops the open rotation's credentials", "rotations", "I1"},
		{SecondEmergencyAbsorbed, "an emergency that finished another one is content", "rotations", "I3 a password works"},
		{NoNologin, "an emergency leaves the role open while it ends the sessions", "an attacker", "I3 the attacker is in"},
		{ExpelFirst, "an emergency ends the sessions before it closes the role", "an attacker", "I3 the attacker is in"},
		{OpenOnly, "a lockout that was interrupted is not begun anew", "an attacker", "I3 the attacker is in"},
		{ClosedIsYes, "a role that is closed passes for one that logs in", "an attacker", "I2"},
		{NoRevoke, "an emergency leaves the replaced role its password", "rotations", "I3 a compromised password works after"},
		{RevokeEarly, "an emergency closes the replaced role before the new one is served", "rotations", "I2 the served credential does not log in"},
		{StuckOpen, "an emergency that GitHub refuses leaves the replaced role open", "rotations", "I3 a compromised password works when"},
		{StuckFirst, "an emergency waits for GitHub to finish another one", "GitHub refuses", "I3 a compromised password works when"},
		{DoorOfPods, "an emergency over another one takes the role of pods that nobody restarts", "GitHub refuses", "I6 every pod"},
		{InPlaceKeepsFormer, "an emergency in place leaves the other role its password", "strategy switched", "I3 a password works"},
		{TargetOpen, "an emergency does not lock out the role that it switches to", "an attacker", "I3 the attacker is in"},

		{UndoEmergency, "an emergency can be undone", "rollbacks", "I3 a compromised password works again"},
		{UndoAny, "what was not rotated last is undone", "exchanged by hand", "I3 a password works"},
		{UndoSince, "what was rotated after the rollback was asked for is undone", "started together", "I5 runs"},
		{UndoUndone, "a rollback turns back the rotation of another rollback", "started together", "I8"},
		{RetireInUse, "a role is retired while pods use it", "retirement", "I6"},
		{RetireEarly, "a role is retired before all pods are restarted", "retired at once", "I6"},
		{ReuseInUse, "a role gets a new password while pods use it", "retirement", "I6"},
		{SwitchForgets, "a rotation in place forgets the role that is to be retired", "strategy switched", "I7"},
		{BackLeavesRole, "the way back leaves the pending role its password", "rotations", "I7"},

		{RepairKeepsOld, "a repair goes back to what the database refuses", "changed in the database", "I9"},
		{RepairTurnsBack, "a rollback turns a repair back", "changed in the database", "I"},
		{RepairResumes, "a repair goes on with the way back that it finds", "changed in the database", "I4"},
		{BackOverForeign, "the way back overwrites what somebody else has set", "changed in the database", "I9"},
	}
}

func TestEveryMistakeIsCaught(t *testing.T) {
	all := seeds()
	if len(all) != int(mistakes)-1 {
		t.Fatalf("%d of %d mistakes", len(all), int(mistakes)-1)
	}
	near := map[string][]Machine{}
	for _, f := range foci(1, false) {
		near[f.name] = f.machines
	}
	for i, seed := range all {
		if seed.mistake != Mistake(i+1) {
			t.Fatalf("%q is not in its place", seed.what)
		}
		t.Run(seed.what, func(t *testing.T) {
			t.Parallel()
			for _, m := range near[seed.focus] {
				m.Mistake = seed.mistake
				if r := m.Explore(seed.breaks); r.Violation != "" {
					t.Logf("%s, after %d states: %s", m.name(), r.States, r.Violation)
					return
				}
			}
			t.Errorf("no state breaks %q", seed.breaks)
		})
	}
}
