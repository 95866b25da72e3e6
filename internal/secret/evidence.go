package secret

import (
	"context"
	"time"
)

// Evidence is what is known of the credential that a pod uses.
type Evidence int

const (
	// NotProven: nothing shows it either way.
	NotProven Evidence = iota
	// BySession: a session that was opened after the change comes from an
	// address that only this pod has.
	BySession
	// ByHealthCommand: the health command agrees in the pod.
	ByHealthCommand
	// Refuted: the database has refused the pod, or the health command says no.
	Refuted
)

// String names the evidence as the reports do.
func (e Evidence) String() string {
	return [...]string{"not proven", "proven by session", "proven by health command", "refuted"}[e]
}

// Proof is the evidence about one pod.
type Proof struct {
	Pod       string
	Addresses []string // IP addresses of its own; none where it shares those of its node
	Evidence  Evidence
	Reason    string // why it is not proven, or refuted
}

// Witness judges proofs by what others have seen of the pods: it returns as many, in
// the same order.
type Witness func(ctx context.Context, pods []Proof) []Proof

// Readiness counts the pods of one owner.
type Readiness struct {
	Ready int `json:"ready"`
	Pods  int `json:"pods"`
}

// Marked is a pod with the restart mark that it carries; empty: none.
type Marked struct {
	Pod, Mark string
	Created   time.Time // by the clock of the API server
}
