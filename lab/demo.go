package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/rehearsal"
)

// demo rotates the platform's password once with the real program and shows it.
func (l *lab) demo(ctx context.Context) error {
	text, err := os.ReadFile(l.site.Description())
	if err != nil {
		return fmt.Errorf("read the lab's description, `make lab` writes it: %w", err)
	}
	var described labtest.Lab
	if err := json.Unmarshal(text, &described); err != nil {
		return fmt.Errorf("read the lab's description %q: %w", l.site.Description(), err)
	}
	folder, err := os.MkdirTemp("", "pgrotate-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the program: %w", err)
	}
	defer os.RemoveAll(folder)
	figures, err := rehearsal.Rehearsal{Lab: described, Source: "..", Folder: folder, Out: os.Stdout}.Run(ctx)
	if err != nil {
		return err
	}
	fmt.Print(figures)
	return nil
}
