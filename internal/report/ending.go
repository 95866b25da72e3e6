package report

import (
	"fmt"
	"slices"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// ending is what a status means to somebody who has never seen it, and what is
// to be done about it. Words between back-ticks are shown as code.
type ending struct {
	icon, title, meaning string
	next                 []string
}

func endingOf(res rotation.Result, meta Meta, problems int) ending {
	switch res.Status {
	case rotation.StatusRotated:
		return rotated(res)
	case rotation.StatusUnchanged:
		return ending{icon: "⚪", title: "Unchanged", meaning: "There was nothing to do, and nothing was written."}
	case rotation.StatusPlanned:
		return planned(res)
	case rotation.StatusRolledBack:
		return rolledBack(res)
	case rotation.StatusUnfinished:
		return unfinished(meta)
	case rotation.StatusRefused:
		return refused(problems)
	case rotation.StatusBusy:
		return ending{icon: "⏳", title: "Busy",
			meaning: "Another run is at this role. This run changed no password.",
			next:    []string{"Wait until the other run has ended, then start this one again: it does nothing if the other one did the work."}}
	}
	return ending{icon: "❌", title: "Failed",
		meaning: "The run stopped before any password changed: the current one goes on working.",
		next:    []string{"Mend the cause and run the same command again."}}
}

func rotated(res rotation.Result) ending {
	if n := len(res.Unhealthy()); n > 0 {
		return ending{icon: "⚠️", title: "Rotated, " + count(n, "workload unhealthy", "workloads unhealthy"),
			meaning: "The new password is in every place and logs in. Not every workload came up well with it.",
			next:    []string{"Look at the pods of the unhealthy workloads: they hold the new password, which the database accepts, so the cause lies elsewhere."}}
	}
	return ending{icon: "✅", title: "Rotated",
		meaning: "The new password is in every place and proven: it logs in, and the former one is refused."}
}

func planned(res rotation.Result) ending {
	end := ending{icon: "📝", title: "Planned", meaning: "This is what a rotation would do, in this order. Nothing was changed.",
		next: []string{"Run with `command: rotate` to do it."}}
	if len(res.Plan) == 0 {
		end.meaning = "A rotation is open: the next run finishes that one first. Nothing was changed."
		end.next = []string{"Run with `command: resume` to finish it."}
	}
	return end
}

func rolledBack(res rotation.Result) ending {
	end := ending{icon: "↩️", title: "Rolled back",
		meaning: "The new password could not be proven, so the previous one is back in every place. It logs in as before.",
		next:    []string{"Mend the cause and run `command: rotate` again; it makes another new password."}}
	if n := len(res.Unhealthy()); n > 0 {
		end.title += ", " + count(n, "workload unhealthy", "workloads unhealthy")
		end.next = slices.Insert(end.next, 0, "Look at the pods of the unhealthy workloads first: they are on the previous password again and still not well.")
	}
	return end
}

func unfinished(meta Meta) ending {
	journal := "the journal Secret"
	if meta.Secret != "" {
		journal = fmt.Sprintf("the journal `%s-rotation`", clip(clean(meta.Secret), 253))
	}
	return ending{icon: "🔶", title: "Unfinished",
		meaning: "The rotation stopped on its way. Nothing is lost: " + journal + " holds what is needed to end it.",
		next: []string{
			"Run `command: resume` with the same inputs as soon as the cause is mended. A scheduled `rotate` does the same first.",
			"Until then leave " + journal + " and the role's password alone.",
		}}
}

func refused(problems int) ending {
	return ending{icon: "⛔", title: "Refused",
		meaning: "Nothing was touched: " + count(problems, "thing speaks", "things speak") + " against the rotation.",
		next:    []string{"Mend what is named and run the same command again; `command: plan` checks it without changing anything."}}
}
