package action_test

import (
	"slices"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// share makes a secret of the organization acme that these repositories may use.
func share(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	p.GitHub.Store("org:acme", args[0], p.Password, time.Now().Add(-24*time.Hour))
	p.GitHub.Share("acme", args[0], "selected", args[1:]...)
}

// sharedWith demands that exactly these repositories may use it.
func sharedWith(ts *testscript.TestScript, _ bool, args []string) {
	visibility, repositories := of(ts).GitHub.Shared("acme", args[0])
	if visibility != "selected" || !slices.Equal(repositories, args[1:]) {
		ts.Fatalf("%s is for %s %q", args[0], visibility, repositories)
	}
}

// onGitHub demands that the secret there holds the served password.
func onGitHub(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	now, err := p.Look()
	ts.Check(err)
	if value, _ := p.GitHub.Secret(args[0], args[1]); value != now.Served() {
		ts.Fatalf("secret %s of %s holds another password", args[1], args[0])
	}
}
