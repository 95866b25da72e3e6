package action_test

import (
	"context"
	"net/url"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"
)

// openSession opens one that stays open until the script has ended.
func openSession(ts *testscript.TestScript, _ bool, args []string) {
	p := of(ts)
	conn, err := p.Session(args[0])
	ts.Check(err)
	ts.Defer(func() { _ = conn.Close(context.Background()) })
	if p.sessions == nil {
		p.sessions = map[string]*pgx.Conn{}
	}
	p.sessions[args[0]] = conn
}

func alive(ts *testscript.TestScript, neg bool, args []string) {
	p := of(ts)
	if goesOn := p.Alive(p.sessions[args[0]]); goesOn == neg {
		ts.Fatalf("session %q: alive %v", args[0], goesOn)
	}
}

// server is the host:port of the database as the program reaches it.
func (p *platform) server() string { return hostOf(p.Superuser) }

func hostOf(address string) string {
	u, _ := url.Parse(address)
	return u.Host
}
