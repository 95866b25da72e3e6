package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/lab/boot"
	"github.com/pgrotate/pgrotate/lab/debian"
	"github.com/pgrotate/pgrotate/lab/node"
)

// patience is how long a part that runs may be busy before it counts as broken.
const patience = 20 * time.Second

// up makes the lab ready, and changes nothing where it is.
func (l *lab) up(ctx context.Context) error {
	if err := l.usable(debian.Unusable()); err != nil {
		return err
	}
	if err := l.lock(ctx); err != nil {
		return err
	}
	steps := l.steps()
	if err := l.clean(ctx, steps); err != nil {
		return err
	}
	if err := os.MkdirAll(l.site.State, 0o711); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	// Made here, not by the kubelet, so that whoever removes the lab may remove it.
	if err := os.MkdirAll(l.site.Logins(), 0o755); err != nil {
		return fmt.Errorf("make the folder of the refused logins: %w", err)
	}
	if err := boot.Up(ctx, steps, l.log); err != nil {
		return err
	}
	if err := l.describe(); err != nil {
		return err
	}
	l.log.Say("the lab runs:\n%s", l.usage())
	return nil
}

// clean removes what an earlier lab left, unless it can be made whole: a fresh
// lab is ready sooner than a broken one is understood.
func (l *lab) clean(ctx context.Context, steps []boot.Step) error {
	if _, err := os.Stat(l.site.State); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	missing := slices.Sorted(maps.Keys(boot.Settle(ctx, steps, patience)))
	if len(missing) == 0 {
		return nil
	}
	l.log.Say("there is a lab, but not ready: %s", strings.Join(missing, ", "))
	if !slices.ContainsFunc(missing, func(name string) bool { return !replaceable(name) }) {
		return nil
	}
	l.log.Say("removing it")
	return l.remove(ctx, steps)
}

// down removes the lab.
func (l *lab) down(ctx context.Context) error {
	if err := l.lock(ctx); err != nil {
		return err
	}
	if err := l.remove(ctx, l.steps()); err != nil {
		return err
	}
	l.log.Say("the lab is removed")
	return nil
}

// rest leaves the processor to others until the next up.
func (l *lab) rest(ctx context.Context) error {
	if err := l.lock(ctx); err != nil {
		return err
	}
	return l.services().Rest(ctx)
}

// remove stops every part and removes the state.
func (l *lab) remove(ctx context.Context, steps []boot.Step) error {
	if err := boot.Down(ctx, steps, l.log); err != nil {
		return err
	}
	points, err := node.Mounts(l.site.State)
	if err != nil {
		return err
	}
	if len(points) > 0 { // what is mounted there would be removed with it
		return fmt.Errorf("remove %q: still mounted: %v", l.site.State, points)
	}
	return errors.Join(os.RemoveAll(l.site.State), os.RemoveAll(l.site.Description()))
}

// status tells of every part whether it is ready.
func (l *lab) status(ctx context.Context) error {
	steps := l.steps()
	missing := boot.Probe(ctx, steps)
	for _, s := range steps {
		if err := missing[s.Name]; err != nil {
			fmt.Printf("%-20s NOT READY: %v\n", s.Name, err)
			continue
		}
		fmt.Printf("%-20s ready   %s\n", s.Name, s.Where)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of %d parts are not ready", len(missing), len(steps))
	}
	fmt.Println(l.usage())
	return nil
}

// images builds the images' archives, for a cluster that cannot be given them.
func (l *lab) images(ctx context.Context) error {
	if err := l.builder().Start(ctx); err != nil {
		return err
	}
	for name, archive := range l.builder().Archives() {
		fmt.Println(archive, name)
	}
	return nil
}

func (l *lab) lock(ctx context.Context) error {
	return l.site.Lock(ctx, func() { l.log.Say("waiting for another lab command to end") })
}
