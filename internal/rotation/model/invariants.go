package model

import "slices"

// broken names the invariants that do not hold in s:
//
//	I1 the password that the served role accepts is in the Secret or the journal
//	I2 the served credential logs in; in place, once no journal is open
//	I3 what an emergency was made for never works again and is stored nowhere
//	I4 a run without faults ends in agreement (see recover.go)
//	I5 runs that start together, and runs of one request, make one rotation
//	I6 alternate: what a pod was given logs in; in place: once no journal is open
//	I7 alternate: a role that is not served is closed or going to be retired
//	I8 a rollback that ends well has taken out of service what it was to undo
//	I9 what somebody has replaced in the database never works again
func (m Machine) broken(s *state) []string {
	var bad violations
	m.stored(s, &bad)
	m.safe(s, &bad)
	m.usable(s, &bad)
	m.wanted(s, &bad)
	return bad
}

type violations []string

func (v *violations) note(broken bool, text string) {
	if broken && !slices.Contains(*v, text) {
		*v = append(*v, text)
	}
}

// stored: nothing is lost.
func (m Machine) stored(s *state, bad *violations) {
	role, j := s.served.cred.role, &s.journal
	accepted := cred{role, s.db.accepted[role]}
	places := []cred{{role, 0}, {role, stolen}, s.served.cred, j.pending, j.previous, j.superseded[0], j.superseded[1]}
	bad.note(!slices.Contains(places, accepted) && !(s.drifted && accepted.password == s.foreign), "I1 an accepted password of the served role is stored nowhere")
	opens := s.db.works(s.served.cred) || s.tampered() || s.drifted
	inPlace := s.changesInPlace() || !m.Alternate
	bad.note(!inPlace && !opens, "I2 the served credential does not log in")
	bad.note(inPlace && !opens && j.phase == idle, "I2 the served credential does not log in and no journal is open")
}

// tampered: the attacker has set the served role's password, and no emergency
// has ended since.
func (s *state) tampered() bool {
	return s.db.accepted[s.served.cred.role] == stolen && s.floor == 0
}

// safe: what an emergency was made for stays out.
func (m Machine) safe(s *state, bad *violations) {
	j := &s.journal
	bad.note(s.exposed, "I3 a compromised password works when an emergency ends that GitHub or a rollout has failed")
	kept := j.previous.password != 0 || j.phase == idle && j.superseded != [2]cred{}
	bad.note(j.emergency && kept, "I3 the journal keeps a credential that an emergency replaced")
	for role, password := range s.db.accepted {
		c := cred{int8(role), password}
		if s.floor > 0 {
			bad.note(s.db.attacker[role] || password == stolen && s.db.works(c), "I3 the attacker is in after the emergency")
		}
		if password == stolen || !s.db.works(c) {
			continue
		}
		bad.note(s.burnt&(1<<password) != 0, "I3 a compromised password works again")
		bad.note(j.phase == idle && !s.wanted && s.compromised&(1<<password) != 0, "I3 a compromised password works after the emergency")
		bad.note(s.replaced&(1<<password) != 0, "I9 a password works again that somebody has replaced")
		bad.note(password < s.floor, "I3 a password works that an emergency or a person has replaced")
	}
}

// usable: pods have what logs in, and what nobody needs does not.
func (m Machine) usable(s *state, bad *violations) {
	bad.note(s.shutOut, "I6 every pod is shut out when an emergency ends that GitHub or a restart has failed")
	atRest := s.journal.phase == idle && !s.lostOpen && !s.tampered() && !s.drifted
	for i, p := range s.pods {
		listed := !m.Unlisted || i == 0
		opens := s.db.works(p.cred)
		bad.note(m.Alternate && s.compromised == 0 && !opens && !m.Attacker && !s.changesInPlace() && !s.drifted, "I6 a pod has a credential that does not log in")
		bad.note(!m.Alternate && listed && atRest && !opens, "I6 a pod has a stale credential and no journal is open")
	}
	other := 1 - s.served.cred.role
	left := s.db.works(cred{other, s.db.accepted[other]}) && s.db.accepted[other] != stolen && !s.journal.retire
	bad.note(m.Alternate && atRest && !s.forgot && left, "I7 a role that is not served opens the door, and nobody is going to retire it")
}

// changesInPlace tells whether an open rotation may have shut out what is served.
func (s *state) changesInPlace() bool {
	return s.journal.phase != idle && (s.journal.inPlace || s.journal.gaveUp)
}

// wanted: every run does what it was asked for, once.
func (m Machine) wanted(s *state, bad *violations) {
	bad.note(s.made > 1 && m.One, "I5 runs that have to make one rotation make two")
	bad.note(s.wasted, "I5 a run writes and has nothing to do")
	bad.note(s.dropped, "I4 a rotation ends without a target that it has recorded")
	bad.note(s.behind, "I4 a way back leaves alone what GitHub has taken")
	undoes := !slices.ContainsFunc(m.Runs, func(a Ask) bool { return a.Command != Rollback })
	bad.note(undoes && m.Together && s.undone && s.served.cred.password == 2, "I8 a rollback ends well, and what it was to undo is served")
}
