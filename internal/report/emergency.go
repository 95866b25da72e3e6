package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// An emergency answers one question before all others: is the compromised
// password shut out?

func emergency(res rotation.Result) ending {
	end := ending{icon: "🔒", title: "Emergency: rotated",
		meaning: "The compromised password is shut out: the database accepts the new one only, which is in every place. The compromised one is stored nowhere."}
	if len(res.Lingering) > 0 {
		end.next = []string{"Go through what a new password does not take away: whoever had the old one may have left something behind."}
	}
	if n := len(res.Unhealthy()); n > 0 {
		end.icon, end.title = "⚠️", end.title+", "+count(n, "workload unhealthy", "workloads unhealthy")
		end.meaning += " Not every workload came up well with it."
		end.next = slices.Insert(end.next, 0, "Look at the pods of the unhealthy workloads: they hold the new password, which the database accepts, so the cause lies elsewhere.")
	}
	return end
}

func emergencyUnfinished(res rotation.Result) ending {
	end := ending{icon: "🚨", title: "Emergency unfinished",
		next: []string{"Run `command: resume` with the same inputs at once, and again until it ends: it does what is left. It needs no `mode` and no `reason`."}}
	if res.Others {
		end.meaning = "The emergency that is open is another one, which has to be finished first, and could not be. What this run was to replace goes on being accepted."
		end.next = append(end.next, "Then start this emergency again.")
		return end
	}
	if strategyOf(res, Meta{}) == rotation.Alternate {
		return end.switching(res)
	}
	switch database, tried := stepOf(res, "database"); {
	case tried && database.Err == nil && res.FormerRole != "":
		end.meaning = fmt.Sprintf("The password of role %s is exchanged, and role %s, which has been served before, may still log in with what it had.", quoted(res.Username), quoted(res.FormerRole))
		end.next = append(end.next, fmt.Sprintf("If that is not possible soon, close that role by hand: `ALTER ROLE %s NOLOGIN` and end its sessions.", quoted(res.FormerRole)))
		return end
	case tried && database.Err == nil:
		end.title += ", password shut out"
		end.meaning = "The compromised password is shut out: the database accepts the new one only. Places that do not have the new one yet are refused until they get it."
		return end
	case tried:
		end.meaning = "It is not certain that the compromised password is shut out. The role may be closed to everybody (NOLOGIN) until the emergency has ended."
	default:
		end.meaning = "This run did not get to the database: the compromised password may still be accepted."
	}
	end.next = append(end.next, fmt.Sprintf("If that is not possible soon, close the role by hand: `ALTER ROLE %s NOLOGIN` and end its sessions. `resume` opens it again.", quoted(res.Username)))
	return end
}

// switching is unfinished where roles alternate: the compromised one goes on
// logging in until the restart.
func (end ending) switching(res rotation.Result) ending {
	switch revoke, tried := stepOf(res, "revoke"); {
	case tried && revoke.Err == nil && res.FormerRole == "":
		end.title += ", password shut out"
		end.meaning = "The compromised password is shut out: its role is closed, and the other role is served. Pods and places that do not have that one yet are refused until they get it."
		return end
	case tried:
		end.meaning = "It is not certain that the compromised password is shut out: its role could not be closed."
	default:
		end.meaning = "The compromised password may still be accepted: its role is closed after the restart, once what is served has been proven to log in, and this run did not get that far."
	}
	end.next = append(end.next, fmt.Sprintf("If that is not possible soon, close the role by hand: `ALTER ROLE %s NOLOGIN` and end its sessions. Pods that have not been restarted are refused then until `resume` has ended.",
		quoted(cmp.Or(res.FormerRole, res.Username))))
	return end
}

// untouched says what an emergency that changed nothing leaves as it was.
func untouched(end ending) ending {
	end.meaning += " The compromised password may still be accepted."
	return end
}

func quoted(role string) string {
	return `"` + strings.ReplaceAll(clip(clean(role), 63), `"`, `""`) + `"`
}

// stepOf is a step of the runbook as the last rotation of the run has left it: one
// that was finished for somebody else before it says nothing.
func stepOf(res rotation.Result, name string) (step rotation.StepResult, tried bool) {
	for _, s := range slices.Backward(res.Steps) {
		switch s.Name {
		case name:
			return s, true
		case "journal":
			return rotation.StepResult{}, false
		}
	}
	return rotation.StepResult{}, false
}

// remnant is one thing that an unfinished emergency has not done.
type remnant struct {
	Step, Target string
	Err          error // why not; nil: it was not begun
}

// remnants lists what is left to be done, in the order of the runbook.
func (b builder) remnants() []remnant {
	if b.checked() || b.Status != rotation.StatusUnfinished || b.mode() != string(rotation.Emergency) {
		return nil
	}
	var all []remnant
	for _, name := range []string{"database", "served Secret", "cluster copies", "standbys", "restart", "GitHub", "health", "verify", "sessions", "revoke", "commit"} {
		step, tried := stepOf(b.Result, name)
		if step.Err == nil && b.optional(name) {
			continue
		}
		left := b.remaining(name)
		if len(left) == 0 && (!tried && !many(name) || step.Err != nil) {
			left = []remnant{{Step: name, Err: step.Err}}
		}
		all = append(all, left...)
	}
	return all
}

// optional tells the steps that are left only where they have failed: not every run
// has them, or they do nothing that is missed.
func (b builder) optional(step string) bool {
	return slices.Contains([]string{"standbys", "health", "sessions", "commit"}, step) || step == "revoke" && b.FormerRole == ""
}

// remaining lists the copies or workloads of a step that are not done.
func (b builder) remaining(step string) []remnant {
	ended := map[string]rotation.Target{}
	for _, t := range slices.Concat(b.Copies, b.Workloads) {
		ended[t.Name] = t
	}
	var left []remnant
	for _, name := range b.members(step) {
		if t, tried := ended[name]; !tried || t.Err != nil {
			left = append(left, remnant{step, name, t.Err})
		}
	}
	return left
}

// members are the copies or workloads of a step.
func (b builder) members(step string) []string {
	var names []string
	for _, line := range b.Targets {
		if line.Step == step {
			names = append(names, line.Target)
		}
	}
	for _, t := range slices.Concat(b.Copies, b.Workloads) {
		if placeOf(t) == step && !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
	}
	return names
}

// many tells whether a step is about several copies or workloads.
func many(step string) bool { return step == "cluster copies" || step == "restart" || step == "GitHub" }

func placeOf(t rotation.Target) string {
	switch {
	case t.Kind == "workload":
		return "restart"
	case strings.HasPrefix(t.Name, gitHubSecret):
		return "GitHub"
	}
	return "cluster copies"
}

func (b builder) left() section {
	return table(b, "What is left", []string{"Step", "Target", "State"}, b.remnants(), func(r remnant) row {
		state := cell{Text: "not begun", Kind: bad}
		if r.Err != nil {
			state = b.cell(bad, b.message(r.Err))
		}
		return row{b.cell(label, r.Step), b.cell(code, r.Target), state}
	})
}

func (b builder) lingering() section {
	return b.texts("What a new password does not take away", b.Lingering)
}
