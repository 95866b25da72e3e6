// Package postgres changes and judges the password of one PostgreSQL role. It
// holds the run's lock in a session of the administrator, sends ALTER ROLE with
// a SCRAM-SHA-256 verifier in that same session, and answers whether a
// credential opens the door. The password itself never leaves the process
// except as the proof inside a SCRAM exchange.
package postgres
