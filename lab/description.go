package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/platform"
	"github.com/pgrotate/pgrotate/lab/site"
)

// describe writes the file that PGROTATE_LAB names.
func (l *lab) describe() error {
	scram, err := l.scram.URL()
	if err != nil {
		return err
	}
	trust, err := l.trust.URL()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(labtest.Lab{
		PostgresURL: scram, PostgresTrustURL: trust, PostgresLog: l.scram.LogFile(), PostgresCA: l.node.Authority.CA(),
		Kubeconfig: l.node.Kubeconfig(), Namespace: platform.Namespace, Audit: l.node.Audit(),
		PostgresPod: fmt.Sprintf("%s/%s:%d", platform.Namespace, platform.PostgresPod, site.PostgresPod),
		Logins:      l.site.Logins(),
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("describe the lab: %w", err)
	}
	// A reader finds the whole file or none.
	part := l.site.Description() + ".part"
	if err := os.WriteFile(part, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("describe the lab: %w", err)
	}
	return os.Rename(part, l.site.Description())
}
