// Package postgres changes and judges the password of one PostgreSQL role. It
// holds the run's lock in a session of the administrator, sends ALTER ROLE with
// a SCRAM-SHA-256 verifier in that same session, and answers whether a
// credential opens the door. The role's password itself never leaves the process,
// not even for a login: that sends a proof of it.
package postgres
