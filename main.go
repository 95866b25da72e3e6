// Command pgrotate rotates the password of a PostgreSQL role everywhere it
// lives: in the database, the Kubernetes Secret, GitHub secrets and the pods.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/pgrotate/pgrotate/internal/action"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := action.Main(ctx, os.Args, os.Getenv, os.Stdout)
	stop()
	os.Exit(code)
}
