// Command lab boots a real PostgreSQL, a real Kubernetes node and an emulator of
// GitHub's API on one machine:
//
//	lab up      boot it, or see that it runs
//	lab down    remove it
//	lab rest    end the pods that log in all the time; the next up starts them
//	lab status  tell which parts are ready
//	lab demo    rotate the platform's password once, with the real program
//	lab images  build the images of the pods, for an existing cluster
//	lab github  be the emulator
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/pgrotate/pgrotate/lab/site"
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
	s, err := site.New()
	if err != nil {
		return err
	}
	l := newLab(s, os.Getenv)
	commands := map[string]func(context.Context) error{
		"up": l.up, "down": l.down, "rest": l.rest, "status": l.status, "demo": l.demo, "images": l.images, "github": l.github.Serve,
	}
	if len(args) != 1 || commands[args[0]] == nil {
		return errors.New("usage: lab up|down|rest|status|demo|images|github")
	}
	return commands[args[0]](ctx)
}
