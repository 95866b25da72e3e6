package rotation

import (
	"context"
	"fmt"
	"slices"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Refusal is a client whose logins the database has refused since the change.
type Refusal struct {
	Role    string
	Address string // IP address, or secret.Socket; empty: the log does not tell
	Logins  int
	Where   string   // in words
	Pods    []string // that it may be, "namespace/name"
	Owners  []string // what restarts them, "kind/name"
}

// mostRefused is how many clients are named: anybody may try to log in.
const mostRefused = 50

// lookBack tells who was refused since the change, where the log of the database
// can be read. It changes nothing about the rotation, and holds nothing up.
func (r *run) lookBack(w way) task {
	if w.back || r.Refusals == nil {
		return skip
	}
	return r.step("refused logins", func(ctx context.Context) (string, error) {
		var found []secret.Refused
		var whole bool
		err := insist(ctx, func(ctx context.Context) (err error) {
			found, whole, err = r.Refusals.Refused(ctx, r.involved(w), r.change())
			return err
		})
		if err != nil {
			return fmt.Sprintf("not known: %v", err), nil
		}
		r.refusedBy(ctx, found)
		return tally(found, whole), nil
	})
}

func tally(found []secret.Refused, whole bool) (detail string) {
	logins := 0
	for _, f := range found {
		logins += f.Logins
	}
	detail = "none since the change"
	if logins > 0 {
		detail = fmt.Sprintf("%s since the change, of %s", plural(logins, "login", "logins"), plural(len(found), "client", "clients"))
	}
	if !whole {
		detail += ", in the first part of a log that is too long to read"
	}
	return detail
}

// refusedBy tells where the clients are that were refused.
func (r *run) refusedBy(ctx context.Context, found []secret.Refused) {
	named := found[:min(len(found), mostRefused)]
	at, searched, err := r.origins(ctx, addressesOf(named, func(f secret.Refused) string { return f.Address }))
	if err != nil {
		r.warn(fmt.Sprintf("which pods the refused logins are of is not known: %v", err))
	}
	var all []Refusal
	for _, f := range named {
		from := at[f.Address]
		all = append(all, Refusal{Role: f.Role, Address: f.Address, Logins: f.Logins, Where: whence(f.Address, from, searched), Pods: from.Pods, Owners: distinct(from.Owners...)})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Refusals = all
}

// whence is where, for a client that may have come to its end since.
func whence(address string, at secret.Origin, searched string) string {
	switch {
	case address == "":
		return "the log does not tell: log_connections is off, and log_line_prefix has no %h"
	case address == secret.Socket:
		return where("", at, searched)
	case len(at.Pods) == 0 && !at.Shared && !local(address) && searched != "":
		return "no pod of " + searched + " has it now: one that was replaced, or a client outside"
	}
	return where(address, at, searched)
}

// addressesOf are the addresses that a pod can be found by.
func addressesOf[T any](clients []T, address func(T) string) (all []string) {
	for _, c := range clients {
		if text := address(c); !local(text) && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}
