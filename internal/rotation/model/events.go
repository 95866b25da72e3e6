package model

import "fmt"

// events are what others do, and the network.
func (m Machine) events(s state) []edge {
	out := m.arrives(s)
	out = append(out, m.restarts(s)...)
	if s.atRest() {
		out = append(out, m.byHand(s)...)
	}
	if s.spent.Recreated < m.Budget.Recreated {
		out = append(out, recreated(s)...)
	}
	if m.Attacker {
		out = append(out, attacks(s)...)
	}
	return out
}

// arrives: a late write of the Secret is refused by another epoch, one of GitHub
// is not.
func (m Machine) arrives(s state) []edge {
	late := s.late
	s.late = request{}
	switch late.kind {
	case serve:
		if s.served.epoch == late.served.epoch || m.Mistake == NoPreconditions || m.Mistake == NoEpochCheck {
			s.served = late.served
		}
	case remote:
		s.write(late.served.cred)
	default:
		return nil
	}
	return []edge{other(s, fmt.Sprintf("THE LATE WRITE %v ARRIVES", late.kind))}
}

// restarts: a pod that restarts by itself reads what is served, and its template
// has the mark that it had.
func (m Machine) restarts(s state) []edge {
	var out []edge
	for i := range s.pods {
		if s.spent.Restarts < m.Budget.Restarts && s.served.cred.password != 0 && s.pods[i].cred != s.served.cred {
			next := s
			next.pods[i].cred = s.served.cred
			next.spent.Restarts++
			out = append(out, other(next, fmt.Sprintf("POD %d RESTARTS BY ITSELF", i)))
		}
	}
	return out
}

// atRest: no run is at work.
func (s *state) atRest() bool {
	for _, p := range s.runs {
		if p.at > lock && p.at < done {
			return false
		}
	}
	return true
}

// byHand is what somebody does while no run is at work: delete the journal
// although the served Secret holds what the database accepts, exchange the
// password everywhere, with a new Secret, or change it in the database alone; or
// restore the Secret from a backup that was made right before the open rotation.
func (m Machine) byHand(s state) []edge {
	var out []edge
	if s.spent.Deleted < m.Budget.Deleted && s.db.works(s.served.cred) {
		next := s
		next.spent.Deleted++
		next.forgot, next.lostOpen = true, s.journal.phase != idle
		next.journal = journal{version: s.journal.version + 1}
		out = append(out, other(next, "SOMEBODY DELETES THE JOURNAL"))
	}
	if s.spent.Restored < m.Budget.Restored && s.journal.phase == forward && s.journal.previous.password != 0 {
		next := s
		next.spent.Restored++
		next.served = served{s.journal.epoch - 1, s.journal.former, s.journal.previous}
		out = append(out, other(next, "SOMEBODY RESTORES THE SECRET"))
	}
	if s.spent.Drifted < m.Budget.Drifted && s.served.cred.password != 0 {
		out = append(out, drifted(s))
	}
	if s.spent.Exchanged < m.Budget.Exchanged && s.journal.phase == idle {
		next, c := s, cred{s.served.cred.role, s.next}
		next.spent.Exchanged++
		next.next++
		next.db.accepted[c.role], next.served, next.floor = c.password, served{cred: c}, c.password
		next.write(c)
		next.pods[0].cred, next.pods[1].cred = c, c
		out = append(out, other(next, "SOMEBODY EXCHANGES THE PASSWORD BY HAND"))
	}
	return out
}

// drifted: somebody sets a password that is stored nowhere. What did not open
// the door any more is not to be brought back; a rotation that is going forward
// goes on with what it has.
func drifted(s state) edge {
	s.spent.Drifted++
	role := s.served.cred.role
	if s.journal.phase != forward {
		for _, c := range []cred{s.served.cred, s.journal.pending, s.journal.previous} {
			if c.role == role {
				s.replaced |= 1 << c.password &^ 1
			}
		}
	}
	s.foreign, s.drifted = s.next, true
	s.db.accepted[role] = s.next
	s.next++
	return other(s, "SOMEBODY CHANGES THE PASSWORD IN THE DATABASE")
}

// recreated: the Secret is deleted and made anew, with its credential; or
// without, for the next run to fill in, where a rotation is open.
func recreated(s state) []edge {
	s.spent.Recreated++
	s.served.epoch, s.served.id = 0, 0
	out := []edge{other(s, "SOMEBODY MAKES THE SECRET ANEW")}
	if s.atRest() && s.journal.phase != idle {
		s.served.cred = cred{}
		out = append(out, other(s, "SOMEBODY MAKES THE SECRET ANEW, EMPTY"))
	}
	return out
}

// attacks: who has a session of a role may set its password; who knows its
// password may log in.
func attacks(s state) []edge {
	var out []edge
	for role, password := range s.db.accepted {
		next, known := s, password == 1 || password == 2 || password == stolen
		switch {
		case s.db.attacker[role] && password != stolen:
			next.db.accepted[role] = stolen
			out = append(out, other(next, fmt.Sprintf("THE ATTACKER SETS THE PASSWORD OF ROLE %d", role)))
		case !s.db.attacker[role] && known && !s.db.closed[role]:
			next.db.attacker[role] = true
			out = append(out, other(next, fmt.Sprintf("THE ATTACKER LOGS IN AS ROLE %d", role)))
		}
	}
	return out
}
