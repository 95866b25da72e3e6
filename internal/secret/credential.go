package secret

import "time"

// Credential is a PostgreSQL user name with its password.
type Credential struct {
	User     string
	Password Value
	// Verifier is what the database stores for Password: a SCRAM-SHA-256
	// verifier (RFC 5803), or zero when it is not known.
	Verifier Value
	// Keys are the exact bytes of the served Secret's mapped keys that hold this
	// credential, by key name; nil until they have been read or rendered.
	Keys map[string]Value
}

// Verdict is the database's answer to "does this credential open the door?".
type Verdict int

const (
	// Unknown: no answer that proves anything. Change nothing, stop.
	Unknown Verdict = iota
	// No: the password is not the one that the database accepts.
	No
	// Yes: the password is right and the role may log in.
	Yes
	// Closed: the password is right and the role is NOLOGIN.
	Closed
)

// String names the verdict as the reports do.
func (v Verdict) String() string {
	return [...]string{"unknown", "no", "yes", "yes but closed"}[v]
}

// Snapshot is what the served Secret held when it was read.
type Snapshot struct {
	UID string // of the Kubernetes object: it changes when the Secret is recreated
	// RotationID, RotatedAt and Epoch are pgrotate's annotations; zero when absent.
	RotationID string
	RotatedAt  time.Time
	Epoch      int64
	Created    time.Time // when the Kubernetes object was created
	// Credential is the served one, with the bytes of every mapped key.
	Credential Credential
}

// Stamp is what a write of the served Secret leaves in its annotations.
type Stamp struct {
	RotationID string    // empty removes the annotation
	RotatedAt  time.Time // database clock; zero removes the annotation
	Epoch      int64     // of the writer; a Secret with a higher one refuses the write
}

// Document is a stored set of annotations and secret data that is written by
// compare-and-swap.
type Document struct {
	Version     string // empty: it does not exist yet
	Annotations map[string]string
	Data        map[string]Value
}
