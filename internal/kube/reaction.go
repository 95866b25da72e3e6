package kube

// Reaction is what a plan does about something that speaks against a rotation
// and does not rule it out.
type Reaction string

// The reactions. The zero Reaction refuses.
const (
	Refuse Reaction = "refuse"
	Warn   Reaction = "warn"
)
