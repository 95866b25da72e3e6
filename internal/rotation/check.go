package rotation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Check is one thing that a check looked at.
type Check struct {
	What   string // "age", or the step of the runbook that it is about
	Target string
	Found  string // in words, where nothing is wrong
	Status Status // what a run with this finding alone ends with; empty: there is none
	Err    error  // the finding; without a Status: why it is not known
}

// gravestFinding lists what a check may end with, the worst first.
var gravestFinding = [...]Status{StatusUnfinished, StatusDrifted, StatusOverdue}

// deviation is a finding of a check.
type deviation struct {
	status Status
	cause  error
}

func (d *deviation) Error() string { return d.cause.Error() }
func (d *deviation) Unwrap() error { return d.cause }

func drift(hint, format string, args ...any) error {
	return &deviation{StatusDrifted, &failure{class: Unhealthy, text: fmt.Sprintf(format, args...), hint: hint}}
}

// Check tells whether the served password is too old, whether it is what every
// place holds, accepts or started with, and whether a rotation is open. It
// takes no lock and changes nothing. What it may not look at is a warning.
func (r *Rotation) Check(ctx context.Context) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Policy.Timeout, errTimeout)
	defer cancel()
	run := &run{Rotation: r, command: check, began: r.Now()}
	err := sequence(ctx, run.step("look", run.lookServed), run.step("check", run.inspect))
	return run.finishCheck(err)
}

func (r *run) lookServed(ctx context.Context) (detail string, err error) {
	r.served, err = r.readServed(ctx)
	return fmt.Sprintf("%s serves role %q", r.Served, r.served.Credential.User), err
}

// inspection looks at one thing. Its error is a deviation, or why nothing is
// known about it.
type inspection struct {
	what, target string
	look         func(context.Context) (found string, err error)
}

// inspect looks at everything. The journal comes first: what an open rotation
// has yet to write is no drift.
func (r *run) inspect(ctx context.Context) (string, error) {
	r.examine(ctx, inspection{"age", r.Served.String(), r.inspectAge}, inspection{"journal", r.Journal.String(), r.inspectJournal})
	r.examine(ctx, inspection{"database", fmt.Sprintf("role %q", r.served.Credential.User), r.inspectDatabase})
	if !r.unfinished() {
		r.examine(ctx, slices.Concat(r.heldInspections(), r.podInspections(), r.writtenInspections())...)
	}
	r.remindOfFormer()
	return fmt.Sprintf("%s looked at, %s", plural(len(r.result.Checks), "thing", "things"), plural(len(r.result.findings()), "finding", "findings")), context.Cause(ctx)
}

// examine looks at several things at once.
func (r *run) examine(ctx context.Context, all ...inspection) {
	checks := each(all, func(i inspection) Check {
		found, err := i.look(ctx)
		c := Check{What: i.what, Target: i.target, Found: found, Err: err}
		if d := (*deviation)(nil); errors.As(err, &d) {
			c.Status = d.status
		}
		return c
	})
	for _, c := range checks {
		if c.Err != nil && c.Status == "" {
			r.warn(strings.Join(append([]string{fmt.Sprintf("not known: %s, %s: %v", c.What, c.Target, c.Err)}, distinct(Hints(c.Err)...)...), "; "))
		}
	}
	r.result.Checks = append(r.result.Checks, checks...)
}

// inspectAge compares the age of the password with the oldest that is allowed.
func (r *run) inspectAge(context.Context) (string, error) {
	age, since := r.age()
	text := fmt.Sprintf("the password is %s old (%s)", spoken(age), since)
	if r.Policy.MaximumAge <= 0 {
		return text, nil
	}
	r.result.OverdueAt = r.Now().Add(r.Policy.MaximumAge - age)
	if age <= r.Policy.MaximumAge {
		return text, nil
	}
	return "", &deviation{StatusOverdue, &failure{class: Unhealthy, text: fmt.Sprintf("%s: too old, `maximum-age` is %s", text, spoken(r.Policy.MaximumAge)),
		hint: "run with `command: rotate`"}}
}

// spoken writes an age as people say it.
func spoken(age time.Duration) string {
	const day = 24 * time.Hour
	if age < 2*day {
		return age.Round(time.Second).String()
	}
	return fmt.Sprintf("%d days", age/day)
}

// inspectJournal finds an open rotation, and a journal that no run can read.
func (r *run) inspectJournal(ctx context.Context) (string, error) {
	d, err := insistOn(ctx, r.Journal.Load)
	if err != nil {
		return "", err
	}
	stored, err := decode(d, r.Keep)
	if err != nil {
		return "", &deviation{StatusUnfinished, err}
	}
	r.state = stored
	if stored.Phase == Idle {
		return "no rotation is open", nil
	}
	owner := ""
	if stored.Owner != "" {
		owner = ", the last run to claim it is " + stored.Owner
	}
	return "", &deviation{StatusUnfinished, &failure{class: Unhealthy, text: fmt.Sprintf("finish rotation %s: it is open, going %s%s", stored.ID, stored.Phase, owner),
		hint: "if no run is at it any more: `command: resume` with the inputs that it was started with"}}
}

// inspectDatabase asks the oracle about the served password.
func (r *run) inspectDatabase(ctx context.Context) (string, error) {
	c, remedy := r.served.Credential, "somebody changed one of the two: put the right password into the Secret, or let `command: rotate` with `on-drift: repair` bring in a new one"
	if r.unfinished() {
		remedy = "the open rotation changes it: `command: resume` ends that"
	}
	if c.User == "" || c.Password.IsZero() {
		return "", drift(remedy, "log in with what %s holds: the user name or the password is missing", r.Served)
	}
	verdict, err := r.holds(ctx, c)
	switch {
	case verdict == secret.Yes:
		return "accepts the served password", nil
	case verdict == secret.No:
		return "", drift(remedy, "log in as role %q with what %s holds: the database refuses the password", c.User, r.Served)
	case verdict == secret.Closed:
		return "", &deviation{StatusDrifted, noLogin(c.User)}
	case ClassOf(err) == Unhealthy:
		return "", &deviation{StatusDrifted, err}
	}
	return "", err
}

// heldInspections compare what can be read with the served credential, where
// there is one.
func (r *run) heldInspections() []inspection {
	if c := r.served.Credential; c.User == "" || c.Password.IsZero() {
		return nil
	}
	all := []inspection{{"served Secret", r.Served.String(), r.inspectHeld(r.Served)}}
	for _, c := range r.ClusterCopies {
		if place, ok := c.(Readable); ok {
			all = append(all, inspection{"cluster copies", place.String(), r.inspectHeld(place)})
		}
	}
	return all
}

func (r *run) inspectHeld(place Readable) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		differs, err := insistOn(ctx, func(ctx context.Context) (string, error) { return place.Differs(ctx, r.served.Credential) })
		switch {
		case err != nil && ClassOf(err) == Missing:
			return "", &deviation{StatusDrifted, err}
		case differs != "":
			return "", drift("find out who writes it, and put the served credential into it", "compare %s with the served credential: %s", place, differs)
		}
		return "holds the served credential", err
	}
}

// writtenInspections ask the copies that cannot be read when they were written.
func (r *run) writtenInspections() (all []inspection) {
	for _, c := range r.RemoteCopies {
		all = append(all, inspection{"GitHub", c.String(), func(ctx context.Context) (string, error) { return r.inspectWritten(ctx, c) }})
	}
	return all
}

// inspectWritten compares with the record where there is one, by the store's own
// clock; else with the moment of the rotation.
func (r *run) inspectWritten(ctx context.Context, c Copy) (string, error) {
	at, err := insistOn(ctx, c.Updated)
	recorded, rotated := r.recorded(c), r.served.RotatedAt.Truncate(time.Second)
	switch {
	case err != nil:
		return "", err
	case at.IsZero():
		return "", drift("the next rotation creates it", "look at %s: there is no such secret", c)
	case recorded != nil && !at.Equal(*recorded):
		return "", drift("find out who; `rotate` and `resume` write the served credential into it again",
			"look at %s: somebody else wrote it at %s, the last rotation did at %s", c, at.UTC().Format(time.RFC3339), recorded.UTC().Format(time.RFC3339))
	case recorded == nil && at.Before(rotated):
		return "", drift("the next rotation writes it; until then put the served credential into it by hand",
			"look at %s: it was last written at %s, before the rotation at %s", c, at.UTC().Format(time.RFC3339), rotated.UTC().Format(time.RFC3339))
	}
	return "last written at " + at.UTC().Format(time.RFC3339), nil
}

// podInspections look at what the restart is about. What was not discovered is
// not known.
func (r *run) podInspections() (all []inspection) {
	if r.Undiscovered != nil {
		all = append(all, inspection{"restart", "workloads", func(context.Context) (string, error) { return "", r.Undiscovered }})
	}
	for _, w := range r.restarted() {
		all = append(all, inspection{"restart", w.String(), func(ctx context.Context) (string, error) { return r.inspectPods(ctx, w) }})
	}
	return all
}

func (r *run) inspectPods(ctx context.Context, w Workload) (string, error) {
	pods, err := insistOn(ctx, w.Marks)
	if err != nil {
		return "", err
	}
	var old []string
	for _, p := range pods {
		if r.outdated(p) {
			old = append(old, fmt.Sprintf("%s (%s)", p.Pod, marking(p.Mark)))
		}
	}
	if len(old) > 0 {
		return "", drift("restart it: its pods read the credential when they start",
			"look at %s: %s not started with what rotation %s serves: %s", w, plural(len(old), "pod was", "pods were"), r.served.RotationID, shortList(old))
	}
	return fmt.Sprintf("%s started with what is served", plural(len(pods), "pod has", "pods have")), nil
}

// outdated tells a pod that has read another credential than the served one:
// one of a rotation that was turned back, or one that is older than the change
// and carries an older rotation. Rotation ids sort by time; pods that somebody
// made later need no mark.
func (r *run) outdated(p secret.Marked) bool {
	id, back := strings.CutSuffix(p.Mark, backSuffix)
	switch served := r.served.RotationID; {
	case served == "", p.Mark == served:
		return false
	case id > served:
		return !back
	}
	return p.Created.Before(r.served.RotatedAt)
}

func marking(mark string) string {
	if mark == "" {
		return "no rotation restarted it"
	}
	return "restarted by " + mark
}

// shortList names the first few.
func shortList(names []string) string {
	text := strings.Join(names[:min(mostPods, len(names))], ", ")
	if more := len(names) - mostPods; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// remindOfFormer names a role that should have been retired. It is no finding:
// every run that may retire it is the next one.
func (r *run) remindOfFormer() {
	former, at := r.state.Record.Former, r.state.Record.RetireAt
	if r.unfinished() || former == "" || at == nil || r.Now().Before(*at) {
		return
	}
	r.warn(fmt.Sprintf("role %q, which was served before, still logs in and was to be retired from %s on: the next `rotate` or `resume` that sees no session of it does that",
		former, at.UTC().Format(time.RFC3339)))
}

// finishCheck names the run after its worst finding. One that could not look
// everywhere, for another reason than a missing right, and found nothing where
// it could has failed.
func (r *run) finishCheck(err error) Result {
	res := r.finish(err)
	res.Targets = nil
	if len(res.Checks) == 0 || err != nil {
		return res
	}
	if findings := res.findings(); len(findings) > 0 {
		res.Status, res.Err = findings[0].Status, joinedErrors(findings)
		return res
	}
	if outages := slices.DeleteFunc(slices.Clone(res.Checks), forbidden); len(outages) > 0 {
		res.Status, res.FailedStep, res.Err = StatusFailed, "check", joinedErrors(outages)
		return res
	}
	res.Status, res.Reason = StatusUnchanged, res.Checks[0].Found
	return res
}

// findings are the checks that found something, the worst first.
func (res Result) findings() (all []Check) {
	for _, status := range gravestFinding {
		for _, c := range res.Checks {
			if c.Status == status {
				all = append(all, c)
			}
		}
	}
	return all
}

// forbidden tells a check that is well, or not known for want of a right.
func forbidden(c Check) bool {
	class := ClassOf(c.Err)
	return c.Err == nil || class == Refused || class == Missing
}

func joinedErrors(checks []Check) error {
	var errs []error
	for _, c := range checks {
		errs = append(errs, c.Err)
	}
	return errors.Join(errs...)
}
