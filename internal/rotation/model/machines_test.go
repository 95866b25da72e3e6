package model

import "fmt"

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

// foci returns what is explored; the first of them with so many faults, and with
// three runs at once where it is full.
func foci(faults int8, full bool) []focus {
	crowd := [][]Ask{asks(Rotate, Rotate), asks(Rotate, Emergency), asks(Emergency, Emergency)}
	if full {
		crowd = append(crowd, asks(Rotate, Emergency, Rotate), asks(Rotate, Rotate, Rotate))
	}
	one := Budget{Faults: 1, Failures: 1, Takeovers: 1}
	fewer := Ask{Fewer: true}
	return []focus{
		{"rotations", meet(Machine{Budget: Budget{Faults: faults, Failures: 1, Takeovers: 1}}, crowd...)},
		{"rollbacks", meet(Machine{Budget: one}, asks(Rollback, Rollback), asks(Rotate, Rollback), asks(Emergency, Rollback))},
		{"three at once", only(Machine{Budget: Budget{Takeovers: 1}}, asks(Rotate, Emergency, Rollback))},
		{"exchanged by hand", only(Machine{Budget: Budget{Faults: 1, Exchanged: 1}}, asks(Rollback, Rotate))},
		{"started together", append(
			only(Machine{Budget: one, Together: true, One: true}, asks(Rotate, Rotate), asks(Rotate, Rollback), asks(Rollback, Rollback)),
			only(Machine{Budget: Budget{Faults: 1}, Together: true, One: true, Turned: true}, asks(Rotate, Rotate))...)},
		{"one request", append(
			only(Machine{Budget: one, One: true}, []Ask{{Request: 1}, {Request: 1}}),
			only(Machine{Budget: Budget{Faults: 2}}, []Ask{{Command: Emergency}, {Command: Emergency, Request: 2}, {Command: Emergency, Request: 2}})...)},
		{"restarts", meet(Machine{Budget: Budget{Faults: 1, Failures: 1, Late: 1, Restarts: 1}}, asks(Rotate, Resume))},
		{"late writes", append(
			meet(Machine{Budget: Budget{Faults: 1, Failures: 1, Late: 1}}, asks(Rotate, Rotate), asks(Rotate, Emergency), asks(Rotate, Resume)),
			only(Machine{Budget: Budget{Faults: 1, Takeovers: 1, Late: 1}}, asks(Rotate, Emergency), asks(Rotate, Resume))...)},
		{"an attacker", meet(Machine{Budget: Budget{Faults: 1, Takeovers: 1}, Attacker: true},
			asks(Emergency), asks(Emergency, Resume), asks(Emergency, Emergency), asks(Rotate, Emergency))},
		{"retirement", only(Machine{Budget: Budget{Faults: 1, Failures: 1, Restarts: 2}, Alternate: true, Unlisted: true, Due: true}, asks(Rotate, Rotate), asks(Rotate, Rollback))},
		{"deleted journals", meet(Machine{Budget: Budget{Faults: 2, Deleted: 1}}, asks(Rotate, Rotate))},
		{"Secrets made anew", append(
			only(Machine{Budget: Budget{Faults: 1, Failures: 1, Recreated: 1}}, asks(Rotate, Rotate), asks(Rotate, Rollback)),
			only(Machine{Budget: Budget{Takeovers: 1, Failures: 1, Recreated: 1}}, asks(Rotate, Rotate))...)},
		{"other inputs", only(Machine{Budget: one}, []Ask{{}, fewer}, []Ask{fewer, {}})},
	}
}

func (m Machine) name() string {
	s := "in place"
	if m.Alternate {
		s = "alternate"
	}
	for _, ask := range m.Runs {
		s += ", " + ask.Command.String()
		if ask.Fewer {
			s += " with fewer targets"
		}
	}
	return fmt.Sprintf("%s, %+v", s, m.Budget)
}
