// Package model is the state machine of a rotation as an explicit-state model.
// It searches every interleaving of several runs in which any call may
// succeed, crash before or after its effect, lose its request or its answer, in
// which a live run may lose its lock to another and go on without knowing, and
// in which the proof at the end may fail; it checks the invariants in every
// state, and from every state that one run without faults ends in agreement.
//
// The planned in-place machine is the one of package rotation, call by call:
// lock, look at journal and Secret, claim, check of the lock, fence, decide,
// runbook, commit; the way back behind a fence of its own; the former password
// put back where the Secret cannot be written; a lost lock taken again. The
// alternate strategy and the emergency are modelled as they are designed.
//
// It does not know yet: the kept previous credential and the rollback of a
// finished rotation; a run that looks, finds nothing to do and ends; restart
// marks, and pods that restart by themselves; requests that arrive late; the
// NOLOGIN phase of an emergency; the retirement of a role that a planned
// rotation replaced; a journal or Secret that is deleted or edited by others;
// inputs that change between runs.
package model

// Machine is a machine to explore: what it does, and what may go wrong.
type Machine struct {
	Alternate bool   // two login roles take turns; else one changes its password
	Emergency []bool // one run for each: whether it is an emergency
	Faults    int8   // crashes, lost requests and lost answers
	Failures  int8   // proofs that fail
	Takeovers int8   // locks that are taken from a live run
	Mistake   Mistake
}

// Mistake is a rule that the machine leaves out.
type Mistake int

const (
	Nothing                 Mistake = iota
	AlterBeforeJournal              // the password changes before it is written down
	NewPasswordOnResume             // what is pending is forgotten
	CommitEarly                     // the journal is closed before the places agree
	NoFence                         // a claim leaves the served Secret as it is
	NoPreconditions                 // every write wins
	AlterWithoutLock                // a run that lost its session still changes passwords
	EmergencyKeepsOld               // an emergency stores the password that it replaces
	EscalationForgets               // an emergency drops the open rotation's credentials
	SecretBeforeAlter               // the pods may read what the database does not know
	NoLockCheck                     // a claim is not followed by a look at the lock
	NoEpochCheck                    // an older run may write the served Secret
	SecondEmergencyAbsorbed         // an emergency that finished another one is content
	NoRevoke                        // an emergency leaves the replaced role its password
	BackWithoutRestart              // the way back leaves the pods as they are
	mistakes
)

func (m Mistake) String() string {
	return [...]string{"nothing", "ALTER ROLE before the journal", "a new password on resume", "commit before the places agree",
		"no fence of the served Secret", "no preconditions", "ALTER ROLE without the lock", "an emergency keeps the old password",
		"an escalation forgets the pending credential", "the served Secret before ALTER ROLE", "no check of the lock after the claim",
		"no check of the epoch", "a second emergency is absorbed", "an emergency does not revoke the other role",
		"no restart on the way back"}[m]
}

// Mistakes returns every mistake that the invariants must catch.
func Mistakes() []Mistake {
	var all []Mistake
	for m := Nothing + 1; m < mistakes; m++ {
		all = append(all, m)
	}
	return all
}

// cred is a login role (0 or 1) and the number of a password; 0: none.
type cred struct{ role, password int8 }

type phase int8

const (
	idle phase = iota
	forward
	back
)

type journal struct {
	version, epoch int8
	phase          phase
	emergency      bool
	noRestart      bool // of the way back
	generation     int8
	pending        cred
	previous       cred
	superseded     [2]cred
}

type served struct {
	epoch int8
	cred  cred
}

// step is what a run does next.
type step int8

const (
	lock step = iota
	lookJournal
	lookServed
	claim
	check
	fence
	decide
	probe
	alter
	prove
	serve
	remote
	pod0
	pod1
	verify
	revoke
	commit
	turnFence
	turn
	backProbe
	backAlter
	backServe
	backRemote
	backPod0
	backPod1
	backCommit
	revert // ALTER ROLE to the former password, without a word in the journal
	done
	dead
	failed
)

func (s step) String() string {
	return [...]string{"lock", "look at the journal", "look at the Secret", "claim", "check the lock", "fence", "decide", "probe", "ALTER ROLE",
		"prove", "serve", "GitHub", "pod 0", "pod 1", "verify", "revoke", "commit", "fence of the way back", "turn back", "back: probe",
		"back: ALTER ROLE", "back: serve", "back: GitHub", "back: pod 0", "back: pod 1", "back: commit", "put the former password back",
		"done", "dead", "failed"}[s]
}

// process is one run and what it knows.
type process struct {
	at        step
	emergency bool
	journal   journal
	served    served
	claimed   int8
	found     phase // of the journal when it looked
	lost      bool  // its session is gone, and it does not know
	live      bool  // the probe said that the credential opens the door
	mine      bool  // it has begun the rotation that it was asked for
	sent      bool  // it has sent ALTER ROLE
	wrote     bool  // it has written the pending credential into the Secret
}

// state is the whole world. Equal situations are equal values.
type state struct {
	accepted    [2]int8 // by each login role
	served      served
	journal     journal
	remote      cred
	pods        [2]cred
	holder      int8 // of the lock; -1: nobody
	runs        [3]process
	next        int8  // the next new password
	compromised int16 // bits: passwords that an emergency replaced
	burnt       int16 // those of them that have stopped working
	faults      int8
	failures    int8
	takeovers   int8
	wanted      bool    // an emergency was asked for and has not ended
	began       [3]int8 // the first password that did not exist when the run first took the lock
}

func (s *state) login(c cred) bool { return c.password != 0 && s.accepted[c.role] == c.password }

func start(m Machine) state {
	s := state{accepted: [2]int8{1, 2}, served: served{cred: cred{0, 1}}, remote: cred{0, 1}, pods: [2]cred{{0, 1}, {0, 1}}, holder: -1, next: 3}
	for i := range s.runs {
		s.runs[i].at = dead
	}
	for i, emergency := range m.Emergency {
		s.runs[i] = process{at: lock, emergency: emergency}
	}
	return s
}
