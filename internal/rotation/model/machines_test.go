package model

import (
	"fmt"
	"strings"
)

// focus is a part of the design, with machines that look at it from near.
type focus struct {
	name     string
	machines []Machine
}

// meet makes a machine for every company, with and without alternating roles.
func meet(m Machine, companies ...[]Ask) []Machine {
	var all []Machine
	for _, alternate := range []bool{false, true} {
		all = append(all, only(with(m, alternate), companies...)...)
	}
	return all
}

func with(m Machine, alternate bool) Machine {
	m.Alternate = alternate
	return m
}

func only(m Machine, companies ...[]Ask) []Machine {
	var all []Machine
	for _, runs := range companies {
		m.Runs = runs
		all = append(all, m)
	}
	return all
}

func asks(commands ...Command) []Ask {
	var all []Ask
	for _, c := range commands {
		all = append(all, Ask{Command: c})
	}
	return all
}

// foci returns what is explored; the first of them with so many faults. Where it
// is full three runs meet, with one.
func foci(faults int8, full bool) []focus {
	one := Budget{Faults: 1, Failures: 1, Takeovers: 1}
	fewer, inPlace := Ask{Fewer: true}, Ask{InPlace: true}
	all := []focus{
		// Planned rotations and emergencies get into each other's way.
		{"rotations", meet(Machine{Budget: Budget{Faults: faults, Failures: 1, Takeovers: 1}}, asks(Rotate, Rotate), asks(Rotate, Emergency), asks(Emergency, Emergency))},
		// Nothing but GitHub and rollouts fail.
		{"GitHub refuses", meet(Machine{Budget: Budget{Failures: 3}}, asks(Emergency, Emergency), asks(Emergency, Emergency, Emergency))},
		// What is finished is undone, what is not is turned back.
		{"rollbacks", meet(Machine{Budget: one}, asks(Rollback, Rollback), asks(Rotate, Rollback), asks(Emergency, Rollback))},
		// A rotation, an emergency and a rollback take the lock from one another.
		{"three at once", only(Machine{Budget: Budget{Takeovers: 1}}, asks(Rotate, Emergency, Rollback))},
		// Somebody has rotated without this program.
		{"exchanged by hand", only(Machine{Budget: Budget{Faults: 1, Exchanged: 1}}, asks(Rollback, Rotate))},
		// Two that are started at once, also while a rotation is going back.
		{"started together", append(
			only(Machine{Budget: one, Together: true, One: true}, asks(Rotate, Rotate), asks(Rotate, Rollback), asks(Rollback, Rollback)),
			only(Machine{Budget: Budget{Faults: 1}, Together: true, One: true, Turned: true}, asks(Rotate, Rotate))...)},
		// The same run is started again, also after it has finished another's emergency.
		{"one request", append(
			only(Machine{Budget: one, One: true}, []Ask{{Request: 1}, {Request: 1}}),
			only(Machine{Budget: Budget{Faults: 2}}, []Ask{{Command: Emergency}, {Command: Emergency, Request: 2}, {Command: Emergency, Request: 2}})...)},
		// Pods restart at any time, and the write that they read arrives at any time.
		{"restarts", meet(Machine{Budget: Budget{Faults: 1, Failures: 1, Late: 1, Restarts: 1}}, asks(Rotate, Resume))},
		// The former run's writes arrive after the next one's.
		{"late writes", append(
			meet(Machine{Budget: Budget{Faults: 1, Failures: 1, Late: 1}}, asks(Rotate, Rotate), asks(Rotate, Emergency), asks(Rotate, Resume)),
			only(Machine{Budget: Budget{Faults: 1, Takeovers: 1, Late: 1}}, asks(Rotate, Emergency), asks(Rotate, Resume))...)},
		// Who has sessions and passwords sets others, until the lockout.
		{"an attacker", meet(Machine{Budget: Budget{Faults: 1, Takeovers: 1}, Attacker: true},
			asks(Emergency), asks(Emergency, Resume), asks(Emergency, Emergency), asks(Rotate, Emergency))},
		// The former role goes, a workload that is not restarted uses it.
		{"retirement", only(Machine{Budget: Budget{Faults: 1, Failures: 1, Restarts: 2}, Alternate: true, Unlisted: true, Due: true}, asks(Rotate, Rotate), asks(Rotate, Rollback))},
		// The former role goes with the rotation; between two sessions a pod is not seen.
		{"retired at once", only(Machine{Budget: one, Alternate: true, AtOnce: true, Quiet: true}, asks(Rotate, Rotate), asks(Rotate, Rollback), asks(Rotate, Emergency))},
		// A run changes the served role's password where the one before it switched roles.
		{"strategy switched", append(
			only(Machine{Budget: one, Alternate: true}, []Ask{inPlace, {}}, []Ask{{}, inPlace}, []Ask{{Command: Emergency, InPlace: true}, {}}, []Ask{{}, {Command: Emergency, InPlace: true}}, []Ask{inPlace, {Command: Rollback}}),
			only(Machine{Budget: Budget{Faults: 1, Failures: 1}, Alternate: true, Due: true}, []Ask{inPlace, {}})...)},
		// What the journal knew is gone.
		{"deleted journals", meet(Machine{Budget: Budget{Faults: 2, Deleted: 1}}, asks(Rotate, Rotate))},
		// The served Secret has lost its epoch, perhaps its credential.
		{"Secrets made anew", append(
			only(Machine{Budget: Budget{Faults: 1, Failures: 1, Recreated: 1}}, asks(Rotate, Rotate), asks(Rotate, Rollback)),
			only(Machine{Budget: Budget{Takeovers: 1, Failures: 1, Recreated: 1}}, asks(Rotate, Rotate))...)},
		// The served Secret is as it was right before the open rotation.
		{"restored Secrets", meet(Machine{Budget: Budget{Faults: 1, Failures: 1, Restored: 1}}, asks(Rotate, Rollback), asks(Rotate, Rotate))},
		// Somebody has changed the password in the database alone.
		{"changed in the database", meet(Machine{Budget: Budget{Faults: 1, Failures: 1, Drifted: 1}}, []Ask{{}, {Repair: true}}, []Ask{{Repair: true}, {Command: Rollback}}, []Ask{{Repair: true}, {Command: Emergency}})},
		// A run knows of fewer targets than the rotation.
		{"other inputs", only(Machine{Budget: one}, []Ask{{}, fewer}, []Ask{fewer, {}})},
	}
	if full {
		all = append(all, focus{"three runs", meet(Machine{Budget: one}, asks(Rotate, Emergency, Rotate), asks(Rotate, Rotate, Rotate), asks(Rotate, Rollback, Emergency))})
	}
	return all
}

func (m Machine) name() string {
	words := []string{"in place"}
	if m.Alternate {
		words[0] = "alternate"
	}
	for _, ask := range m.Runs {
		word := ask.Command.String()
		if ask.Fewer {
			word += " with fewer targets"
		}
		if ask.Repair {
			word += " that repairs"
		}
		if ask.InPlace {
			word += " in place"
		}
		words = append(words, word)
	}
	b := m.Budget
	for _, often := range []struct {
		n    int8
		what string
	}{{b.Faults, "faults"}, {b.Failures, "failures"}, {b.Takeovers, "takeovers"}, {b.Late, "late"}, {b.Restarts, "restarts"},
		{b.Deleted, "deleted"}, {b.Recreated, "recreated"}, {b.Restored, "restored"}, {b.Exchanged, "exchanged"}, {b.Drifted, "drifted"}} {
		if often.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", often.n, often.what))
		}
	}
	return strings.Join(words, ", ")
}
