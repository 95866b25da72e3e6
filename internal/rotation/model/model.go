// Package model is the state machine of a rotation as an explicit-state model.
// It searches every interleaving of several runs in which any call may succeed,
// crash before or after its effect, lose its request or its answer; it checks
// the invariants in every state, and from every state that one run without
// faults ends in agreement.
//
// Read it in the order of the machine: world.go (what there is), step.go (the
// calls of a run), look.go (from the note before the lock to the fence),
// decide.go (what a run sets out to do), forward.go, backward.go and tidy.go (the
// runbook, its way back, and what a run does that has nothing else to do),
// order.go (what follows what), faults.go and events.go (what may go wrong, and
// what others do), invariants.go and recover.go (what must hold). The tests name
// the machines that are explored, each with a part of the design near to it, and
// the rules that are left out one at a time, with the invariant that notices.
//
// It knows planned rotations, emergencies, rollbacks of finished and unfinished
// rotations, and resumes, in place and with alternating roles: the kept previous
// credential; runs that start together; restart marks, and pods that restart by
// themselves or are not restarted by a rotation; writes of the served Secret and
// of GitHub that arrive late; locks that are taken from a live run; the former
// password put back where the Secret cannot be written; the lockout of a role
// against somebody who has sessions of it; retirement; a journal that was
// deleted, a served Secret that was made anew, restored or exchanged by hand; a password
// that was changed in the database alone, and its repair; runs with fewer targets; runs of the other strategy than the one before.
//
// It does not know: clocks (retire-after may be over at any time or be 0, minimum-age and
// keep-previous never are, and GitHub's updated_at tells any two writes apart);
// several copies (one of GitHub stands for all) or replicas; restart and GitHub
// at once (they follow one another); writes of the journal that arrive late (its
// compare-and-swap refuses them, as if the run had crashed before); refusals
// told from unknown outcomes (a run may turn back or give up after either), but
// for GitHub's; a journal that is deleted while a run is at work (a password that
// is pending then is known to that run alone); a served Secret that is lost with
// its credential while no rotation is open; people who edit a Secret and leave its annotations;
// roles that are emptied of sessions only for a moment; databases that fail over
// and lose a change.
package model

// Machine is a machine to explore: who meets, and what may go wrong.
type Machine struct {
	Runs      []Ask
	Alternate bool   // two login roles take turns; else one changes its password
	Budget    Budget // of everything that may go wrong

	Turned   bool // at the start a rotation is open and going back
	Together bool // every run starts before the first of them has committed
	One      bool // all runs have to make one rotation
	Unlisted bool // the second workload is not among those to restart
	Attacker bool // somebody has the passwords and sessions of all roles
	Due      bool // retire-after is over
	AtOnce   bool // retire-after is 0: a rotation ends by retiring the role that it replaced
	Quiet    bool // pods are between two sessions whenever somebody looks for them
	Mistake  Mistake
}

// Ask is what one run is asked for.
type Ask struct {
	Command Command
	Fewer   bool // its inputs leave GitHub out
	InPlace bool // its strategy changes the password of the served role, also where roles alternate
	Repair  bool // a rotation of its own may begin where the database refuses what is served
	Request int8 // number of the request, for one that is started again; 0: its own
}

// Command is what a run does when no rotation is open.
type Command int8

const (
	Rotate    Command = iota // makes a planned rotation
	Emergency                // makes one that never goes back
	Rollback                 // undoes the last one, or turns the open one back
	Resume                   // only finishes what is open
)

func (c Command) String() string {
	return [...]string{"rotate", "emergency", "rollback", "resume"}[c]
}

// Budget is how often what may happen.
type Budget struct {
	Faults    int8 // crashes, lost requests and lost answers
	Failures  int8 // proofs that fail
	Takeovers int8 // locks that are taken from a live run
	Late      int8 // writes that arrive after their run has given them up
	Restarts  int8 // pods that restart by themselves
	Deleted   int8 // journals that somebody deletes
	Recreated int8 // served Secrets that somebody deletes and makes anew
	Exchanged int8 // passwords that somebody exchanges by hand, everywhere
	Restored  int8 // served Secrets that somebody restores from before the open rotation
	Drifted   int8 // passwords that somebody sets by hand, in the database alone
}

// request is the number of what run i was asked for.
func (m Machine) request(i int) int8 {
	if r := m.Runs[i].Request; r > 0 {
		return r
	}
	return int8(i) + 1
}

// target is the role that gets a new password from a where c is served.
func (m Machine) target(a Ask, c cred) int8 {
	if m.alternates(a) {
		return 1 - c.role
	}
	return c.role
}

// alternates tells whether a rotation that a begins switches to the other role.
func (m Machine) alternates(a Ask) bool { return m.Alternate && !a.InPlace }
