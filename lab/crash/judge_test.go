package crash

import (
	"errors"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
)

// judge breaks what the proofs look at: a judge that sees nothing proves nothing.
func (s *suite) judge(t *testing.T) {
	b := s.bench(t, false)
	if b == nil {
		t.FailNow()
	}
	before, err := b.Look()
	if err != nil {
		t.Fatal(err)
	}
	set := func(password string) {
		if err := b.SQL(b.Superuser, `ALTER ROLE "`+b.Name+`" PASSWORD '`+password+`'`); err != nil {
			t.Fatal(err)
		}
	}
	set("of-a-stranger")
	if err := b.Kept(); !errors.Is(err, errLost) {
		t.Errorf("a password that is stored nowhere: %v", err)
	}
	set(before.Verifier)
	b.GitHub.Store(fixture.Repository, fixture.GitHubName, "of-a-stranger", time.Now())
	if err := b.Settled(); !errors.Is(err, errDiffering) {
		t.Errorf("GitHub holds another password: %v", err)
	}
	b.GitHub.Store(fixture.Repository, fixture.GitHubName, before.Served(), time.Now())
	if err := b.SQL(b.Superuser, `ALTER ROLE "`+b.Name+`" NOLOGIN`); err != nil {
		t.Fatal(err)
	}
	if err := b.Settled(); err == nil {
		t.Error("a role that may not log in passes for one that does")
	}
	b.search("a text", "the token is "+b.Token)
	if len(b.hits) != 1 {
		t.Errorf("a token in a text: %q", b.hits)
	}
	judgeEmergency(t, b)
}

// judgeEmergency breaks what must hold after an emergency.
func judgeEmergency(t *testing.T, b *Bench) {
	if err := b.SQL(b.Superuser, `ALTER ROLE "`+b.Name+`" LOGIN`); err != nil {
		t.Fatal(err)
	}
	if ended, err := b.Run(switchingAlarm().inputs); err != nil || ended.Code != 0 {
		t.Fatalf("the emergency ended with %d: %v\n%s", ended.Code, err, ended.Said)
	}
	if err := b.Settled(); err != nil {
		t.Errorf("after an emergency: %v", err)
	}
	if err := b.SQL(b.Superuser, `ALTER ROLE "`+b.Name+`" PASSWORD 'of-a-stranger'`); err != nil {
		t.Fatal(err)
	}
	if err := b.Settled(); !errors.Is(err, errOpen) {
		t.Errorf("the former role has a password after an emergency: %v", err)
	}
	if err := b.SQL(b.Superuser, `ALTER ROLE "`+b.Name+`" PASSWORD NULL`); err != nil {
		t.Fatal(err)
	}
	if err := b.AddKey(b.Name, fixture.Journal, `previous={"user":"u","password":"of-a-stranger"}`); err != nil {
		t.Fatal(err)
	}
	if err := b.Settled(); !errors.Is(err, errKeeps) {
		t.Errorf("the journal keeps a password after an emergency: %v", err)
	}
}
