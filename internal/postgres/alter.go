package postgres

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/secret"
)

const (
	alterAttempts = 3                       // while somebody else alters the role at the same moment
	cleanUp       = 1500 * time.Millisecond // a run that is told to stop has to end within 5 s
)

// hush begins a transaction and keeps what follows out of the server's log and of
// pg_stat_statements, each setting as far as the administrator may set it: one that
// he may not takes nothing but its own block back.
const hush = `BEGIN; SAVEPOINT quiet; DO $quiet$
DECLARE
	setting text[];
BEGIN
	FOREACH setting SLICE 1 IN ARRAY ARRAY[['log_statement', 'none'], ['log_min_error_statement', 'panic'], ['log_min_duration_statement', '-1'],
		['log_min_duration_sample', '-1'], ['pg_stat_statements.track_utility', 'off']]
	LOOP
		BEGIN
			PERFORM pg_catalog.set_config(setting[1], setting[2], true);
		EXCEPTION WHEN OTHERS THEN
		END;
	END LOOP;
END
$quiet$; RELEASE quiet`

// Set makes the role accept c by ALTER ROLE with c.Verifier, in the session that
// holds the lock, and returns the database's clock after the commit. c.Verifier
// must be one of c.Password: PostgreSQL takes a malformed one for a plain-text
// password without a word.
//
// Class "refused": definitely not changed. "conflict": not changed,
// somebody else keeps changing the role. "lost": the session broke, and whether
// the change was committed has to be asked after Acquire. No class: not known.
func (d *Database) Set(ctx context.Context, c secret.Credential) (time.Time, error) {
	return d.change(ctx, c, func(s *session) error { return s.alter(ctx, c, asItIs) })
}

// change lends alter the session that holds the lock, and returns the
// database's clock after it.
func (d *Database) change(ctx context.Context, c secret.Credential, alter func(*session) error) (time.Time, error) {
	if err := sendable(c); err != nil {
		return time.Time{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.holder()
	if err != nil {
		return time.Time{}, err
	}
	d.altered = false
	if err := alter(s); err != nil {
		return time.Time{}, err
	}
	d.altered = true
	d.turnedAway.clear()
	return s.clock(ctx)
}

func sendable(c secret.Credential) error {
	if err := nameable(c.User); err != nil {
		return err
	}
	if !opens(c.Verifier, c.User, c.Password) {
		return no(fmt.Sprintf("change the password of role %q: the verifier is not one of the password", c.User), "")
	}
	return nil
}

// alter commits ALTER ROLE with the verifier of c.
func (s *session) alter(ctx context.Context, c secret.Credential, a attribute) error {
	return s.send(ctx, c.User, alterRole(c.User, a, c.Verifier))
}

// send commits an ALTER ROLE of name. A loser of two concurrent ones has changed nothing.
func (s *session) send(ctx context.Context, name, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, alterTimeout)
	defer cancel()
	var err error
	for range alterAttempts {
		err = s.inTransaction(ctx, "COMMIT", statement)
		if !hasCode(err, codeInternal) || s.isLost() {
			break
		}
	}
	if err == nil {
		return nil
	}
	s.settle()
	return s.altering(ctx, fmt.Sprintf("change the password of role %q", name), name, err)
}

// attribute is what ALTER ROLE says of the role beside the password.
type attribute string

const (
	asItIs    attribute = ""
	withLogin attribute = " LOGIN"
	noLogin   attribute = " NOLOGIN"
)

// alterRole is the only SQL text that holds a verifier. It cannot be a
// parameter: utility statements take none.
func alterRole(name string, a attribute, verifier secret.Value) string {
	return "ALTER ROLE " + quote(name) + string(a) + " PASSWORD '" + verifier.Reveal() + "'"
}

// inTransaction runs the statements, quietly and each in a message of its own
// (a message with several is logged as a whole), and ends with COMMIT or ROLLBACK.
func (s *session) inTransaction(ctx context.Context, end string, statements ...string) error {
	err := s.beginQuietly(ctx)
	for _, statement := range append(statements, end) {
		if err == nil {
			err = without(s.exec(ctx, statement), literal(statement))
		}
	}
	if err != nil && !s.isLost() {
		_ = s.exec(ctx, "ROLLBACK") // where this fails the session is lost
	}
	return err
}

// beginQuietly does without the quiet settings where there is no PL/pgSQL for the
// administrator.
func (s *session) beginQuietly(ctx context.Context) error {
	err := s.exec(ctx, hush)
	if (hasCode(err, codeNoPrivilege) || hasCode(err, codeUndefined)) && !s.isLost() {
		return s.exec(ctx, "ROLLBACK TO quiet")
	}
	return err
}

func (s *session) exec(ctx context.Context, sql string) error {
	_, err := s.conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// literal returns what stands between the quotes of a statement.
func literal(statement string) string {
	const before = " PASSWORD '" // which a role's name may hold, too
	_, rest, _ := strings.Cut(statement[max(0, strings.LastIndex(statement, before)):], before)
	return strings.TrimSuffix(rest, "'")
}

// settle waits until a broken session has let go of its connection, so that
// nothing is sent after the caller has begun to look at the outcome.
func (s *session) settle() {
	if !s.isLost() {
		return
	}
	select {
	case <-s.conn.PgConn().CleanupDone():
	case <-time.After(cleanUp):
	}
}

// altering classifies the failure of ALTER ROLE. While the session lives, the
// server's answer is definite: the transaction was rolled back.
func (s *session) altering(ctx context.Context, op, name string, err error) error {
	e := unknown(op, err)
	p := serverError(err)
	switch {
	case s.isLost():
		e.class = lost
	case p == nil:
	case p.Code == codeInternal:
		e.class, e.hint = conflict, fmt.Sprintf("somebody else is changing role %q: find out who, then run again", name)
	case p.Code == codeLockTimeout:
		e.hint = fmt.Sprintf("a transaction that changes role %q is open: end it, then run again", name)
	case transient(p.Code):
	case p.Code == codeNoPrivilege && !strings.Contains(p.Message, "rds_password"):
		e.class, e.hint = refused, s.permission(ctx, name)
	default:
		e.class, e.hint = refused, s.remedy(p.Code, p.Message)
	}
	return e
}

// transient tells the classes of SQLSTATE that say nothing about the statement:
// connection, resources, operator, system.
func transient(code string) bool {
	switch code[:min(2, len(code))] {
	case "08", "40", "53", "57", "58", "XX":
		return true
	}
	return false
}

// named is a setting of credcheck, as some of its messages name it.
var named = regexp.MustCompile(`credcheck\.[a-z_]+`)

// remedy tells what to do about a refusal that is not for want of CREATEROLE or
// ADMIN OPTION.
func (s *session) remedy(code, message string) string {
	switch {
	case code == codeReadOnly:
		return "let `postgres-url` name the primary, and set default_transaction_read_only = off for the administrator"
	case strings.Contains(message, "rds_password"):
		// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Appendix.PostgreSQL.CommonDBATasks.RestrictPasswordMgmt.html
		return fmt.Sprintf("the server has rds.restrict_password_commands = 1; as a member of rds_superuser: GRANT rds_password TO %s;", quote(s.db.admin.User))
	}
	if told := credcheck(message); told != "" {
		return "the server's password checker refuses it: " + told
	}
	if code == codeInvalidParameter {
		return "a password checker of the server rejects the verifier: let it accept SCRAM verifiers"
	}
	return ""
}

// credcheck is what to set where that extension has refused, by its messages:
// https://github.com/HexaCluster/credcheck/blob/master/credcheck.c. It cannot
// look into a verifier, and looks at the rest.
func credcheck(message string) string {
	switch {
	case strings.Contains(message, "password type is not a plain text"):
		return "it takes no verifiers: set credcheck.encrypted_password_allowed = on"
	case strings.Contains(message, "password reuse policy"):
		return "a password that was used before could not be put back: set credcheck.password_reuse_history and credcheck.password_reuse_interval to 0, or name the role in credcheck.whitelist"
	case strings.Contains(message, "not allowed to change your password"):
		return "set credcheck.disallow_change_password = off, or name the administrator in credcheck.whitelist"
	case strings.Contains(message, "must change your password first"):
		return "change the administrator's own password, which credcheck.password_change_first_login asks for"
	case strings.Contains(message, "VALID UNTIL option"):
		return "give the role a VALID UNTIL that credcheck.password_valid_until and credcheck.password_valid_max allow, or set both to 0"
	}
	if name := named.FindString(message); name != "" {
		return "see its setting " + name + ", or name the role in credcheck.whitelist"
	}
	return ""
}
