// Package rotationtest holds what every target of a rotation must pass: the
// promises that the interfaces of package rotation make, one test each. A
// target's own test gives it the real thing and a way to look at that from
// outside; the suites use nothing else.
package rotationtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// must ends the test where a call that has to work did not.
func must(t *testing.T, err error, doing string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// wantClass demands an error of the class that tells the run what to do, and
// that its text holds none of the secrets.
func wantClass(t *testing.T, err error, want rotation.Class, doing string, hidden ...secret.Value) {
	t.Helper()
	if err == nil {
		t.Fatalf("%s: no error, want one of class %q", doing, want)
	}
	if got := rotation.ClassOf(err); got != want {
		t.Errorf("%s: class %q, want %q: %v", doing, got, want, err)
	}
	text := fmt.Sprintf("%v %+v %q", err, err, rotation.Hints(err))
	for _, v := range hidden {
		if !v.IsZero() && strings.Contains(text, v.Reveal()) {
			t.Errorf("%s: the error holds a secret", doing)
		}
	}
}

// wantSame compares two looks from outside.
func wantSame(t *testing.T, doing, before, after string) {
	t.Helper()
	if before != after {
		t.Errorf("%s: it was %q, now it is %q", doing, before, after)
	}
}

// wantName demands a name that a person recognises and that holds no secret.
func wantName(t *testing.T, target fmt.Stringer, hidden ...secret.Value) {
	t.Helper()
	name := target.String()
	if strings.TrimSpace(name) == "" || strings.Contains(name, "\n") {
		t.Errorf("the target is called %q", name)
	}
	for _, v := range hidden {
		if !v.IsZero() && strings.Contains(name, v.Reveal()) {
			t.Error("the name holds a secret")
		}
	}
}
