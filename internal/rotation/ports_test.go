package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

type lockPort struct{ p *process }

func (l lockPort) Acquire(ctx context.Context, base string, wait time.Duration) (string, string, error) {
	w, deadline := l.p.w, time.After(wait)
	defer w.leave(base, l.p)
	for {
		var freed chan struct{}
		err := l.p.call(ctx, "Lock.Acquire", func() error {
			if w.first(base, l.p) && w.locks[base] == nil {
				w.locks[base], l.p.session = l.p, true
				return nil
			}
			freed = w.freed
			return nil
		})
		if err != nil || freed == nil {
			return w.system, w.lockdb, err
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return "", "", ctx.Err()
		case <-deadline:
			return "", "", &failed{"busy", "lock of role " + base + " is held"}
		}
	}
}

func (l lockPort) Check(ctx context.Context) (clock time.Time, err error) {
	err = l.p.call(ctx, "Lock.Check", func() error {
		clock = time.Now()
		return l.p.alive()
	})
	if ctx.Err() != nil { // as in pgx: a question that is cut off ends the session
		l.p.cut()
		return clock, errLost
	}
	return clock, err
}

func (l lockPort) Release() {
	l.p.w.mu.Lock()
	defer l.p.w.mu.Unlock()
	l.p.w.free(l.p)
}

// alive tells whether the session still holds the lock.
func (p *process) alive() error {
	if !p.session || p.w.locks[role] != p {
		return errLost
	}
	return nil
}

type databasePort struct{ p *process }

func (d databasePort) Plan(ctx context.Context, name string) (string, []string, error) {
	return "new verifier", nil, d.p.call(ctx, "Database.Plan", func() error { return d.p.w.exists(name) })
}

func (w *world) exists(name string) error {
	if w.role(name) == nil {
		return &failed{"refused", "role " + name + " does not exist"}
	}
	return nil
}

func (d databasePort) Verifier(ctx context.Context, password secret.Value) (v secret.Value, err error) {
	err = d.p.call(ctx, "Database.Verifier", func() error {
		v = secret.New(d.p.w.verifier(password.Reveal()))
		return nil
	})
	return v, err
}

func (d databasePort) Stored(ctx context.Context, c secret.Credential) (v secret.Value, err error) {
	err = d.p.call(ctx, "Database.Stored", func() error {
		l := d.p.w.role(c.User)
		if l == nil || !l.opens(c.Password.Reveal()) {
			return &failed{"refused", "the credential does not open the door"}
		}
		v = secret.New(l.accepts)
		return d.p.alive()
	})
	return v, err
}

func (d databasePort) Holds(ctx context.Context, c secret.Credential) (verdict secret.Verdict, err error) {
	err = d.p.call(ctx, "Database.Holds", func() error {
		l := d.p.w.role(c.User)
		if l == nil {
			return &failed{"unhealthy", "role " + c.User + " does not exist"}
		}
		right := l.opens(c.Password.Reveal())
		if !c.Verifier.IsZero() { // the salt decides, without a login
			right = l.accepts == c.Verifier.Reveal()
		}
		switch {
		case !right:
			verdict = secret.No
		case l.nologin:
			verdict = secret.Closed
		default:
			verdict = secret.Yes
		}
		return nil
	})
	if err != nil {
		verdict = secret.Unknown
	}
	return verdict, err
}

func (d databasePort) Set(ctx context.Context, c secret.Credential) (time.Time, error) {
	return d.set(ctx, "Database.Set", c, func(*login) {})
}

func (d databasePort) set(ctx context.Context, what string, c secret.Credential, more func(*login)) (clock time.Time, err error) {
	err = d.p.call(ctx, what, func() error {
		switch err := d.p.alive(); {
		case err != nil:
			return err
		case c.Verifier.IsZero():
			return &failed{"refused", "a role needs a password"}
		}
		clock = time.Now()
		d.p.w.change(c)
		more(d.p.w.role(c.User))
		return nil
	})
	return clock, err
}

func (w *world) change(c secret.Credential) {
	l := w.role(c.User)
	l.accepts = c.Verifier.Reveal()
	l.had = append(l.had, c.Password.Reveal())
	w.changed = time.Now()
	w.writes++
}

type lockoutPort struct{ p *process }

func (l lockoutPort) PlanLockout(ctx context.Context, name, _ string) (string, []string, error) {
	return "new verifier", []string{"it owns a function"}, l.p.call(ctx, "Lockout.PlanLockout", func() error { return nil })
}

func (l lockoutPort) Break(ctx context.Context, base string, _ ...string) error {
	return l.p.call(ctx, "Lockout.Break", func() error {
		if holder := l.p.w.locks[base]; holder != nil {
			l.p.w.free(holder)
		}
		return nil
	})
}

func (l lockoutPort) Close(ctx context.Context, c secret.Credential) (time.Time, error) {
	return l.alter(ctx, "Lockout.Close", c, func() {
		shut := l.p.w.role(c.User)
		shut.nologin = true
		shut.burnt = slices.DeleteFunc(slices.Clone(shut.had), func(p string) bool { return p == c.Password.Reveal() })
	})
}

func (l lockoutPort) Open(ctx context.Context, c secret.Credential) (time.Time, error) {
	return l.alter(ctx, "Lockout.Open", c, func() { l.p.w.role(c.User).nologin = false })
}

func (l lockoutPort) alter(ctx context.Context, what string, c secret.Credential, login func()) (clock time.Time, err error) {
	err = l.p.call(ctx, what, func() error {
		switch err := l.p.alive(); {
		case err != nil:
			return err
		case c.Verifier.IsZero():
			return &failed{"refused", "a role needs a password"}
		}
		clock = time.Now()
		login()
		l.p.w.change(c)
		if l.p.w.intruder {
			l.p.w.role(c.User).accepts = l.p.w.verifier("evil")
		}
		return nil
	})
	return clock, err
}

func (l lockoutPort) Expel(ctx context.Context, _ string) (ended int, err error) {
	err = l.p.call(ctx, "Lockout.Expel", func() error {
		if l.p.w.intruder {
			ended++
		}
		l.p.w.intruder = false
		return l.p.alive()
	})
	return ended, err
}

type servedPort struct{ p *process }

func (servedPort) String() string { return `Secret "prod/postgres-credentials"` }

var mapped = []string{"username", "password", "url"}

func (s servedPort) Plan(ctx context.Context, _ secret.Credential) (string, []string, error) {
	return "3 keys", nil, s.p.call(ctx, "Served.Plan", func() error { return nil })
}

func (s servedPort) Look(ctx context.Context) (snap secret.Snapshot, err error) {
	err = s.p.call(ctx, "Served.Look", func() error {
		held := s.p.w.served
		if held == nil {
			return errMissing
		}
		c := secret.Credential{User: held.keys["username"], Password: secret.New(held.keys["password"]), Keys: map[string]secret.Value{}}
		for _, key := range mapped {
			if text, ok := held.keys[key]; ok {
				c.Keys[key] = secret.New(text)
			}
		}
		snap = secret.Snapshot{UID: held.uid, RotationID: held.stamp.RotationID, RotatedAt: held.stamp.RotatedAt,
			Epoch: held.stamp.Epoch, Created: held.created, Credential: c}
		return nil
	})
	return snap, err
}

var errMissing = &failed{"missing", "there is no such Secret"}

func (s servedPort) Differs(ctx context.Context, c secret.Credential) (differs string, err error) {
	err = s.p.call(ctx, "Served.Differs", func() error {
		if url := s.p.w.served.keys["url"]; !strings.Contains(url, "//"+c.User+":"+c.Password.Reveal()+"@") {
			differs = `key "url" holds another password, or none`
		}
		return nil
	})
	return differs, err
}

func (s servedPort) Render(keys map[string]secret.Value, c secret.Credential) (secret.Credential, error) {
	url := keys["url"].Reveal()
	start, end := strings.Index(url, "://")+3, strings.LastIndex(url, "@")
	if start < 3 || end < start {
		return c, &failed{"refused", `edit key "url": it is no URL`}
	}
	c.Keys = map[string]secret.Value{"username": secret.New(c.User), "password": c.Password,
		"url": secret.New(url[:start] + c.User + ":" + c.Password.Reveal() + url[end:])}
	return c, nil
}

func (s servedPort) Set(ctx context.Context, c secret.Credential, stamp secret.Stamp) error {
	return s.p.call(ctx, "Served.Set", func() error {
		held := s.p.w.served
		switch {
		case held == nil:
			return errMissing
		case held.stamp.Epoch > stamp.Epoch:
			return &failed{"conflict", "a higher epoch is there"}
		}
		if c.Keys == nil {
			stamp.RotationID, stamp.RotatedAt = held.stamp.RotationID, held.stamp.RotatedAt
		}
		next := maps.Clone(held.keys)
		for key, value := range c.Keys {
			next[key] = value.Reveal()
		}
		stamp.RotatedAt = stamp.RotatedAt.UTC().Round(0) // as an annotation keeps it
		if stamp == held.stamp && maps.Equal(next, held.keys) {
			return nil
		}
		held.keys, held.stamp, held.version = next, stamp, s.p.w.version()
		s.p.w.writes++
		return nil
	})
}

// silentServed never answers once the password has changed.
type silentServed struct{ rotation.Served }

func (s silentServed) Set(ctx context.Context, c secret.Credential, stamp secret.Stamp) error {
	if c.Keys == nil {
		return s.Served.Set(ctx, c, stamp)
	}
	<-ctx.Done()
	return ctx.Err()
}

// silentDatabase never answers an ALTER ROLE.
type silentDatabase struct{ rotation.Database }

func (silentDatabase) Set(ctx context.Context, _ secret.Credential) (time.Time, error) {
	<-ctx.Done()
	return time.Time{}, ctx.Err()
}

// trustingDatabase lets every password in.
type trustingDatabase struct{ rotation.Database }

func (d trustingDatabase) Holds(ctx context.Context, c secret.Credential) (secret.Verdict, error) {
	if c.Verifier.IsZero() {
		return secret.Yes, nil
	}
	return d.Database.Holds(ctx, c)
}

type copyPort struct {
	p    *process
	name string
}

func (c copyPort) String() string { return c.name }

func (c copyPort) Plan(ctx context.Context, _ secret.Credential) (string, []string, error) {
	return "update", nil, c.p.call(ctx, "Plan "+c.name, func() error { return nil })
}

func (c copyPort) Set(ctx context.Context, cred secret.Credential, held func(context.Context) error) error {
	if err := held(ctx); err != nil {
		return err
	}
	return c.p.call(ctx, c.name+".Set", func() error {
		c.p.wrote[c.name] = c.p.w.tick()
		c.p.w.copies[c.name] = copied{cred.User, cred.Password.Reveal(), c.p.wrote[c.name]}
		c.p.w.writes++
		return nil
	})
}

func (c copyPort) Verify(ctx context.Context, cred secret.Credential) (at time.Time, err error) {
	err = c.p.call(ctx, c.name+".Verify", func() error {
		held := c.p.w.copies[c.name]
		if at = c.p.wrote[c.name]; held.at.Before(at) || at.IsZero() {
			return &failed{"unhealthy", c.name + " was not updated"}
		}
		return nil
	})
	return at, err
}

func (c copyPort) Updated(ctx context.Context) (at time.Time, err error) {
	err = c.p.call(ctx, c.name+".Updated", func() error {
		at = c.p.w.copies[c.name].at
		return nil
	})
	return at, err
}

// readablePort is a copy in the cluster.
type readablePort struct{ copyPort }

func (c readablePort) Differs(ctx context.Context, cred secret.Credential) (differs string, err error) {
	err = c.p.call(ctx, c.name+".Differs", func() error {
		held, exists := c.p.w.copies[c.name]
		switch {
		case !exists:
			return errMissing
		case held.user != cred.User || held.password != cred.Password.Reveal():
			differs = `key "password" holds another password, or none`
		}
		return nil
	})
	return differs, err
}

type workloadPort struct {
	p    *process
	name string
}

func (l workloadPort) String() string { return l.name }

func (l workloadPort) Plan(ctx context.Context) (string, []string, error) {
	return "restart", nil, l.p.call(ctx, "Plan "+l.name, func() error { return nil })
}

func (l workloadPort) LeftAlone() bool { return l.p.w.alone == l.name }

func (l workloadPort) Unnamed() []string { return l.p.w.unnamed[l.name] }

func (l workloadPort) Marks(ctx context.Context) (all []secret.Marked, err error) {
	err = l.p.call(ctx, l.name+".Marks", func() error {
		for i, p := range l.p.w.sets[l.name].pods {
			all = append(all, secret.Marked{Pod: fmt.Sprintf("%s-%d", path.Base(l.name), i), Mark: p.mark, Created: p.created})
		}
		return nil
	})
	return all, err
}

func (w *world) rolloutTime() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rollout
}

func (l workloadPort) Restart(ctx context.Context, mark string, sure func(context.Context) error, witness secret.Witness, progress func(string)) ([]secret.Proof, error) {
	if l.LeftAlone() {
		return nil, nil
	}
	for {
		seen := l.p.w.markOf(l.name)
		if seen != mark {
			if err := sure(ctx); err != nil {
				return nil, err
			}
		}
		progress("restarting")
		if err := l.roll(ctx, seen, mark); !errors.Is(err, errMoved) {
			return l.replaced(ctx, witness), err
		}
	}
}

// replaced is what is known of the pods once those that the witness refutes have
// been replaced.
func (l workloadPort) replaced(ctx context.Context, witness secret.Witness) []secret.Proof {
	all := l.p.w.proven(l.name)
	if witness == nil {
		return all
	}
	again := false
	for i, p := range witness(ctx, all) {
		if p.Evidence == secret.Refuted {
			again = true
			l.p.w.replace(l.name, i)
		}
	}
	if !again {
		return all
	}
	return witness(ctx, l.p.w.proven(l.name))
}

// replace makes a pod anew.
func (w *world) replace(workload string, pod int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.renewed[fmt.Sprintf("%s-%d", workload, pod)]++
}

// proven is what is known of the pods of a workload.
func (w *world) proven(name string) (all []secret.Proof) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.sets[name].pods {
		p := w.proofs(name, i)
		p.Pod = fmt.Sprintf("%s-%d", path.Base(name), i)
		all = append(all, p)
	}
	return all
}

var errMoved = errors.New("somebody has restarted it since it was read")

// roll restarts the workload where it still has the mark seen.
func (l workloadPort) roll(ctx context.Context, seen, mark string) error {
	if rollout := l.p.w.rolloutTime(); rollout > 0 { // two timers that are due at once crash the race detector: https://go.dev/issue/78156
		select {
		case <-time.After(rollout):
		case <-ctx.Done():
		}
	}
	return l.p.call(ctx, "Restart "+l.name, func() error {
		w := l.p.w
		if w.sets[l.name].mark != seen {
			return errMoved
		}
		w.restart(l.name, mark)
		for _, p := range w.sets[l.name].pods {
			if !w.letsIn(p.user, p.password) || w.sick(l.name, mark) {
				return &failed{"unhealthy", l.name + " did not come up"}
			}
		}
		return nil
	})
}

type journalPort struct{ p *process }

func (journalPort) String() string { return `Secret "prod/postgres-credentials-rotation"` }

func (j journalPort) Plan(ctx context.Context) error {
	return j.p.call(ctx, "Journal.Plan", func() error { return nil })
}

func (j journalPort) Load(ctx context.Context) (d secret.Document, err error) {
	err = j.p.call(ctx, "Journal.Load", func() error {
		d = clone(j.p.w.journal)
		return nil
	})
	return d, err
}

func (j journalPort) Save(ctx context.Context, d secret.Document) (stored secret.Document, err error) {
	err = j.p.call(ctx, "Journal.Save", func() error {
		if d.Version != j.p.w.journal.Version {
			return &failed{"conflict", "the journal was changed"}
		}
		stored = clone(d)
		stored.Version = j.p.w.version()
		j.p.w.journal = clone(stored)
		j.p.w.writes++
		return nil
	})
	if err != nil {
		return secret.Document{}, err
	}
	return stored, nil
}

func clone(d secret.Document) secret.Document {
	d.Annotations, d.Data = maps.Clone(d.Annotations), maps.Clone(d.Data)
	return d
}
