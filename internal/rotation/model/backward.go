package model

// backward is the way back: decided behind a fence of its own, then the runbook
// with the previous credential.
func (c call) backward() {
	s, p := c.s, c.p
	switch previous := p.journal.previous; p.at {
	case turnFence:
		c.raise(p.journal.epoch + 1)
	case turn:
		c.turn()
	case backProbe:
		p.live = c.accepts(previous)
	case backAlter:
		c.set(previous)
	case backServe:
		s.served = served{p.journal.epoch, p.journal.former, previous}
		p.served = s.served
	case backRemote:
		c.putBack(previous)
	case backPod0, backPod1:
		c.restartBack(int(p.at - backPod0))
	case backVerify:
		p.put = p.put || c.Mistake == AnyTime
	case backCommit:
		c.commitBack()
	case backRetire:
		c.set(cred{role: 1 - p.served.cred.role})
	case backSaved:
		c.retired()
	}
}

// turn writes the way back down, and whether pods have to be restarted on it.
func (c call) turn() {
	s, p := c.s, c.p
	s.journal.version++
	s.journal.epoch++
	s.journal.phase = back
	s.journal.noRestart = !c.shown() || c.Mistake == BackWithoutRestart
	p.journal, p.claimed = s.journal, s.journal.epoch
}

// shown tells whether pods may have read the pending credential: only a Secret
// that still holds the previous one, as it was left, proves that they have not,
// and one that was restored does not.
func (c call) shown() bool { return c.written() || c.p.journal.restored && c.Mistake != NotPending }

// written tells whether the Secret may be other than the rotation found it.
func (c call) written() bool {
	p := c.p
	if c.Mistake == NotPending {
		return p.wrote || p.served.id == p.journal.id || p.served.cred == p.journal.pending
	}
	return p.wrote || p.served.id != p.journal.former || p.served.cred != p.journal.previous
}

func (c call) restartBack(i int) {
	switch id := c.p.journal.id; {
	case c.Mistake == SameMark:
		c.restart(i, id)
	case c.Mistake == RestartMarked && c.s.pods[i].mark != id:
	default:
		c.restart(i, -id)
	}
}

// putBack leaves GitHub alone where it has taken nothing of the rotation.
func (c call) putBack(previous cred) {
	if !c.p.intact {
		c.put(previous)
	}
}

// knowsTime tells whether the record has the time of GitHub's last write: of this
// run's, or of the one that was there before.
func (c call) knowsTime() bool { return !c.ask.Fewer && (!c.p.intact || c.p.journal.timed) }

// commitBack closes the journal. Nothing of the rotation is kept; where its role
// is still in use it is retired later.
func (c call) commitBack() {
	s, p := c.s, c.p
	ended := p.journal
	s.journal = journal{version: s.journal.version + 1, epoch: s.journal.epoch, id: ended.id, undo: ended.undo, request: ended.request, remote: c.knowsTime(),
		retire: s.db.accepted[ended.pending.role] != 0 && c.Mistake != BackLeavesRole}
	if ended.inPlace {
		s.journal.retire = ended.retire
	}
	switch {
	case !p.intact:
		s.moved = !p.put
	case c.Mistake == IntactIsWritten:
		s.moved = false
	}
	s.behind = s.behind || p.intact && s.remote == ended.pending && !ended.undo
	s.drifted = false
	s.dropped = s.dropped || ended.remote && c.ask.Fewer && s.remote != s.served.cred
	p.journal = s.journal
}
