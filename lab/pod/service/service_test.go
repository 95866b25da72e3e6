package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
)

func env(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func TestAddress(t *testing.T) {
	for name, test := range map[string]struct{ env, want map[string]string }{
		"named keys": {
			map[string]string{"POSTGRES_HOST": "h", "POSTGRES_PORT": "1", "POSTGRES_USERNAME": "u",
				"POSTGRES_PASSWORD": "p@:/?#", "POSTGRES_DATABASE": "d", "POSTGRES_SSLMODE": "disable"},
			map[string]string{"host": "h", "user": "u", "password": "p@:/?#", "database": "d"},
		},
		"whole Secret": {
			map[string]string{"POSTGRES_HOST": "h", "username": "u", "password": "p", "database": "d"},
			map[string]string{"host": "h", "user": "u", "password": "p", "database": "d"},
		},
		"URL": {
			map[string]string{"DATABASE_URL": "postgres://u:p@h/d", "password": "other"},
			map[string]string{"host": "h", "user": "u", "password": "p", "database": "d"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := pgconn.ParseConfig(address(env(test.env)))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{"host": c.Host, "user": c.User, "password": c.Password, "database": c.Database}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNewLoginDoesNotShowThePassword(t *testing.T) {
	_, err := newLogin(env(map[string]string{"DATABASE_URL": "postgres://u:canary@h:port/d"}))
	if err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("error %v", err)
	}
}

func TestVerdictFollowsTheLastLogin(t *testing.T) {
	tally := newTally()
	for _, step := range []struct {
		add  outcome
		want string
	}{
		{outcome{sqlstate: accepted}, "healthy: 1 logins accepted, 0 refused, 0 without an answer"},
		{outcome{sqlstate: "28P01", message: "no"}, "unhealthy: 1 logins accepted, 1 refused, 0 without an answer; the last: no"},
		{outcome{message: "refused connection"},
			"unhealthy: 1 logins accepted, 1 refused, 1 without an answer; the last: refused connection"},
		{outcome{sqlstate: accepted}, "healthy: 2 logins accepted, 1 refused, 1 without an answer"},
	} {
		tally.add(step.add)
		healthy, line := tally.verdict()
		if line != step.want || healthy != strings.HasPrefix(step.want, "healthy") {
			t.Errorf("verdict %v %q, want %q", healthy, line, step.want)
		}
	}
}

func TestRecordHoldsRefusedLoginsOnly(t *testing.T) {
	folder := t.TempDir()
	r, err := openRecord(env(map[string]string{
		"LOGINS": folder, "POD": "core-1", "WORKLOAD": "core", "REVISION": "abc", "MARK": "r1"}))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	r.add(outcome{at: at, sqlstate: accepted})
	r.add(outcome{at: at, message: "no answer"})
	r.add(outcome{at: at, sqlstate: "28P01", message: "no"})
	r.Close()
	text, err := os.ReadFile(filepath.Join(folder, "core-1.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var got refusal
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	want := refusal{Time: at, Pod: "core-1", Workload: "core", Revision: "abc", Mark: "r1", SQLState: "28P01"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNoRecordWithoutAFolder(t *testing.T) {
	r, err := openRecord(env(nil))
	if err != nil {
		t.Fatal(err)
	}
	r.add(outcome{sqlstate: "28P01"})
	r.Close()
}

func TestWorkDoesNotCountTheLoginThatWasCutOff(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ticks := make(chan time.Time, 2)
	ticks <- time.Time{}
	ticks <- time.Time{}
	attempts, counted := 0, 0
	work(ctx, ticks, func(context.Context) outcome {
		if attempts++; attempts == 3 {
			cancel()
		}
		return outcome{}
	}, func(outcome) { counted++ })
	if attempts != 3 || counted != 2 {
		t.Errorf("%d attempts, %d counted", attempts, counted)
	}
}

func TestHealthCheckAsksTheService(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	tally := newTally()
	listener, err := answer(path, tally)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, test := range []struct {
		add  outcome
		want int
	}{{outcome{sqlstate: accepted}, 0}, {outcome{sqlstate: "28P01", message: "no"}, 1}} {
		tally.add(test.add)
		var out bytes.Buffer
		if code := check(t.Context(), path, &out, true); code != 0 {
			t.Errorf("it has begun, and the check ended with %d: %s", code, &out)
		}
		out.Reset()
		if code := check(t.Context(), path, &out, false); code != test.want {
			t.Errorf("exit code %d after %q", code, out.String())
		}
		if lines := strings.Count(out.String(), "\n"); lines != 1 {
			t.Errorf("%d lines: %q", lines, out.String())
		}
	}
}

func TestHealthCheckWithoutAService(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	if code := check(ctx, filepath.Join(t.TempDir(), "s"), &out, true); code != 1 || !strings.HasPrefix(out.String(), "unhealthy: ") {
		t.Errorf("exit code %d after %q", code, out.String())
	}
}
