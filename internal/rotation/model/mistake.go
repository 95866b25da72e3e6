package model

// Mistake is a rule that the machine leaves out; the test says which.
type Mistake int

// In the order of the machine.
const (
	Nothing Mistake = iota

	NoNote
	NoNoteOfOpen
	NoteServed
	NoteAnew
	RequestForgotten
	RequestTooEarly
	ClaimBeforeLook
	FewerTargets
	EpochOfJournal
	NoLockCheck
	NoFence
	NoEpochCheck
	AnySecret
	NoPreconditions

	AlterBeforeJournal
	NewPasswordOnResume
	AlterWithoutLock
	SecretBeforeAlter
	CommitEarly
	NoTurnFence
	BackWithoutRestart
	SameMark
	RestartMarked
	NotPending
	RestoredUnseen
	NoComparison
	AnyTime
	IntactUnanswered
	IntactOnResume
	IntactIsWritten

	EmergencyKeepsOld
	EmergencyLeavesKept
	EscalationForgets
	SecondEmergencyAbsorbed
	NoNologin
	ExpelFirst
	OpenOnly
	ClosedIsYes
	NoRevoke
	RevokeEarly
	StuckOpen
	StuckFirst
	DoorOfPods
	InPlaceKeepsFormer
	TargetOpen

	UndoEmergency
	UndoAny
	UndoSince
	UndoUndone
	RetireInUse
	RetireEarly
	ReuseInUse
	SwitchForgets
	BackLeavesRole

	RepairKeepsOld
	RepairTurnsBack
	RepairResumes
	BackOverForeign
	mistakes
)
