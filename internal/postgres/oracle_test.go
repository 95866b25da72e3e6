package postgres

import (
	"errors"
	"testing"

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

func TestListener(t *testing.T) {
	for line, want := range map[string]bool{
		"B\tAuthenticationOk\t9\n": true, "B\tAuthenticationSASLFinal\t9\n": false,
		"F\tPasswordMessage\t9\t\"B\tAuthenticationOk\"\n": false, "": false,
	} {
		l := &listener{}
		if n, err := l.Write([]byte(line)); n != len(line) || err != nil || l.accepted != want {
			t.Errorf("%q: accepted %v, %d, %v", line, l.accepted, n, err)
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
