package postgres

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

func TestReadChallenge(t *testing.T) {
	got, err := readChallenge("r=abcXYZ,s="+rfcSalt+",i=4096", "abc")
	want := challenge{method: methodSCRAM, salting: salting{salt: rfcSalt, iterations: 4096}}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range malformedChallenges {
		if got, err := readChallenge(text, "abc"); err == nil {
			t.Errorf("readChallenge(%q) = %+v", text, got)
		}
	}
}

var malformedChallenges = []string{
	"", "r=abcXYZ", "r=abcXYZ,s=" + rfcSalt, "r=abc,s=" + rfcSalt + ",i=4096", "r=xyzabc,s=" + rfcSalt + ",i=4096",
	"r=abcXYZ,s=,i=4096", "r=abcXYZ,s=!,i=4096", "r=abcXYZ,s=AAA,i=4096", "r=abcXYZ,s=" + rfcSalt + ",i=0", "r=abcXYZ,s=" + rfcSalt + ",i=-1",
	"r=abcXYZ,s=" + rfcSalt + ",i=10000001", "r=abcXYZ,s=" + rfcSalt + ",i=99999999999999999999", "m=x,r=abcXYZ,s=" + rfcSalt + ",i=4096",
	"r=abcXYZ,s=" + rfcSalt + ",i=4096,x=y", "e=other-error",
}

func FuzzReadChallenge(f *testing.F) {
	for _, text := range malformedChallenges {
		f.Add(text)
	}
	f.Add("r=abcXYZ,s=" + rfcSalt + ",i=4096")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readChallenge(text, "abc")
		if err == nil && (!got.salting.valid() || !strings.HasPrefix(text, "r=abc")) {
			t.Errorf("readChallenge(%q) = %+v", text, got)
		}
		if err == nil && scram("x", salting{salt: got.salting.salt, iterations: 1}) == "" {
			t.Errorf("no verifier can be made of the salt of %q", text)
		}
	})
}

func TestGreetTellsTheMethods(t *testing.T) {
	refusing := &pgproto3.ErrorResponse{Severity: "FATAL", Code: codeNotPermitted, Message: "no pg_hba.conf entry"}
	sasl := &pgproto3.AuthenticationSASL{AuthMechanisms: []string{mechanism}}
	for _, c := range []struct {
		name     string
		messages []pgproto3.BackendMessage
		method   string
		code     string // of the error
		fails    bool
	}{
		{"md5", []pgproto3.BackendMessage{&pgproto3.AuthenticationMD5Password{}}, methodMD5, "", false},
		{"clear text", []pgproto3.BackendMessage{&pgproto3.AuthenticationCleartextPassword{}}, methodPassword, "", false},
		{"trust", []pgproto3.BackendMessage{&pgproto3.AuthenticationOk{}}, methodNone, "", false},
		{"kerberos", []pgproto3.BackendMessage{&pgproto3.AuthenticationGSS{}}, methodOther, "", false},
		{"no line in pg_hba.conf", []pgproto3.BackendMessage{refusing}, "", codeNotPermitted, true},
		{"refused after the first message", []pgproto3.BackendMessage{sasl, refusing}, "", codeNotPermitted, true},
		{"a malformed challenge", []pgproto3.BackendMessage{sasl, &pgproto3.AuthenticationSASLContinue{Data: []byte("r=x")}}, "", "", true},
		{"another answer to SCRAM", []pgproto3.BackendMessage{sasl, &pgproto3.AuthenticationOk{}}, "", "", true},
		{"it hangs up", nil, "", "", true},
		{"it hangs up after the first message", []pgproto3.BackendMessage{sasl}, "", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := scripted(t, c.messages)
			got, err := greet(conn, "app", "db")
			if got.method != c.method || (err != nil) != c.fails || c.code != "" && !hasCode(err, c.code) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// scripted is a server that answers each message with the next of messages (and
// is ready without being asked) and then hangs up.
func scripted(t *testing.T, messages []pgproto3.BackendMessage) net.Conn {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { ours.Close() })
	backend := pgproto3.NewBackend(theirs, theirs)
	go func() {
		defer theirs.Close()
		startup, err := backend.ReceiveStartupMessage()
		if m, ok := startup.(*pgproto3.StartupMessage); err != nil || !ok || m.Parameters["user"] != "app" || m.Parameters["database"] != "db" {
			return
		}
		for i, m := range messages {
			if _, ready := m.(*pgproto3.ReadyForQuery); i > 0 && !ready {
				if _, err := backend.Receive(); err != nil {
					return
				}
			}
			backend.Send(m)
			if backend.Flush() != nil {
				return
			}
			if _, in := m.(*pgproto3.AuthenticationOk); in && i == 0 {
				_, _ = backend.Receive() // the probe says goodbye to whoever let it in
			}
		}
	}()
	return ours
}

func TestProbingNamesTheLineInPgHba(t *testing.T) {
	var e *Error
	err := probing("app", refusal(codeNotPermitted))
	if !errors.As(err, &e) || e.Class() != "refused" || !strings.Contains(e.Hint(), "pg_hba.conf") {
		t.Errorf("%v, class %q, hint %q", err, e.Class(), e.Hint())
	}
	if !errors.As(probing("app", net.ErrClosed), &e) || e.Class() != "" {
		t.Errorf("class %q of a broken connection", e.Class())
	}
}
