package rotation

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgrotate/pgrotate/internal/secret"
)

const (
	// alternateSuffix makes the twin's name of its base's, where no input does.
	alternateSuffix = "_alt"
	// longestRole is NAMEDATALEN-1 bytes: PostgreSQL cuts a longer name off.
	// https://www.postgresql.org/docs/current/limits.html
	longestRole = 63
)

// pair are the two login roles that take turns under the strategy alternate.
// Where no rotation has switched roles yet only base is known to exist.
type pair struct{ base, twin string }

func (p pair) has(user string) bool { return user == p.base || user == p.twin }

// other is the role of the pair that user is not.
func (p pair) other(user string) string {
	if user == p.twin {
		return p.base
	}
	return p.twin
}

// find tells from the inputs, the journal and the server, in this order, which
// pair the served role belongs to. The base is what the lock is about: runs that
// find either role served, by whatever strategy, have to agree on it.
func (r *run) find(ctx context.Context, served secret.Snapshot) (pair, error) {
	user, rec := served.Credential.User, r.state.Record
	switch {
	case r.Role != "":
		return r.pairOf(r.Role), nil
	case rec.Twin != "" && (user == rec.Base || user == rec.Twin), user == "" && r.state.Phase != Idle:
		return r.pairOf(rec.Base), nil // a Secret that was recreated without its credential does not say
	}
	base, named := strings.CutSuffix(user, alternateSuffix)
	if !named || base == "" {
		return r.pairOf(user), nil
	}
	member, err := r.member(ctx, user, base)
	if member {
		return pair{base, user}, err
	}
	return r.pairOf(user), err
}

func (r *run) member(ctx context.Context, role, base string) (bool, error) {
	return insistOn(ctx, func(ctx context.Context) (bool, error) { return r.Twins.Member(ctx, role, base) })
}

// pairOf names the twin of base.
func (r *run) pairOf(base string) pair {
	rec := r.state.Record
	switch {
	case r.AlternateRole != "":
		return pair{base, r.AlternateRole}
	case rec.Base == base && rec.Twin != "":
		return pair{base, rec.Twin}
	}
	return pair{base, base + alternateSuffix}
}

// same finds the pair again once the lock is held: it has to be the one that
// the lock is about.
func (r *run) same(ctx context.Context) error {
	found, err := r.find(ctx, r.served)
	if err == nil && r.roles.base != "" && found.base != r.roles.base {
		return &failure{class: Conflict, text: fmt.Sprintf("look at %s: it has come to serve another role than %q meanwhile", r.Served, r.roles.base)}
	}
	r.roles = found
	return err
}

// alternates tells whether a rotation of this run's own switches roles. Undoing
// one that did means to switch again, whatever the inputs say.
func (r *run) alternates() bool {
	if r.command == rollback {
		return r.state.Previous.User != "" && r.state.Previous.User != r.served.Credential.User
	}
	return r.Strategy == Alternate
}

// switches tells whether the open rotation does.
func (r *run) switches() bool { return r.state.Record.Strategy == Alternate }

// target is the role that a rotation of this run's own gives a new password.
func (r *run) target() string {
	switch user := r.served.Credential.User; {
	case r.alternates():
		return r.roles.other(user)
	case user != "":
		return user
	}
	return r.roles.base
}

// fits refuses roles between which this run cannot rotate.
func (r *run) fits() error {
	user, rec := r.served.Credential.User, r.state.Record
	switch {
	case user == "" && (r.alternates() || rec.Twin != ""):
		return &failure{class: Missing, text: fmt.Sprintf("read %s: it holds no user name, and %q or %q may be the one", r.Served, r.roles.base, r.roles.twin),
			hint: "put the user name of the role that the pods log in with into it"}
	case user != "" && !r.roles.has(user):
		return &failure{class: Refused, text: fmt.Sprintf("rotate roles %q and %q: %s serves role %q", r.roles.base, r.roles.twin, r.Served, user),
			hint: "`postgres-role` must name the role that the Secret serves, or the one whose twin it serves, or be left out"}
	case r.alternates() && len(r.roles.twin) > longestRole:
		return &failure{class: Refused, text: fmt.Sprintf("name the twin of role %q: %q has %d bytes, PostgreSQL knows %d", r.roles.base, r.roles.twin, len(r.roles.twin), longestRole),
			hint: "set `postgres-role` and `postgres-alternate-role` to two names that are short enough"}
	case rec.Former != "" && !r.roles.has(rec.Former):
		return &failure{class: Refused, text: fmt.Sprintf("rotate roles %q and %q: role %q, which was served before, is still to be retired", r.roles.base, r.roles.twin, rec.Former),
			hint: "leave `postgres-alternate-role` as it was until then; `resume` retires the role once its time is over and no session of it is left"}
	}
	return nil
}
