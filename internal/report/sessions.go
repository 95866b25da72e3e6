package report

import (
	"slices"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// laggards lists who has sessions from before the change: a new password ends none.
func (b builder) laggards() section {
	return table(b, "Sessions from before the change", []string{"Client", "Address", "Sessions", "Oldest", "Where"}, b.Laggards, func(l rotation.Laggard) row {
		return row{b.given(l.Application, "no name"), b.given(l.Address, ""), ended(l), b.cell(number, moment(l.Since)), b.cell(prose, l.Where)}
	})
}

// given is a name, or what stands for none.
func (b builder) given(name, none string) cell {
	if name == "" {
		return cell{Text: none}
	}
	return b.cell(code, name)
}

func ended(l rotation.Laggard) cell {
	switch {
	case l.Left == 0:
		return cell{Text: count(l.Sessions, "ended", "ended"), Kind: good}
	case l.Left < l.Sessions:
		return cell{Text: decimal(int64(l.Left)) + " of " + count(l.Sessions, "open", "open"), Kind: bad}
	}
	return cell{Text: count(l.Sessions, "open", "open"), Kind: aside}
}

// goOn says what to do about sessions that go on.
func goOn(res rotation.Result) (next []string) {
	open := func(l rotation.Laggard) bool { return l.Left > 0 }
	if slices.ContainsFunc(res.Laggards, func(l rotation.Laggard) bool { return open(l) && !l.Pooler }) {
		next = append(next, "Have the clients that are listed under sessions log in anew, so that those which know the former password only show now and not at night; "+
			"`terminate-sessions: stale` does it at the end of a rotation.")
	}
	if slices.ContainsFunc(res.Laggards, func(l rotation.Laggard) bool { return open(l) && l.Pooler }) {
		next = append(next, "Send `RECONNECT` to the poolers that are listed under sessions, after `RELOAD` where their user list was changed.")
	}
	if len(res.Refusals) > 0 {
		next = append(next, "Look at the clients that are listed under refused logins: those that the restart has not replaced go on asking with a former password, and need the new one.")
	}
	return next
}

type laggardInJSON struct {
	Role        string   `json:"role"`
	Application string   `json:"application,omitempty"`
	Address     string   `json:"address,omitempty"` // left out: a Unix socket
	Sessions    int      `json:"sessions"`
	Left        int      `json:"left"` // that go on
	Since       string   `json:"since,omitempty"`
	Where       string   `json:"where"`
	Pods        []string `json:"pods"`   // that it may be
	Owners      []string `json:"owners"` // of these
	Pooler      bool     `json:"pooler,omitempty"`
}

func (b builder) laggardInJSON(l rotation.Laggard) laggardInJSON {
	return laggardInJSON{b.tidy(l.Role), b.tidy(l.Application), b.tidy(l.Address), l.Sessions, l.Left, instant(l.Since), b.tidy(l.Where),
		convert(l.Pods, b.tidy), convert(l.Owners, b.tidy), l.Pooler}
}

// refusals lists who was refused since the change.
func (b builder) refusals() section {
	return table(b, "Refused logins", []string{"Role", "Address", "Refused", "Where"}, b.Refusals, func(r rotation.Refusal) row {
		return row{b.cell(code, r.Role), b.given(r.Address, ""), b.cell(number, decimal(int64(r.Logins))), b.cell(prose, r.Where)}
	})
}

type refusalInJSON struct {
	Role    string   `json:"role"`
	Address string   `json:"address,omitempty"` // left out: the log does not tell
	Logins  int      `json:"logins"`
	Where   string   `json:"where"`
	Pods    []string `json:"pods"`   // that it may be
	Owners  []string `json:"owners"` // of these
}

func (b builder) refusalInJSON(r rotation.Refusal) refusalInJSON {
	return refusalInJSON{b.tidy(r.Role), b.tidy(r.Address), r.Logins, b.tidy(r.Where), convert(r.Pods, b.tidy), convert(r.Owners, b.tidy)}
}
