package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Holds asks whether c opens the door, and changes nothing.
//
//   - Where c.Verifier is known, the salt that the server shows before
//     authentication answers, without a login: another salt, another verifier.
//   - Else a login answers, which the server must want to be proven with SCRAM
//     (md5 for a role that has nothing else): a path that asks for no password
//     proves nothing.
//   - On such a path the stored verifier answers, where it may be read.
//
// Everything that proves nothing is Unknown with an error, class "refused" where
// the set-up never can, "unhealthy" where no password can open the role. A role that is NOLOGIN makes a right password
// Closed.
func (d *Database) Holds(ctx context.Context, c secret.Credential) (secret.Verdict, error) {
	verdict := secret.Unknown
	err := d.with(ctx, func(s *session) (err error) {
		verdict, err = s.judge(ctx, c)
		return err
	})
	if err != nil {
		return secret.Unknown, err
	}
	return verdict, nil
}

func (s *session) judge(ctx context.Context, c secret.Credential) (secret.Verdict, error) {
	if c.Password.IsZero() {
		return secret.Unknown, no(fmt.Sprintf("judge the password of role %q: it is empty", c.User), "")
	}
	r, f, err := s.judgeable(ctx, c.User)
	if err != nil {
		return secret.Unknown, err
	}
	salted, known := parse(c.Verifier)
	if asked, controlled := s.db.controlled[c.User]; controlled && asked.byLogin() && !known {
		if verdict, err := s.login(ctx, c, asked); verdict != secret.Unknown {
			return verdict, err
		} // or the role has a password of another kind by now
	}
	asked, err := s.probe(ctx, c.User)
	if err != nil {
		return secret.Unknown, err
	}
	switch {
	case asked.method == methodSCRAM && known:
		return r.door(salted == asked.salting), nil
	case asked.method == methodMD5 && known:
		return secret.No, nil // the server has nothing but an md5 hash
	case asked.byLogin():
		return s.login(ctx, c, asked)
	case !f.readable:
		return secret.Unknown, unprovable(c.User, f.admin, asked)
	}
	stored, err := s.stored(ctx, c.User)
	return r.door(opens(stored, c.User, c.Password)), err
}

// judgeable excludes what makes the server answer "wrong password" to the right
// one: a standby that lags, a role that is not there, VALID UNTIL.
func (s *session) judgeable(ctx context.Context, name string) (role, facts, error) {
	f, r, err := s.about(ctx, name)
	switch {
	case f.standby:
		return r, f, standby()
	case err == nil && r.expired:
		err = r.expiry()
	}
	return r, f, barred(err)
}

// barred makes a verdict of what is definitely wrong with the role itself: no
// password opens it.
func barred(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.class != refused {
		return err
	}
	return &Error{op: e.op, cause: e.cause, class: unhealthy, hint: e.hint}
}

func standby() error {
	return no("judge a password on a standby: it may lag behind", "let `postgres-url` name the primary")
}

// door is the verdict on a password by its verifier.
func (r role) door(right bool) secret.Verdict {
	switch {
	case !right:
		return secret.No
	case !r.canLogin:
		return secret.Closed
	}
	return secret.Yes
}

// byLogin tells whether a login on this path proves a password.
func (c challenge) byLogin() bool { return c.method == methodSCRAM || c.method == methodMD5 }

func unprovable(name, admin string, asked challenge) error {
	how := "asks for no password"
	if asked.method != methodNone {
		how = "asks for no SCRAM proof"
	}
	return no(fmt.Sprintf("judge the password of role %q: PostgreSQL %s on this path, so a login proves nothing", name, how),
		fmt.Sprintf("either reach PostgreSQL on a path with scram-sha-256 in pg_hba.conf (`postgres-url` with the server's own address), "+
			"or let the administrator compare the stored verifier: GRANT SELECT (rolname, rolpassword) ON pg_catalog.pg_authid TO %s;", quote(admin)))
}

// login tries c, and answers the challenge that was asked before and no other: a
// server that now asks for less proves nothing.
func (s *session) login(ctx context.Context, c secret.Credential, asked challenge) (verdict secret.Verdict, err error) {
	s.meanwhile(func() { verdict, _, err = s.offer(ctx, c, asked.method) })
	return verdict, err
}

// meanwhile lets others use the session that holds the lock while do, which does not
// use it, takes its time. Whoever calls has d.mu, and has it again afterwards.
func (s *session) meanwhile(do func()) {
	if s.db.held != s { // with would open another one
		do()
		return
	}
	s.db.mu.Unlock()
	defer s.db.mu.Lock()
	do()
}

// offer tries c where the server asks for one of the methods, and returns what it
// asks for; without a method it has asked for nothing. A SQLSTATE that the server raises only after it has accepted the proof
// shows that the password is right; "wrong password" is raised instead of
// accepting it.
func (s *session) offer(ctx context.Context, c secret.Credential, methods string) (verdict secret.Verdict, asked challenge, err error) {
	heard := &listener{}
	conn, err := s.db.connect(ctx, c, way{address: s.address, accept: methods, heard: heard})
	if err == nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), hangUpTimeout)
		defer cancel()
		_ = conn.Close(closing)
		return secret.Yes, heard.asked, nil
	}
	if heard.asked.method == "" {
		return secret.Unknown, heard.asked, probing(c.User, err)
	}
	if verdict := reading(err, heard.accepted); verdict != secret.Unknown {
		if verdict != secret.Yes {
			s.db.turnedAway.add(c.User)
		}
		return verdict, heard.asked, nil
	}
	return secret.Unknown, heard.asked, unknown(fmt.Sprintf("log in as role %q", c.User), err)
}

// reading translates the answer to a login, see
// https://www.postgresql.org/docs/current/errcodes-appendix.html.
func reading(err error, accepted bool) secret.Verdict {
	p := serverError(err)
	switch {
	case p == nil:
		return secret.Unknown
	case !accepted && p.Code == codeWrongPassword:
		return secret.No
	case !accepted:
		return secret.Unknown
	}
	switch p.Code {
	case codeNoDatabase, codeNoPrivilege, codeTooMany:
		return secret.Yes
	case codeNotPermitted:
		return secret.Closed
	}
	return secret.Unknown
}

// Stored returns the verifier that the database holds for c, bit for bit: read
// where the administrator may, else rebuilt from c.Password and the salt that
// the server shows, and proven by a login. Class "refused": c does not open the
// door, or nothing proves that it does.
func (d *Database) Stored(ctx context.Context, c secret.Credential) (secret.Value, error) {
	var verifier secret.Value
	err := d.with(ctx, func(s *session) (err error) {
		verifier, err = s.recover(ctx, c)
		return err
	})
	if err != nil {
		return secret.Value{}, err
	}
	return verifier, nil
}

func (s *session) recover(ctx context.Context, c secret.Credential) (secret.Value, error) {
	if c.Password.IsZero() {
		return secret.Value{}, no(fmt.Sprintf("recover the verifier of role %q: its password is empty", c.User), "")
	}
	_, f, err := s.judgeable(ctx, c.User)
	if err != nil {
		return secret.Value{}, err
	}
	if !f.readable {
		return s.rebuild(ctx, c, f)
	}
	stored, err := s.stored(ctx, c.User)
	if err == nil && !opens(stored, c.User, c.Password) {
		err = notItsPassword(c.User)
	}
	return stored, err
}

func notItsPassword(name string) error {
	return no(fmt.Sprintf("recover the verifier of role %q: the database does not hold this password", name), "")
}

// rebuild tries the forms in which PostgreSQL may have hashed the password. A login
// proves one, and the salt by which it was judged makes the verifier.
func (s *session) rebuild(ctx context.Context, c secret.Credential, f facts) (secret.Value, error) {
	for _, form := range s.db.forms(c) {
		verdict, asked, err := s.offer(ctx, form, methodHashed)
		switch {
		case asked.method != "" && !asked.byLogin():
			return secret.Value{}, unprovable(c.User, f.admin, asked)
		case verdict == secret.Unknown:
			return secret.Value{}, err
		case verdict == secret.No:
		case asked.method == methodSCRAM && !asked.salting.valid():
			return secret.Value{}, probing(c.User, errMalformed)
		default:
			return s.db.remake(form, asked), nil
		}
	}
	return secret.Value{}, notItsPassword(c.User)
}
