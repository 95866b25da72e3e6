// Command service is a workload that needs a PostgreSQL role: it logs in with a
// new connection every 100 ms, or as often as EVERY says, with the credential it was started with, counts
// the logins and records those that were refused. Called as healthcheck it asks
// the running service how it is; with the argument begun, whether it has made its
// first login, with whatever answer. Told to end, it goes on for as long as LINGER
// says, as one that has work to finish.
//
// It reads POSTGRES_HOST, POSTGRES_PORT and POSTGRES_SSLMODE, and the credential
// from POSTGRES_USERNAME, POSTGRES_PASSWORD and POSTGRES_DATABASE, or from
// username, password and database, the keys of the Secret. A DATABASE_URL stands
// for all of them. Refused logins go to a file in the folder LOGINS.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// socket is where the service tells how it is.
const socket = "/service.sock"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if filepath.Base(os.Args[0]) == "healthcheck" {
		os.Exit(check(ctx, socket, os.Stdout, slices.Contains(os.Args, "begun")))
	}
	if err := serve(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(ctx context.Context) error {
	every, err := duration("EVERY", "100ms")
	if err != nil {
		return err
	}
	linger, err := duration("LINGER", "1ns")
	if err != nil {
		return err
	}
	login, err := newLogin(os.Getenv)
	if err != nil {
		return err
	}
	record, err := openRecord(os.Getenv)
	if err != nil {
		return err
	}
	defer record.Close()
	tally := newTally()
	answers, err := answer(socket, tally)
	if err != nil {
		return err
	}
	defer answers.Close()
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	work(lingering(ctx, linger), ticks.C, login.attempt, func(o outcome) {
		record.add(o)
		tally.add(o) // who asks how it is finds what it says in the log
	})
	_, line := tally.verdict()
	fmt.Println("ended,", line)
	return nil
}

// duration reads a variable of the environment that holds one above zero.
func duration(name, otherwise string) (time.Duration, error) {
	d, err := time.ParseDuration(cmp.Or(os.Getenv(name), otherwise))
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("read %s: %q is no duration like 100ms", name, os.Getenv(name))
	}
	return d, nil
}

// lingering ends so long after ctx.
func lingering(ctx context.Context, linger time.Duration) context.Context {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(linger, cancel) })
	return longer
}

// work makes an attempt now and at every tick until ctx ends; the attempt that
// ctx cuts off does not count.
func work(ctx context.Context, ticks <-chan time.Time, attempt func(context.Context) outcome, done func(outcome)) {
	for {
		o := attempt(ctx)
		if ctx.Err() != nil {
			return
		}
		done(o)
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
	}
}
