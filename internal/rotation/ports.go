package rotation

import (
	"context"
	"fmt"
	"time"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Lock serialises the runs that rotate one role.
type Lock interface {
	// Acquire waits up to wait for the lock on base, which Database.Set needs,
	// and returns what tells this server and lock apart from others: the
	// PostgreSQL system identifier ("" where it may not be read) and the name of
	// the database that the lock lives in. Class Busy: somebody else holds it.
	Acquire(ctx context.Context, base string, wait time.Duration) (system, database string, err error)
	// Check makes one round trip on the session that holds the lock and returns
	// the database's clock. Class Lost: the session is gone, and with it the lock.
	Check(ctx context.Context) (time.Time, error)
	// Release gives the lock back. It may be called without holding it.
	Release()
}

// Database is the PostgreSQL primary on which the role's password changes.
type Database interface {
	// Plan finds out whether role's password can be changed and judged here, and
	// changes nothing. The error holds everything that speaks against it.
	Plan(ctx context.Context, role string) (change string, warnings []string, err error)
	// Verifier makes a new verifier of password, the form in which it travels.
	Verifier(ctx context.Context, password secret.Value) (secret.Value, error)
	// Stored returns the verifier that the database holds for c, which c must
	// open: what Set needs to put things back exactly as they were.
	Stored(ctx context.Context, c secret.Credential) (secret.Value, error)
	// Holds asks whether c opens the door. It changes nothing, and an error comes
	// only with the verdict Unknown.
	Holds(ctx context.Context, c secret.Credential) (secret.Verdict, error)
	// Set makes the role accept c, sending only its verifier, in the session that
	// holds the lock, and returns the database's clock after that. A definite
	// refusal has class Refused; any other error leaves the outcome unknown.
	Set(ctx context.Context, c secret.Credential) (time.Time, error)
}

// Lockout locks a role out while its compromised password is exchanged, and
// takes the lock from a run that holds it.
type Lockout interface {
	// PlanLockout is Database.Plan for a role whose password is compromised; next,
	// in place the same role, gets the new one. It may be NOLOGIN already, and
	// closing it and ending its sessions must be permitted too. The warnings name
	// what a new password does not take away from whoever had the old one.
	PlanLockout(ctx context.Context, role, next string) (change string, warnings []string, err error)
	// Break ends the session of the run that holds the lock on base, and those of
	// compromised roles that hold it or wait for it, and returns when they are gone.
	// It does nothing where nobody holds the lock. Class Refused: who holds it may
	// not be ended, or is none of them.
	Break(ctx context.Context, base string, compromised ...string) error
	// Close is Database.Set and makes the role NOLOGIN in the same statement.
	Close(ctx context.Context, c secret.Credential) (time.Time, error)
	// Expel ends every session of role, and returns how many it has ended when
	// two looks in a row have found none.
	Expel(ctx context.Context, role string) (ended int, err error)
	// Open is Database.Set and makes the role LOGIN in the same statement.
	Open(ctx context.Context, c secret.Credential) (time.Time, error)
}

// Twins are two login roles that take turns: a base, and a member of it that
// acts as it.
type Twins interface {
	// Member tells whether role is a direct member of base; where one of them does
	// not exist it is not.
	Member(ctx context.Context, role, base string) (bool, error)
	// PlanFormer is Database.Plan for the one that is served. It does not check
	// CONNECTION LIMIT: new pods log in as the other role.
	PlanFormer(ctx context.Context, role string) (change string, warnings []string, err error)
	// PlanTwin is Database.Plan for target, the one of base and twin that is not
	// served. It may be NOLOGIN and without a password, and must have no session;
	// the twin may be missing, where Create may make it. It changes nothing.
	PlanTwin(ctx context.Context, base, twin, target string) (change string, warnings []string, err error)
	// Create makes twin with the settings of base, NOLOGIN and without a password.
	// It changes nothing where the role exists.
	Create(ctx context.Context, base, twin string) error
	// Enable is Database.Set and makes the role LOGIN in the same statement.
	Enable(ctx context.Context, c secret.Credential) (time.Time, error)
}

// Retirement closes a login role that is not served any more. Retire and Revoke
// need the lock and may be repeated; a role that does not exist is no error. Open
// sessions go on. Class Refused: it does not take turns with served, where that is not
// empty.
type Retirement interface {
	// Sessions counts those that were opened by logging in as role.
	Sessions(ctx context.Context, role string) (int, error)
	// Retire takes the role's password away.
	Retire(ctx context.Context, role, served string) error
	// Revoke is Retire and makes the role NOLOGIN in the same statement.
	Revoke(ctx context.Context, role, served string) error
}

// Readable is a place that shows what it holds, not only when it was written.
type Readable interface {
	fmt.Stringer
	// Differs tells in words, without secrets, what it holds of another credential
	// than c or lacks of it; empty: nothing. It changes nothing.
	Differs(ctx context.Context, c secret.Credential) (string, error)
}

// Served is the Kubernetes Secret that the workloads read.
type Served interface {
	Readable
	// Plan finds out whether Set will be allowed, and changes nothing.
	Plan(ctx context.Context, c secret.Credential) (change string, warnings []string, err error)
	Look(ctx context.Context) (secret.Snapshot, error)
	// Render returns c with the bytes that the mapped keys must have to hold it:
	// keys edited in place, nothing but user, password and verifier changed.
	Render(keys map[string]secret.Value, c secret.Credential) (secret.Credential, error)
	// Set writes c.Keys and the stamp in one compare-and-swap, and changes
	// nothing where both are there already. Where c.Keys is nil only the epoch is
	// written; keys and the other annotations stay. Class Conflict: a higher
	// epoch is there, or somebody else wrote between.
	Set(ctx context.Context, c secret.Credential, s secret.Stamp) error
}

// Copy is any other place that holds the credential. One that can be read is
// Readable, too.
type Copy interface {
	fmt.Stringer
	// Plan finds out whether Set will work for c, and changes nothing.
	Plan(ctx context.Context, c secret.Credential) (change string, warnings []string, err error)
	// Set makes the copy hold c; writing the same again is harmless. It asks held
	// right before it writes, after all that it reads and waits for, and ends with
	// its error. Class Refused only where nothing was written.
	Set(ctx context.Context, c secret.Credential, held func(context.Context) error) error
	// Verify proves that the last Set arrived, and returns when the store says
	// that it was updated (zero where it keeps no such time).
	Verify(ctx context.Context, c secret.Credential) (updatedAt time.Time, err error)
	// Updated returns when the store says that the copy was last written, by
	// whomever; zero where it keeps no such time or has no such copy.
	Updated(ctx context.Context) (time.Time, error)
}

// Workload is a set of pods that read the credential only when they start.
type Workload interface {
	fmt.Stringer
	// Plan tells how the workload reads the credential and whether it can be
	// restarted, and changes nothing. An empty change means that it is listed
	// and left alone. Class Unhealthy: its pods are so even before.
	Plan(ctx context.Context) (change string, warnings []string, err error)
	// LeftAlone says so without asking anybody.
	LeftAlone() bool
	// Unnamed names its containers that take the password and not the user name
	// with it: where that changes they log in as the former one. It asks nobody.
	Unnamed() []string
	// Marks returns the living pods with the mark that each carries.
	Marks(ctx context.Context) ([]secret.Marked, error)
	// Restart makes every pod carry mark and returns when that is proven: no
	// pod without it is left, all are ready, none is refuted. It tells what is
	// known of each pod, also with an error as far as it got. A pod that is refuted
	// is replaced once: its node may have given it the former password. It changes
	// nothing where mark is there already.
	// sure is asked after the workload was read: where it says no, or somebody
	// wrote the workload since, nothing is changed on the strength of that read.
	// witness, where it is not nil, judges each proof by what others know of the pod.
	// Class Unhealthy: the pods came up wrong, did not come up in time, or may not be
	// looked at.
	Restart(ctx context.Context, mark string, sure func(context.Context) error, witness secret.Witness, progress func(detail string)) ([]secret.Proof, error)
}

// Standbys are the servers that replay what the primary does, and the replicas
// that pods are known to log in at.
type Standbys interface {
	// PlanStandbys finds out whether Lagging will be able to tell, and changes
	// nothing.
	PlanStandbys(ctx context.Context, role string) (change string, warnings []string, err error)
	// Position returns how far the primary has written.
	Position(ctx context.Context) (string, error)
	// Lagging names, with the reason, the standbys that have not replayed position
	// and the replicas that do not accept c, which needs a verifier. No login is
	// tried.
	Lagging(ctx context.Context, position string, c secret.Credential) ([]string, error)
}

// Sessions are the open sessions on the server that Database changes. Those of
// pgrotate are none.
type Sessions interface {
	// PlanSessions finds out what may be seen of the sessions of role.
	PlanSessions(ctx context.Context, role string) (warnings []string, err error)
	// PlanTermination finds out whether Terminate will be allowed, and ends nothing.
	PlanTermination(ctx context.Context, role string) error
	// Opened returns the sessions of roles by client; change, by the database's
	// clock, parts the former from the recent ones.
	Opened(ctx context.Context, roles []string, change time.Time) ([]secret.Sessions, error)
	// Terminate ends the sessions of roles that were opened before change, and
	// returns how many when they have ended. It leaves all others alone.
	Terminate(ctx context.Context, roles []string, change time.Time) (ended int, err error)
}

// Refusals are the logins that the server which Database changes has refused. Those
// of pgrotate are none.
type Refusals interface {
	// Refused counts those as one of roles since a moment, by the database's clock,
	// by client. Where whole is false there may be more. Class Refused: they cannot
	// be counted here.
	Refused(ctx context.Context, roles []string, since time.Time) (found []secret.Refused, whole bool, err error)
}

// Addresses tell where a client of the database is.
type Addresses interface {
	// Origins returns where the cluster has the IP addresses, those that it does
	// not have left out, and what was searched for them: "this cluster", or what
	// of it may be seen.
	Origins(ctx context.Context, addresses []string) (found map[string]secret.Origin, searched string, err error)
}

// Health is what has to be as ready at the end of a rotation as it was before.
type Health interface {
	fmt.Stringer
	// Ready counts its pods, by what owns them.
	Ready(ctx context.Context) (map[string]secret.Readiness, error)
}

// Journal survives the process. It may refuse a write; then the run stops.
type Journal interface {
	fmt.Stringer
	// Plan finds out whether Save will be allowed, and changes nothing.
	Plan(ctx context.Context) error
	// Load returns an empty Document where there is none yet.
	Load(ctx context.Context) (secret.Document, error)
	// Save replaces the document whose version is d.Version (creates it where
	// that is empty) and returns it with its new version. Class Conflict: it is
	// not the stored version any more.
	Save(ctx context.Context, d secret.Document) (secret.Document, error)
}
