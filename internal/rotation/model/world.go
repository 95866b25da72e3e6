package model

// cred is a login role (0: base, 1: twin) and the number of a password. A later
// password has a higher number; 0: none.
type cred struct{ role, password int8 }

// stolen is the password that somebody sets who has a session of the role.
const stolen = 15

type database struct {
	accepted [2]int8 // by each role
	closed   [2]bool // NOLOGIN
	attacker [2]bool // has sessions
}

// works tells whether the password opens a door.
func (d *database) works(c cred) bool {
	return c.password != 0 && d.accepted[c.role] == c.password && !d.closed[c.role]
}

type phase int8

const (
	idle phase = iota
	forward
	back
)

// journal holds a rotation, or what the last one left.
type journal struct {
	version, epoch int8
	phase          phase
	id             int8 // rotation id
	by             int8 // request that started it
	request        int8 // last request that committed one
	emergency      bool
	undo           bool // the rotation undoes the one before
	inPlace        bool // it changes the password of the served role
	gaveUp         bool // it has given a rotation in place up
	oneWay         bool // it is a repair: the database refuses what was served before
	noRestart      bool // of the way back
	restored       bool // the Secret was found older than the journal: it does not tell what pods have read
	remote         bool // GitHub is among the targets; of what is not open: with the time of its last write
	timed          bool // of what is open: the one before had that time
	retire         bool // the role that is not served is to be retired
	former         int8 // rotation id that was served before
	pending        cred
	previous       cred // kept when a planned rotation has ended
	superseded     [2]cred
}

type served struct {
	epoch, id int8 // annotations; 0: none
	cred      cred
}

type pod struct {
	cred cred
	mark int8 // rotation id, negative on the way back
}

// process is one run and what it knows.
type process struct {
	at      step
	journal journal
	served  served
	noted   note
	claimed int8  // epoch; 0: none
	found   phase // of the journal when it looked
	own     bool  // it is going to begin a rotation
	turned  bool  // it has turned a rotation back that failed
	lost    bool  // its session is gone, and it does not know
	live    bool  // the probe said that the credential opens the door
	sent    bool  // it has sent ALTER ROLE
	wrote   bool  // it has written the pending credential into the Secret
	begun   bool  // it has begun to restart the pods that read the Secret
	put     bool  // nobody has written GitHub since it did
	intact  bool  // it has begun the rotation, and GitHub has taken nothing of it, for sure
	stuck   bool  // GitHub or a rollout has failed: it closes what an emergency replaced, and gives up
	given   int8  // somebody else's emergency that could not be finished: it makes its own over it
}

// note is how the journal was before the lock was awaited.
type note struct {
	id     int8
	open   bool
	served int8 // by mistake
}

// request is a write that is still under way.
type request struct {
	kind   step // serve or remote; 0: none
	served served
}

// state is the whole world. Equal situations are equal values.
type state struct {
	db      database
	served  served
	journal journal
	remote  cred
	moved   bool // GitHub was written after the time that the journal has of it
	pods    [2]pod
	late    request
	holder  int8 // of the lock; -1: nobody
	runs    [3]process
	spent   Budget
	next    int8 // the next new password or rotation id

	// What the invariants remember.
	compromised uint16  // bits: passwords that an emergency replaced
	burnt       uint16  // those of them that have stopped working
	began       [4]int8 // by request: the first password that did not exist when an emergency first took the lock
	floor       int8    // older passwords must not work
	made        int8    // rotations of runs that have to make one
	wanted      bool    // an emergency was asked for and has not ended
	forgot      bool    // a journal was deleted, and no rotation has ended since
	lostOpen    bool    // while one was open
	foreign     int8    // the password that somebody set in the database alone
	drifted     bool    // since then no rotation has ended
	replaced    uint16  // bits: passwords that no longer worked then and were not to be brought in
	wasted      bool    // a run wrote and had nothing to do
	dropped     bool    // a rotation has ended without a target that it recorded
	behind      bool    // a way back has left alone what its rotation had brought to GitHub
	undone      bool    // a rollback has ended well
	exposed     bool    // an emergency that nothing but GitHub or a rollout failed has left a compromised password working
	shutOut     bool    // one that nothing but GitHub or a restart failed has left no pod a door
}

// start is the world after a planned rotation: password 2 is served and 1 is
// kept; the role that had it is not retired.
func start(m Machine) state {
	now, before := cred{0, 2}, cred{0, 1}
	if m.Alternate {
		now.role = 1
	}
	s := state{served: served{cred: now, id: 2}, remote: now, pods: [2]pod{{now, 2}, {now, 2}}, holder: -1, next: 3}
	s.journal = journal{id: 2, remote: true, previous: before, retire: m.Alternate}
	s.db.accepted[before.role] = before.password
	s.db.accepted[now.role] = now.password
	s.db.attacker = [2]bool{m.Attacker, m.Attacker && m.Alternate}
	if m.Unlisted && m.Alternate {
		s.pods[1] = pod{before, 0}
	}
	if m.Turned {
		s.journal = journal{phase: back, id: 3, former: 2, remote: true, pending: cred{m.target(Ask{}, now), 3}, previous: now}
		s.next++
	}
	for i := range s.runs {
		s.runs[i].at = dead
	}
	for i, ask := range m.Runs {
		s.runs[i].at = m.first(ask)
	}
	return s
}

// first: what a planned run finds done meanwhile it need not do again.
func (m Machine) first(a Ask) step {
	if a.Command == Rotate || a.Command == Rollback {
		return either(m.Mistake == NoteServed, noteServed, noteJournal)
	}
	return lock
}
