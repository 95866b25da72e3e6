package postgres

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// TestReading is the table of the oracle: what an answer to a login proves, by
// whether the server had accepted the proof of the password before.
func TestReading(t *testing.T) {
	for _, c := range []struct {
		code          string
		before, after secret.Verdict
	}{
		{codeNoDatabase, secret.Unknown, secret.Yes},
		{codeNoPrivilege, secret.Unknown, secret.Yes},
		{codeTooMany, secret.Unknown, secret.Yes},
		{codeNotPermitted, secret.Unknown, secret.Closed},
		{codeWrongPassword, secret.No, secret.Unknown},
		{"08P01", secret.Unknown, secret.Unknown}, // a pooler's "SASL authentication failed"
		{"57P03", secret.Unknown, secret.Unknown}, // starting up
		{"XX000", secret.Unknown, secret.Unknown},
	} {
		if got := reading(refusal(c.code), false); got != c.before {
			t.Errorf("%s before the proof was accepted: %v, want %v", c.code, got, c.before)
		}
		if got := reading(refusal(c.code), true); got != c.after {
			t.Errorf("%s after the proof was accepted: %v, want %v", c.code, got, c.after)
		}
	}
	if got := reading(errors.New("connection reset"), true); got != secret.Unknown {
		t.Errorf("a broken connection: %v", got)
	}
}

func TestDoor(t *testing.T) {
	for _, c := range []struct {
		right, canLogin bool
		want            secret.Verdict
	}{{true, true, secret.Yes}, {true, false, secret.Closed}, {false, true, secret.No}, {false, false, secret.No}} {
		if got := (role{canLogin: c.canLogin}).door(c.right); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// TestListener hears logins in pieces of every size: what was asked, and whether the
// proof was accepted. What a query answers later is none of them.
func TestListener(t *testing.T) {
	asked := &pgproto3.AuthenticationSASL{AuthMechanisms: []string{mechanism}}
	shown := &pgproto3.AuthenticationSASLContinue{Data: []byte("r=abcdef,s=" + rfcSalt + ",i=4096")}
	salted := challenge{method: methodSCRAM, salting: salting{salt: rfcSalt, iterations: 4096}}
	for name, c := range map[string]struct {
		sent     []pgproto3.BackendMessage
		asked    challenge
		accepted bool
	}{
		"a login":                {[]pgproto3.BackendMessage{&pgproto3.NoticeResponse{Message: "hello"}, asked, shown, &pgproto3.AuthenticationSASLFinal{Data: []byte("v=x")}, &pgproto3.AuthenticationOk{}, &pgproto3.ErrorResponse{Code: codeTooMany}}, salted, true},
		"a wrong password":       {[]pgproto3.BackendMessage{asked, shown, &pgproto3.ErrorResponse{Code: codeWrongPassword, Message: "R\x00\x00\x00\x08\x00\x00\x00\x00"}}, salted, false},
		"a salt that is none":    {[]pgproto3.BackendMessage{asked, &pgproto3.AuthenticationSASLContinue{Data: []byte("r=abcdef,s=,i=4096")}}, challenge{method: methodSCRAM}, false},
		"a hash":                 {[]pgproto3.BackendMessage{&pgproto3.AuthenticationMD5Password{}, &pgproto3.AuthenticationOk{}}, challenge{method: methodMD5}, true},
		"a password as it is":    {[]pgproto3.BackendMessage{&pgproto3.AuthenticationCleartextPassword{}}, challenge{method: methodPassword}, false},
		"trust":                  {[]pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}, challenge{method: methodNone}, true},
		"a server that is full":  {[]pgproto3.BackendMessage{&pgproto3.ErrorResponse{Code: codeTooMany}}, challenge{}, false},
		"a row after the login":  {[]pgproto3.BackendMessage{asked, shown, &pgproto3.AuthenticationOk{}, &pgproto3.AuthenticationMD5Password{}}, salted, true},
		"a message without end":  {[]pgproto3.BackendMessage{&pgproto3.NoticeResponse{Message: strings.Repeat("x", longestGreeting)}, asked}, challenge{}, false},
		"something else, a GSS?": {[]pgproto3.BackendMessage{&pgproto3.AuthenticationGSS{}}, challenge{method: methodOther}, false},
	} {
		var raw []byte
		for _, m := range c.sent {
			raw, _ = m.Encode(raw)
		}
		for _, size := range []int{1, 2, 7, len(raw)} {
			l := &listener{}
			for piece := range slices.Chunk(raw, size) {
				if n, err := l.Write(piece); n != len(piece) || err != nil {
					t.Errorf("%s: %d, %v", name, n, err)
				}
			}
			if l.asked != c.asked || l.accepted != c.accepted || len(l.rest) >= longestGreeting {
				t.Errorf("%s in pieces of %d: asked %+v, accepted %t", name, size, l.asked, l.accepted)
			}
		}
	}
}

// TestBarred: what is wrong with the role itself is a verdict on every password,
// what could not be found out is none.
func TestBarred(t *testing.T) {
	gone := no("look up role \"nobody\": it does not exist", "check the user name")
	if err := barred(gone); classOf(err) != unhealthy || err.Error() != gone.Error() || gone.Class() != refused {
		t.Errorf("%v has class %q", err, classOf(err))
	}
	if err := barred(unknown("look up role", errors.New("reset"))); classOf(err) != "" {
		t.Errorf("%v has class %q", err, classOf(err))
	}
	if err := barred(nil); err != nil {
		t.Error(err)
	}
}
