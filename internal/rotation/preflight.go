package rotation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Line is one line of the plan: what a step would do to a target.
type Line struct {
	Step     string
	Target   string
	Change   string // empty: listed and left alone
	Warnings []string
	Err      error // what speaks against it
}

// Plan tells what Rotate would do and what speaks against it. It takes no lock
// and changes nothing.
func (r *Rotation) Plan(ctx context.Context) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Policy.Timeout, errTimeout)
	defer cancel()
	run := &run{Rotation: r, command: rotate, began: r.Now()}
	err := sequence(ctx, run.step("look", run.lookOnly), run.step("preflight", run.preflight))
	return run.finishPlan(err)
}

func (r *run) lookOnly(ctx context.Context) (string, error) {
	var err error
	if r.served, err = r.readServed(ctx); err != nil {
		return "", r.unread(ctx, err)
	}
	if r.state, err = r.readJournal(ctx); err != nil {
		return "", r.unread(ctx, err)
	}
	if err := r.same(ctx); err != nil {
		return "", err
	}
	r.noted, r.found = r.note(), r.state.Phase
	switch {
	case r.roles.base == "":
		return "", r.nobody()
	case r.state.Phase != Idle:
		fate := "resumes"
		if r.supersedes() {
			fate = "replaces"
		}
		return fmt.Sprintf("rotation %s is open, going %s: the next run %s it", r.state.ID, r.state.Phase, fate), r.admit()
	}
	return "no rotation is open", r.due()
}

// preflight asks everything that can be known to fail before the first change,
// all targets at once, and changes nothing. A rotation that is open already is
// only asked whether the database can be judged: it has to end, not to begin.
func (r *run) preflight(ctx context.Context) (string, error) {
	if err := r.repairs(ctx); err != nil {
		return "", err
	}
	switch {
	case len(r.stray) > 0:
		return "only copies are written", nil
	case r.retiring:
		return "only a role is retired", nil
	case r.state.Phase != Idle && !r.repairing:
		warnings, err := r.planOpen(ctx)
		r.warn(warnings...)
		return "the database can be judged", errors.Join(err, r.undiscovered())
	case r.command == rollback:
		r.fresh = r.state.Previous.Password
	case r.fresh.IsZero():
		r.fresh = r.Generate()
	}
	lines, drifted := r.answers(ctx)
	if r.repairing {
		forbear(lines)
	}
	r.keepPlan(lines)
	warnings, err := told(lines)
	r.warn(warnings...)
	return plural(len(lines), "target", "targets") + " checked, nothing speaks against it", errors.Join(apart(r.undiscovered(), r.unnamed(), err, drifted)...)
}

// answers are those of all targets at once, and whether the database accepts the
// served password, which it is asked as soon as it has answered for itself.
func (r *run) answers(ctx context.Context) (lines []Line, drifted error) {
	questions := r.questions()
	database := questions[0].ask
	questions[0].ask = func(ctx context.Context) (string, []string, error) {
		change, warnings, err := database(ctx)
		drifted = r.servedOpens(ctx, err)
		return change, warnings, err
	}
	lines = r.ask(ctx, questions)
	return lines, drifted
}

// unnamed refuses to serve another user name to workloads that do not read it,
// in an emergency, too: it can go on in place. A rollback serves the name again
// that they have.
func (r *run) unnamed() error {
	switch {
	case !r.alternates():
		return nil
	case r.command == rollback:
		return r.nameless()
	}
	var errs []error
	for _, target := range r.Workloads {
		if containers := target.Unnamed(); len(containers) > 0 {
			errs = append(errs, &failure{class: Refused, text: fmt.Sprintf("serve another user to %s: container %s takes the password without the user name", target, strings.Join(containers, ", ")),
				hint: "have it read the user name from the Secret, too, by a key that is mapped to `username`, or both as a `url` or `dsn`; or use `strategy: in-place`"})
		}
	}
	return errors.Join(errs...)
}

func (r *run) nameless() error {
	var errs []error
	for _, target := range r.Nameless {
		errs = append(errs, &failure{class: Refused, text: fmt.Sprintf("serve another user again: secret %q takes the password without the user name", target),
			hint: "add a secret with the property `username` in the same place to `github-secrets`, or let one secret hold the `url`"})
	}
	return errors.Join(errs...)
}

// planDatabase asks for the rights that the rotation takes, the open one's or
// the one that is asked for. What outlives a compromised password is noted.
func (r *run) planDatabase(ctx context.Context, role string) (change string, warnings []string, err error) {
	if !r.emergency() && (r.state.Phase == Idle || r.state.Mode == Planned) {
		return r.Database.Plan(ctx, role)
	}
	next := r.target()
	if r.unfinished() && !r.supersedes() {
		next = r.state.Pending.User
	}
	change, lingering, err := r.Lockout.PlanLockout(ctx, role, next)
	r.linger(lingering)
	return change, nil, err
}

// question asks one target what it would do.
type question struct {
	step, target string
	ask          func(context.Context) (string, []string, error)
}

// questions lists the targets in the order of the runbook.
func (r *run) questions() []question {
	all := append(r.databaseQuestions(), r.placeQuestions()...)
	return append(all, r.bystanders()...)
}

// placeQuestions are about the places that a rotation writes, but for the database.
func (r *run) placeQuestions() []question {
	next := secret.Credential{User: r.target(), Password: r.fresh}
	all := []question{
		{"journal", r.Journal.String(), func(ctx context.Context) (string, []string, error) {
			return "written before the first change", nil, r.Journal.Plan(ctx)
		}},
		{"served Secret", r.Served.String(), func(ctx context.Context) (string, []string, error) { return r.Served.Plan(ctx, next) }},
	}
	for _, target := range r.ClusterCopies {
		all = append(all, copyQuestion("cluster copies", target, next))
	}
	for _, target := range r.Workloads {
		all = append(all, question{"restart", target.String(), target.Plan})
	}
	return append(all, r.remoteQuestions(next)...)
}

func (r *run) remoteQuestions(next secret.Credential) (all []question) {
	for _, target := range r.RemoteCopies {
		all = append(all, copyQuestion("GitHub", target, next))
	}
	return all
}

// databaseQuestions begin with the served role: whether what it has can be judged.
func (r *run) databaseQuestions() []question {
	served, target := r.served.Credential.User, r.target()
	if !r.alternates() {
		return []question{{"database", fmt.Sprintf("role %q", target), func(ctx context.Context) (string, []string, error) { return r.planDatabase(ctx, target) }}}
	}
	return []question{
		{"database", fmt.Sprintf("role %q", served), func(ctx context.Context) (string, []string, error) { return r.planFormer(ctx, served) }},
		{"database", fmt.Sprintf("role %q", target), func(ctx context.Context) (string, []string, error) { return r.planTarget(ctx, target) }},
	}
}

// planFormer asks about the role that is switched away from.
func (r *run) planFormer(ctx context.Context, role string) (change string, warnings []string, err error) {
	plan := r.Twins.PlanFormer
	if r.emergency() {
		plan = r.planDatabase
	}
	if _, warnings, err = plan(ctx, role); err != nil {
		return "", warnings, err
	}
	if r.emergency() {
		return "closed (NOLOGIN, no password), and its sessions ended, after the restart", warnings, nil
	}
	return fmt.Sprintf("goes on logging in; retired %s later at the earliest, when it has no session", r.Policy.RetireAfter), warnings, nil
}

// planTarget asks about the role that is switched to. A role that opens its door
// with what a rollback brings back is left as it is; any other must have no
// session: whoever has one may log in again, with the password that it had. An
// emergency ends them.
func (r *run) planTarget(ctx context.Context, role string) (change string, warnings []string, err error) {
	if r.command == rollback {
		if verdict, _ := r.holds(ctx, r.state.Previous); verdict == secret.Yes {
			return "logs in already", nil, nil
		}
	}
	change, warnings, err = r.Twins.PlanTwin(ctx, r.roles.base, r.roles.twin, role)
	if r.emergency() || err != nil {
		return change, warnings, err
	}
	if err := r.unused(ctx, role); err != nil {
		return "", warnings, err
	}
	return change, warnings, nil
}

func (r *run) unused(ctx context.Context, role string) error {
	n, err := r.sessions(ctx, role)
	if err != nil || n == 0 {
		return err
	}
	return &failure{class: Refused, text: fmt.Sprintf("give role %q a new password: %s logged in as it, and may have to log in again with the one that it has", role, plural(n, "session is", "sessions are")),
		hint: "find them in pg_stat_activity (usename), restart what they belong to so that it reads the served Secret, then run again"}
}

// planOpen asks whether the database can be judged for the open rotation, or
// for the emergency that replaces it.
func (r *run) planOpen(ctx context.Context) (warnings []string, err error) {
	pending := r.state.Pending.User
	switch {
	case r.supersedes():
		return told(r.ask(ctx, r.databaseQuestions()))
	case !r.switches():
		_, warnings, err = r.planDatabase(ctx, pending)
	case r.state.Mode == Emergency:
		_, warnings, err = r.planDatabase(ctx, r.roles.other(pending))
	default:
		_, warnings, err = r.Twins.PlanTwin(ctx, r.roles.base, r.roles.twin, pending)
	}
	return warnings, err
}

// told joins what the lines warn of, and what speaks against them.
func told(lines []Line) (warnings []string, err error) {
	var errs []error
	for _, line := range lines {
		warnings, errs = append(warnings, line.Warnings...), append(errs, line.Err)
	}
	return warnings, errors.Join(errs...)
}

func copyQuestion(step string, target Copy, next secret.Credential) question {
	return question{step, target.String(), func(ctx context.Context) (string, []string, error) { return target.Plan(ctx, next) }}
}

func (r *run) ask(ctx context.Context, questions []question) []Line {
	lines := each(questions, func(q question) Line {
		change, warnings, err := q.ask(ctx)
		return Line{Step: q.step, Target: q.target, Change: change, Warnings: warnings, Err: err}
	})
	if r.emergency() {
		r.regardless(lines)
	}
	return lines
}

// servedOpens demands that the served password is the one that the database
// accepts: going back to one that is not would be no way back. A repair has none.
// It is not asked where the database could not answer for itself.
func (r *run) servedOpens(ctx context.Context, databaseErr error) error {
	if databaseErr != nil || r.served.Credential.Password.IsZero() || r.repairing {
		return nil
	}
	c := r.served.Credential
	verdict, err := r.holds(ctx, c)
	switch verdict {
	case secret.Yes:
		return nil
	case secret.Unknown:
		return fmt.Errorf("log in as role %q with what %s holds: %w", c.User, r.Served, err)
	}
	if r.emergency() {
		r.warn(fmt.Sprintf("role %q does not log in with what %s holds (%v): it is given a new password all the same", c.User, r.Served, verdict))
		return nil
	}
	switch {
	case verdict == secret.Closed:
		return noLogin(c.User)
	case r.mayRepair():
		r.repairing = true
		r.warn(fmt.Sprintf("role %q does not log in with what %s holds: there is nothing to go back to, so this rotation only goes forward (`on-drift: repair`)", c.User, r.Served))
		return nil
	}
	return &failure{class: Refused, text: fmt.Sprintf("log in as role %q with what %s holds: the database refuses the password", c.User, r.Served),
		hint: "somebody changed one of the two: put the right password into the Secret, or set the Secret's password by hand, then run again; or `on-drift: repair` brings in a new one, without a way back"}
}

// forbear turns workloads that are unhealthy before a repair into warnings: they
// may be so because the database refuses them.
func forbear(lines []Line) {
	for i, line := range lines {
		if line.Step == "restart" && line.Err != nil && ClassOf(line.Err) == Unhealthy {
			lines[i].Warnings = append(line.Warnings, line.Err.Error())
			lines[i].Change, lines[i].Err = "restarted, though it is not healthy", nil
		}
	}
}

// mayRepair tells whether this run may begin a rotation that has no way back.
func (r *run) mayRepair() bool { return r.command == rotate && !r.emergency() && r.Policy.Repair }

// repairs looks whether an open way back has to be given up: it cannot end where
// somebody else has set the password of the role that it puts back. In place
// that is one which the rotation knows neither as its previous nor as its
// pending.
func (r *run) repairs(ctx context.Context) error {
	if r.repairing || r.state.Phase != Back || !r.mayRepair() {
		return nil
	}
	known := []secret.Credential{r.state.Previous}
	if !r.switches() {
		known = append(known, r.state.Pending)
	}
	for _, c := range known {
		switch verdict, err := r.holds(ctx, c); verdict {
		case secret.No:
		case secret.Unknown:
			return fmt.Errorf("ask the database which password role %q has: %w", c.User, err)
		default:
			return nil
		}
	}
	if err := r.fits(); err != nil {
		return err
	}
	r.repairing = true
	r.warn(fmt.Sprintf("somebody else has changed the password of role %q: the way back of rotation %s is given up for a new rotation, which only goes forward (`on-drift: repair`)", r.state.Previous.User, r.state.ID))
	return nil
}
