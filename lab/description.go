package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/emulator"
	"github.com/pgrotate/pgrotate/lab/platform"
	"github.com/pgrotate/pgrotate/lab/site"
)

// describe writes the file that PGROTATE_LAB names.
func (l *lab) describe() error {
	d, err := l.description()
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("describe the lab: %w", err)
	}
	part := l.site.Description() + ".part" // a reader finds the whole file or none
	if err := os.WriteFile(part, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("describe the lab: %w", err)
	}
	if err := os.Rename(part, l.site.Description()); err != nil {
		return fmt.Errorf("describe the lab: %w", err)
	}
	return nil
}

// description leaves out what an existing server or cluster does not tell.
func (l *lab) description() (labtest.Lab, error) {
	token, err := l.github.Token()
	if err != nil {
		return labtest.Lab{}, err
	}
	servers, err := l.servers()
	if err != nil {
		return labtest.Lab{}, err
	}
	d := labtest.Lab{
		PostgresURL: servers[0], Kubeconfig: l.kubeconfig(), Namespace: platform.Namespace,
		PostgresPod: fmt.Sprintf("%s/%s:%d", platform.Namespace, platform.PostgresPod, site.PostgresPod),
		GitHubURL:   emulator.URL(), GitHubToken: token, Logins: l.site.Logins(),
	}
	if l.server == "" {
		d.PostgresTrustURL, d.PostgresLog, d.PostgresCA = servers[1], l.scram.LogFile(), l.node.Authority.CA()
	}
	if l.cluster == "" {
		d.Audit = l.node.Audit()
	}
	return d, nil
}

// usage tells how to use the lab in a shell.
func (l *lab) usage() string {
	return strings.Join([]string{
		"export PGROTATE_LAB=" + l.site.Description() + "  # for the tests",
		"export KUBECONFIG=" + l.kubeconfig() + "  # for kubectl",
	}, "\n")
}

func (l *lab) kubeconfig() string {
	if l.cluster != "" {
		return l.cluster
	}
	return l.node.Kubeconfig()
}
