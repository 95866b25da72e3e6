// Command lab boots a real PostgreSQL, a real Kubernetes node and a GitHub API
// emulator on one machine:
//
//	lab up      boot it, or see that it runs
//	lab down    remove it
//	lab status  tell which parts are ready
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: lab up|down|status")
	}
	lab, err := open()
	if err != nil {
		return err
	}
	switch args[0] {
	case "up":
		return lab.up(ctx)
	case "down":
		return lab.down(ctx)
	case "status":
		return lab.status(ctx)
	}
	return fmt.Errorf("unknown command %q: usage: lab up|down|status", args[0])
}
