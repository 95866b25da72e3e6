package action_test

import (
	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
)

// platform is what one scenario rotates.
type platform struct {
	*fixture.Platform
	before  *fixture.State  // what `remember` saw
	release func() *process // lets the held run go on, and waits for it

	sessions map[string]*pgx.Conn // that the script has opened, by their names
}

func (p *platform) unchanged() error { return p.Unchanged(p.before) }

func (p *platform) restored() error { return p.Restored(p.before) }

func (p *platform) consistent() error { return p.Consistent() }

func (p *platform) replayed() error { return p.Replayed() }
