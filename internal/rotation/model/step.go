package model

// step is what a run does next.
type step int8

const (
	noteServed step = iota // by mistake
	noteJournal
	lock
	lookJournal
	lookServed
	claim
	check
	fence
	decide

	probe // forward
	alter
	shut // ALTER ROLE NOLOGIN
	expel
	open // ALTER ROLE LOGIN
	prove
	serve
	remote
	pod0
	pod1
	verify
	revoke // the role that an emergency replaced
	expelFormer
	commit
	retireNow // the role that a planned rotation replaced
	retireSaved

	turnFence // back
	turn
	backProbe
	backAlter
	backServe
	backRemote
	backPod0
	backPod1
	backVerify
	backCommit
	backRetire
	backSaved

	retire // nothing is open
	rewrite
	tidyCommit

	revert // ALTER ROLE to the former password, without a word in the journal

	done   // ended well
	failed // ended otherwise
	dead
)

func (s step) String() string {
	return [...]string{"notes what is served", "notes what is open", "lock", "looks at the journal", "looks at the Secret", "claims",
		"checks the lock", "fences", "decides", "probes", "ALTER ROLE", "ALTER ROLE NOLOGIN", "ends the sessions", "ALTER ROLE LOGIN", "proves",
		"serves", "GitHub", "pod 0", "pod 1", "verifies", "revokes", "ends the former role's sessions", "commits", "retires the former role", "commits that it is retired", "fences the way back",
		"turns back", "back: probes", "back: ALTER ROLE", "back: serves", "back: GitHub", "back: pod 0", "back: pod 1", "back: verifies",
		"back: commits", "back: retires", "back: commits that it is retired", "retires", "writes GitHub again", "commits that nothing is left", "puts the former password back",
		"done", "failed", "dead"}[s]
}

// call is a call that a run is about to make.
type call struct {
	Machine
	s   *state
	i   int
	p   *process
	ask Ask
}

func (m Machine) call(s *state, i int) call { return call{m, s, i, &s.runs[i], m.Runs[i]} }

// do is the effect of the call that run i is about to make. It tells whether
// the call is answered with a yes; where it is not, nothing has changed.
func (m Machine) do(s state, i int) (state, bool) {
	c := m.call(&s, i)
	if c.refused() {
		return s, false
	}
	switch at := c.p.at; {
	case at <= fence:
		c.look()
	case at == decide:
		c.decide()
	case at <= retireSaved:
		c.forward()
	case at <= backSaved:
		c.backward()
	default:
		c.tidy()
	}
	return s, true
}

// refused tells whether a precondition of the call does not hold.
func (c call) refused() bool {
	s, p := c.s, c.p
	switch p.at {
	case check:
		return p.lost && c.Mistake != NoLockCheck
	case lookServed:
		return p.claimed > 0 && p.journal.epoch != p.claimed
	case claim, decide, commit, retireSaved, turn, backCommit, backSaved, tidyCommit:
		return s.journal.version != p.journal.version && c.Mistake != NoPreconditions
	case fence, turnFence, serve, backServe:
		return c.fencedOut()
	case pod0, pod1, backPod0, backPod1:
		return s.served.cred.password == 0
	case backAlter: // somebody set what is there for a reason
		return c.foreign() || p.lost && c.Mistake != AlterWithoutLock
	case prove:
		return !c.accepts(p.journal.pending)
	case verify:
		return !c.accepts(p.journal.pending) || s.served.cred != p.journal.pending
	case backVerify:
		return !c.accepts(p.journal.previous) || s.served.cred != p.journal.previous
	}
	return p.lost && p.at.inSession() && c.Mistake != AlterWithoutLock
}

// foreign: the role that is to be put back has a password that the rotation
// never set.
func (c call) foreign() bool {
	return c.s.drifted && c.s.db.accepted[c.p.journal.previous.role] == c.s.foreign && c.Mistake != BackOverForeign
}

// inSession tells whether the step is done in the session that holds the lock.
func (s step) inSession() bool {
	switch s {
	case check, alter, shut, expel, open, revoke, expelFormer, retireNow, backAlter, backRetire, retire, revert:
		return true
	}
	return false
}

// fencedOut: another run owns the served Secret, or it is not the one any more
// that this run has fenced.
func (c call) fencedOut() bool {
	mine := c.p.journal.epoch
	if c.p.at == turnFence {
		mine++
	}
	switch there := c.s.served.epoch; {
	case c.Mistake == NoPreconditions, c.Mistake == NoEpochCheck, c.Mistake == NoFence && there < mine:
		return false
	case c.p.at == fence, c.p.at == turnFence, c.Mistake == AnySecret:
		return there > mine
	default:
		return there != mine
	}
}

// accepts is what the oracle says, a role that is closed left out.
func (c call) accepts(credential cred) bool {
	return c.s.db.works(credential) || c.Mistake == ClosedIsYes && c.s.db.accepted[credential.role] == credential.password
}
