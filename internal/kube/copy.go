package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Copy is another Secret of the cluster, in any namespace, that holds the same
// credential as the served one in keys that are mapped the same. It is never
// created, and only its mapped keys are ever written.
type Copy struct {
	holder
	served  *Served
	planned *corev1.Secret // as Plan has seen it; nil: it is to be read
}

// Plan tells which keys Set would change to hold c and finds out by a dry run of
// the server, admission included, whether it may. It changes nothing. The error
// holds everything that speaks against it: what Served.Plan looks for, and a
// credential that is not the served one: it may open another door, and there
// would be no way back to it.
func (c *Copy) Plan(ctx context.Context, next secret.Credential) (change string, warnings []string, err error) {
	o, err := c.get(ctx)
	if err != nil {
		return "", nil, err
	}
	served, err := c.served.holder.get(ctx)
	if err != nil {
		return "", nil, err
	}
	current := c.served.read(served)
	c.planned = o
	return c.plan(ctx, o, current.User, next, dataOf, c.same(c.read(o), current))
}

// same refuses a copy that holds something else than the served Secret. What
// cannot be read is told by other checks.
func (c *Copy) same(mine, served secret.Credential) error {
	what := ""
	switch {
	case served.Password.IsZero() || mine.Password.IsZero():
	case mine.User != "" && mine.User != served.User:
		what = fmt.Sprintf("the credential of %q, %s that of %q", mine.User, c.served, served.User)
	case !mine.Password.Equal(served.Password):
		what = fmt.Sprintf("another password than %s", c.served)
	}
	if what == "" {
		return nil
	}
	return fail(refused, "if it is a copy that was left behind, put the served credential into it; if it is another credential, take it out of the copies",
		"rotate %s: it holds %s", c, what)
}

// Set makes the mapped keys hold cred, in one merge patch that holds only where
// the Secret is still as it was read, by Plan or just before, and asks held in
// between: what another run writes that has taken over since is never written over.
// A foreign change of anything else is left standing. It sends nothing where all is there already. The keys
// of cred are those of the served Secret and are not taken over: a url or dsn is
// edited in place, so that it keeps its own host and options.
//
// Written over and written back, a key has its former bytes again; of a url or
// dsn that spelled user or password in an unusual way (escapes or quotes that
// need not be) and was not the same text as the served Secret's key of that
// name, the same in the usual spelling.
//
// Where the API server is away for a moment it tries again, a few times. Class
// conflict: somebody else keeps writing it.
func (c *Copy) Set(ctx context.Context, cred secret.Credential, held func(context.Context) error) error {
	base, err := c.base(ctx, cred)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		wanted, err := c.wanted(base, cred)
		if err != nil || wanted.in(base) {
			return err
		}
		if err := held(ctx); err != nil {
			return err
		}
		_, err = c.write(ctx, base, wanted)
		switch class := classOf(err); {
		case err == nil, class != conflict && class != unavailable:
			return err
		case class == conflict && try == collisions:
			return fail(conflict, "", "write %s: somebody else keeps writing it", c)
		case class == unavailable && (try == hiccups || !pause(ctx, hiccup)):
			return err
		}
		if base, err = c.look(ctx); err != nil {
			return err
		}
	}
}

const (
	hiccup  = 500 * time.Millisecond // that the API server is given to come back
	hiccups = 3                      // calls that may meet one
)

// look reads the Secret, again where the API server is away for a moment.
func (c *Copy) look(ctx context.Context) (*corev1.Secret, error) {
	for try := 1; ; try++ {
		o, err := c.get(ctx)
		if err == nil || classOf(err) != unavailable || try == hiccups || !pause(ctx, hiccup) {
			return o, err
		}
	}
}

// base is the Secret as Plan has seen it, which saves a read, or as it is: what was
// read once does not prove that there is nothing to write now.
func (c *Copy) base(ctx context.Context, cred secret.Credential) (*corev1.Secret, error) {
	if o := c.planned; o != nil {
		c.planned = nil
		if wanted, err := c.wanted(o, cred); err == nil && !wanted.in(o) {
			return o, nil
		}
	}
	return c.look(ctx)
}

// wanted is what has to be in o's keys for cred.
func (c *Copy) wanted(o *corev1.Secret, cred secret.Credential) (content, error) {
	for _, key := range c.mapping.Keys(Verifier) {
		if stored, ok := cred.Keys[key]; ok {
			cred.Verifier = stored
		}
	}
	copied := c.read(o).Keys
	next, err := c.Render(copied, cred)
	if err != nil {
		return content{}, err
	}
	c.mapping.spell(next.Keys, copied, cred.Keys)
	return dataOf(next), nil
}

// Verify proves that the Secret holds cred and returns what Updated does. Class
// unhealthy: it does not.
func (c *Copy) Verify(ctx context.Context, cred secret.Credential) (updatedAt time.Time, err error) {
	o, err := c.look(ctx)
	if err != nil {
		return time.Time{}, err
	}
	wanted, err := c.wanted(o, cred)
	if err != nil {
		return time.Time{}, err
	}
	if !wanted.in(o) {
		return time.Time{}, fail(unhealthy, "find out who writes it: see its managedFields", "verify %s: somebody else has changed key %s since", c, quoted(wanted.changes(o)))
	}
	return c.written(o), nil
}

// Updated returns when the mapped keys were last written, by whomever, as far
// as the API server notes it: in whole seconds. Zero: there is no such Secret.
func (c *Copy) Updated(ctx context.Context) (time.Time, error) {
	o, err := c.look(ctx)
	if classOf(err) == missing {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	return c.written(o), nil
}

// written is the time of the youngest entry of managedFields that has a mapped
// key. https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers
func (h *holder) written(o *corev1.Secret) time.Time {
	last := o.CreationTimestamp.Time
	for _, f := range o.ManagedFields {
		if f.Time != nil && f.Time.After(last) && ownsAny(f, h.keys(o)) {
			last = f.Time.Time
		}
	}
	return last
}
