package report

import (
	"github.com/pgrotate/pgrotate/internal/rotation"
)

// checked tells a run that only looked.
func checked(res rotation.Result, meta Meta) bool {
	return meta.Command == "check" || len(res.Checks) > 0
}

func (b builder) checked() bool { return checked(b.Result, b.meta) }

// checkEnding says what a check has found.
func checkEnding(res rotation.Result, problems int) ending {
	switch res.Status {
	case rotation.StatusUnchanged:
		return nothingFound(res)
	case rotation.StatusOverdue:
		return ending{icon: "⏰", title: "Overdue", meaning: "The served password works and is older than it may become. Nothing was changed."}
	case rotation.StatusDrifted:
		return ending{icon: "🧭", title: "Drifted, " + count(problems, "finding", "findings"),
			meaning: "Something does not go with the password that is served. Nothing was changed."}
	case rotation.StatusUnfinished:
		return ending{icon: "🔶", title: "Unfinished, " + count(problems, "finding", "findings"),
			meaning: "A rotation is open, or its journal says nothing that can be read. Nothing was changed, and what an open rotation has yet to write was not looked at."}
	case rotation.StatusRefused:
		return ending{icon: "⛔", title: "Refused", meaning: "The check did not begin. Nothing was changed.",
			next: []string{"Mend what is named and run the same command again."}}
	}
	return ending{icon: "❌", title: "Failed", meaning: "The check could not look at everything, and found nothing in what it saw. Nothing was changed.",
		next: []string{"Mend the cause and run the same command again."}}
}

func nothingFound(res rotation.Result) ending {
	unknown := 0
	for _, c := range res.Checks {
		if c.Err != nil {
			unknown++
		}
	}
	if unknown > 0 {
		return ending{icon: "⚪", title: "Nothing found, " + count(unknown, "thing", "things") + " not known",
			meaning: "Nothing is wrong in what this run may look at. Nothing was changed.",
			next:    []string{"Grant the rights that the warnings name, or the check stays blind there."}}
	}
	return ending{icon: "✅", title: "Nothing found", meaning: "The served password logs in and is what every place holds or was last given. Nothing was changed."}
}

// checks lists what a check has looked at.
func (b builder) checks() section {
	return table(b, "What was looked at", []string{"Check", "Target", "Result", "Detail"}, b.Checks, func(c rotation.Check) row {
		detail := c.Found
		switch {
		case c.Status != "":
			detail = "named above"
		case c.Err != nil:
			detail = b.message(c.Err)
		}
		return row{b.cell(label, c.What), b.cell(code, c.Target), judged(c), b.cell(prose, detail)}
	})
}

func judged(c rotation.Check) cell {
	switch {
	case c.Status != "":
		return cell{Text: string(c.Status), Kind: bad}
	case c.Err != nil:
		return cell{Text: "not known", Kind: aside}
	}
	return cell{Text: "well", Kind: good}
}

type checkInJSON struct {
	Check  string   `json:"check"` // age, or the step of a rotation that it is about
	Target string   `json:"target"`
	Result string   `json:"result"` // well, not known, or the status of a run that found nothing else
	Detail string   `json:"detail,omitempty"`
	Error  string   `json:"error,omitempty"` // the finding, or why it is not known
	Hints  []string `json:"hints"`
}

func (b builder) checkInJSON(c rotation.Check) checkInJSON {
	return checkInJSON{b.tidy(c.What), b.tidy(c.Target), judged(c).Text, b.tidy(c.Found), b.message(c.Err), convert(distinct(rotation.Hints(c.Err)), b.tidy)}
}
