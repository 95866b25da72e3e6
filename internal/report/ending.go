package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// ending is what a status means to somebody who has never seen it, and what is
// to be done about it. Words between back-ticks are shown as code.
type ending struct {
	icon, title, meaning string
	next                 []string
}

func endingOf(res rotation.Result, meta Meta, problems int) ending {
	switch urgent := modeOf(res, meta) == string(rotation.Emergency); {
	case checked(res, meta):
		return checkEnding(res, problems)
	case !urgent:
		return plainEnding(res, meta, problems)
	case res.Status == rotation.StatusRotated:
		return emergency(res)
	case res.Status == rotation.StatusUnfinished:
		return emergencyUnfinished(res)
	case res.Status == rotation.StatusUnchanged, res.Status == rotation.StatusPlanned:
		return plainEnding(res, meta, problems)
	}
	return untouched(plainEnding(res, meta, problems))
}

// modeOf is the mode of the rotation, or of what was asked for where there is none.
func modeOf(res rotation.Result, meta Meta) string { return cmp.Or(string(res.Mode), meta.Mode) }

// strategyOf is that of the rotation, or what was asked for where there is none.
func strategyOf(res rotation.Result, meta Meta) string { return cmp.Or(res.Strategy, meta.Strategy) }

func plainEnding(res rotation.Result, meta Meta, problems int) ending {
	switch res.Status {
	case rotation.StatusRotated:
		return rotated(res)
	case rotation.StatusUnchanged:
		return unchanged(res)
	case rotation.StatusPlanned:
		return planned(res, meta)
	case rotation.StatusRolledBack:
		return rolledBack(res)
	case rotation.StatusUnfinished:
		return unfinished(res, meta)
	case rotation.StatusRefused:
		return refused(meta, problems)
	case rotation.StatusBusy:
		return ending{icon: "⏳", title: "Busy",
			meaning: "Another run is at this role. This run changed no password.",
			next:    []string{"Wait until the other run has ended, then start this one again: it does nothing if the other one did the work."}}
	}
	return ending{icon: "❌", title: "Failed",
		meaning: "The run stopped before any password changed: the current one goes on working.",
		next:    []string{"Mend the cause and run the same command again."}}
}

// unchanged has written copies at most.
func unchanged(res rotation.Result) ending {
	if n := len(res.Copies); n > 0 {
		return ending{icon: "🩹", title: "Unchanged, " + count(n, "copy mended", "copies mended"),
			meaning: "The password is the same as before. What somebody else had written over it since the last rotation holds it again.",
			next:    []string{"Find out who wrote the copies that are named: a person, another tool, or a run that was stopped and went on late."}}
	}
	if res.Retired != "" {
		return ending{icon: "🧹", title: "Unchanged, former role retired", meaning: "The password is the same as before. The role that was served before it has no password any more."}
	}
	return ending{icon: "⚪", title: "Unchanged", meaning: "There was nothing to do, and nothing was written."}
}

func rotated(res rotation.Result) ending {
	if res.Undone != "" {
		return undone(res)
	}
	if n := len(res.Unhealthy()); n > 0 {
		return ending{icon: "⚠️", title: "Rotated, " + count(n, "workload unhealthy", "workloads unhealthy"),
			meaning: "The new password is in every place and logs in. Not every workload came up well with it.",
			next:    []string{"Look at the pods of the unhealthy workloads: they hold the new password, which the database accepts, so the cause lies elsewhere."}}
	}
	if res.FormerRole != "" || res.Retired != "" {
		return ending{icon: "✅", title: "Rotated", meaning: "The new user name and password are in every place and proven: they log in."}
	}
	return ending{icon: "✅", title: "Rotated",
		meaning: "The new password is in every place and proven: it logs in, and the former one is refused.", next: goOn(res)}
}

// undone is a finished rotation that was undone, by another one.
func undone(res rotation.Result) ending {
	end := ending{icon: "↩️", title: "Undone",
		meaning: fmt.Sprintf("Rotation `%s` is undone: the password before it is in every place again and proven. The one that it had brought in is refused.", clip(clean(res.Undone), 100))}
	if res.FormerRole != "" || res.Retired != "" {
		end.meaning = strings.Replace(end.meaning, " The one that it had brought in is refused.", " Its user name is served again.", 1)
	}
	if n := len(res.Unhealthy()); n > 0 {
		end.title += ", " + count(n, "workload unhealthy", "workloads unhealthy")
		end.next = []string{"Look at the pods of the unhealthy workloads: they hold the password that is served, which the database accepts, so the cause lies elsewhere."}
	}
	return end
}

func planned(res rotation.Result, meta Meta) ending {
	end := ending{icon: "📝", title: "Planned", meaning: "This is what a rotation would do, in this order. Nothing was changed.",
		next: []string{"Run with `command: rotate` to do it."}}
	if len(res.Plan) == 0 {
		end.meaning = "A rotation is open: the next run finishes that one first. Nothing was changed."
		end.next = []string{"Run with `command: resume` to finish it."}
	}
	if modeOf(res, meta) == string(rotation.Emergency) {
		end.next = []string{"Run with `command: rotate`, `mode: emergency` and the same `reason` to do it: every session of the role will be ended."}
		end.meaning = strings.NewReplacer("what a rotation would do", "what an emergency would do",
			"the next run finishes that one first", "an emergency gives a planned one up and finishes another emergency first").Replace(end.meaning)
	}
	return end
}

func rolledBack(res rotation.Result) ending {
	end := ending{icon: "↩️", title: "Rolled back",
		meaning: "The new password could not be proven, so the previous one is back in every place. It logs in as before.",
		next:    []string{"Mend the cause and run `command: rotate` again; it makes another new password."}}
	switch {
	case res.Requested:
		end.title, end.next = "Rolled back, as asked", nil
		end.meaning = "The unfinished rotation was turned back: the previous password is in every place again, and logs in as before."
	case res.Undone != "":
		end.meaning = fmt.Sprintf("The password before rotation `%s` could not be proven, so what was served stays in every place. It logs in as before.", clip(clean(res.Undone), 100))
		end.next = []string{"Mend the cause. The older password is not kept any more: `command: rotate` brings in a new one."}
	}
	if n := len(res.Unhealthy()); n > 0 {
		end.title += ", " + count(n, "workload unhealthy", "workloads unhealthy")
		end.next = slices.Insert(end.next, 0, "Look at the pods of the unhealthy workloads first: they are on the previous password again and still not well.")
	}
	return end
}

func unfinished(res rotation.Result, meta Meta) ending {
	journal := "the journal Secret"
	if meta.Secret != "" {
		journal = fmt.Sprintf("the journal `%s-rotation`", clip(clean(meta.Secret), 253))
	}
	what := "The rotation"
	if res.Undone != "" {
		what = fmt.Sprintf("Undoing rotation `%s`", clip(clean(res.Undone), 100))
	}
	return ending{icon: "🔶", title: "Unfinished",
		meaning: what + " stopped on its way. Nothing is lost: " + journal + " holds what is needed to end it.",
		next: []string{
			"Run `command: resume` with the same inputs as soon as the cause is mended. A scheduled `rotate` does the same first.",
			"Until then leave " + journal + " and the role's password alone.",
		}}
}

func refused(meta Meta, problems int) ending {
	if meta.Command == "rollback" {
		return ending{icon: "⛔", title: "Refused",
			meaning: "Nothing was touched: " + count(problems, "thing speaks", "things speak") + " against going back.",
			next:    []string{"The password that is served goes on working."}}
	}
	return ending{icon: "⛔", title: "Refused",
		meaning: "Nothing was touched: " + count(problems, "thing speaks", "things speak") + " against the rotation.",
		next:    []string{"Mend what is named and run the same command again; `command: plan` checks it without changing anything."}}
}
