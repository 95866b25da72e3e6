// Package rotation is the runbook: it brings a new password of a PostgreSQL
// role to every place that holds it, proves that it is used, and goes back by
// the same list when it is not. It knows no database, cluster or GitHub; those
// are behind the interfaces of ports.go.
//
// Read runbook.go first (what is done), then machine.go (when, and what a
// killed process leaves), then decide.go (which way after a failure).
package rotation

import (
	"context"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Mode tells why a password changes.
type Mode string

const (
	// Planned is a scheduled change: it goes back when it cannot be proven.
	Planned Mode = "planned"
	// Emergency replaces a compromised password: it only goes forward, and the
	// replaced password is stored nowhere and never works again.
	Emergency Mode = "emergency"
)

// The strategies.
const (
	InPlace   = "in-place"  // changes the password of the role that is served
	Alternate = "alternate" // gives the other one of two login roles a new password, and serves that
)

// Request is who asks for a rotation.
type Request struct {
	ID     string // of the run; a run that is started again with it finds its rotation done
	Owner  string // address of the run, shown to whoever finds it at work
	Reason string
	Only   string // Resume finishes the rotation with this id and no other; empty: any
}

// Policy is how a rotation behaves.
type Policy struct {
	GoBack         bool          // on a definite failure; else stop and leave it to Resume
	MinimumAge     time.Duration // younger passwords are left alone; 0: none is too young
	MaximumAge     time.Duration // older passwords are overdue to Check; 0: none is too old
	KeepPrevious   time.Duration // how long the former password is kept after a rotation; 0: not at all
	RetireAfter    time.Duration // how long the former role goes on logging in after a rotation that switched roles
	LockTimeout    time.Duration
	Timeout        time.Duration // of the whole run
	RolloutTimeout time.Duration // of one workload; kept in reserve for the way back
	Repair         bool          // begin a planned rotation also where the database refuses what is served; it never goes back
	TerminateStale bool          // end the sessions that are older than the change, after the restart
}

// Rotation is everything that one rotation needs.
type Rotation struct {
	Mode          Mode       // of the rotation that is asked for; empty: Planned
	Strategy      string     // of the rotation that is asked for; empty: InPlace
	Lock          Lock       // required
	Database      Database   // required
	Lockout       Lockout    // required for an emergency, and to resume one
	Twins         Twins      // required
	Retirement    Retirement // required
	Journal       Journal    // required
	Served        Served     // required
	ClusterCopies []Copy     // written before the pods restart
	RemoteCopies  []Copy     // written while the pods restart
	Workloads     []Workload // restarted, all at once
	Standbys      Standbys   // required
	Sessions      Sessions   // required
	Addresses     Addresses  // required
	Refusals      Refusals   // nil: the log of the database is out of reach
	Health        Health     // nil: nothing but Workloads has to be ready
	// Discovered says that Workloads is what the cluster shows now, not a list
	// that somebody wrote: a recorded workload that is missing in it is gone.
	Discovered bool
	// Undiscovered is why Workloads is not complete: not all could be looked for, or
	// it is not known which of them is the database itself. It ends a run before the
	// first write, together with everything else that the preflight finds; an
	// emergency is left unfinished by it.
	Undiscovered error
	// Nameless are the RemoteCopies that take the password where none takes the
	// user name: a rollback that changes it refuses them, as the inputs of a
	// rotation are refused.
	Nameless []string
	// Role is the role to rotate, also where its twin is served; empty: the user
	// that is served, or the one that this is the twin of.
	Role string
	// AlternateRole is the twin of Role; empty: the one that the journal knows, or
	// Role with "_alt" behind it. It needs Role.
	AlternateRole string

	Keep     func(string) secret.Value // required: the Keeper's
	Scrub    func(string) string       // required: the Keeper's
	Generate func() secret.Value       // required: a new password
	NewID    func() string             // required: a new rotation id
	Now      func() time.Time          // required
	Observe  func(Event)               // may miss an event; nil: nobody watches
	Announce func(id string)           // told the rotation's id before the first write for it; nil: nobody asks

	Request Request
	Policy  Policy
}

// Rotate makes a rotation, or finishes an unfinished one. An emergency replaces
// an unfinished planned rotation, and makes its own after finishing another
// emergency. It ends without a write when there is nothing to do.
func (r *Rotation) Rotate(ctx context.Context) Result { return r.start(ctx, rotate) }

// Resume finishes an unfinished rotation in its own direction. It ends without
// a write when there is none.
func (r *Rotation) Resume(ctx context.Context) Result { return r.start(ctx, resume) }

// Rollback turns an unfinished planned rotation back, or undoes a finished one
// by a rotation to the kept previous credential. It refuses an emergency, a
// rotation that is not the last one, and one whose previous is not kept any more.
func (r *Rotation) Rollback(ctx context.Context) Result { return r.start(ctx, rollback) }

// command is what a run was asked to do.
type command int

const (
	resume command = iota
	rotate
	rollback
	check
)

func (r *Rotation) start(ctx context.Context, c command) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, r.Policy.Timeout, errTimeout)
	defer cancel()
	late, stopLate := outlive(ctx, lateAfter)
	defer stopLate()
	last, stopLast := outlive(ctx, lastAfter)
	defer stopLast()
	run := &run{Rotation: r, command: c, began: r.Now(), late: late, last: last, glances: make(chan glance, 1)}
	run.glances <- glance{}
	defer r.Lock.Release()
	return run.finish(run.machine(ctx))
}
