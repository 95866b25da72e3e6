package versions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/boot"
	"github.com/pgrotate/pgrotate/lab/pki"
	"github.com/pgrotate/pgrotate/lab/postgres"
	"github.com/pgrotate/pgrotate/lab/site"
)

// TestVersions runs the tests of internal/postgres on each version, with two
// servers like the lab's. It needs no lab, and none of the tests may be skipped.
func TestVersions(t *testing.T) {
	t.Chdir("..") // where the sources are
	s, err := site.New()
	check(t, err)
	s.State += "-versions" // beside the lab, whose end removes its own
	check(t, s.Lock(t.Context(), func() { t.Log("waiting for another run to end") }))
	for _, p := range Pinned() {
		t.Run(p.Release(), func(t *testing.T) {
			began := time.Now()
			f, said, err := Contracts(t.Context(), "..", serve(t, s, p))
			if err != nil || f.Passed == 0 || len(f.Failed)+len(f.Skipped) > 0 {
				t.Errorf("failed: %q, skipped: %q: %v\n%s", f.Failed, f.Skipped, err, said)
			}
			fmt.Fprintf(os.Stdout, "versions: PostgreSQL %s: %s, %s\n", p.Release(), f, time.Since(began).Round(time.Second))
		})
	}
}

// serve runs two servers of p until the test has ended, and returns the file that
// describes them.
func serve(t *testing.T, s site.Site, p Programs) (description string) {
	t.Helper()
	folder := s.Folder(p.Release())
	authority := &pki.Authority{Folder: filepath.Join(folder, "pki")}
	server := func(name string, port int, hba string) postgres.Server {
		return postgres.Server{Name: name, Folder: filepath.Join(folder, name), Port: port, HBA: hba,
			Authority: authority, Programs: filepath.Join(folder, "programs", "bin")}
	}
	scram := server("postgres-version", site.PostgresVersion, postgres.Scram)
	trust := server("postgres-version-trust", site.PostgresVersionTrust, postgres.Trust)
	steps := []boot.Step{{Name: "authority", Part: authority},
		{Name: scram.Name, After: []string{"authority"}, Part: scram},
		{Name: trust.Name, After: []string{scram.Name}, Part: trust}} // which share the authority
	log := boot.NewLog(t.Output())
	remove := func() error { // also what a killed run has left
		return errors.Join(boot.Down(context.Background(), steps, log), os.RemoveAll(folder))
	}
	t.Cleanup(func() { check(t, remove()) })
	check(t, remove())
	check(t, os.MkdirAll(folder, 0o711))
	check(t, p.Get(t.Context(), s.Cache, filepath.Join(folder, "programs")))
	check(t, boot.Up(t.Context(), steps, log))
	return describe(t, p, scram, trust)
}

// describe writes what the tests need to know of servers that run p.
func describe(t *testing.T, p Programs, scram, trust postgres.Server) (file string) {
	t.Helper()
	d := labtest.Lab{PostgresURL: address(t, p, scram), PostgresTrustURL: address(t, p, trust),
		PostgresLog: scram.LogFile(), PostgresCA: scram.Authority.CA(), PostgresPrograms: scram.Programs}
	text, err := json.Marshal(d)
	check(t, err)
	file = filepath.Join(t.TempDir(), "lab.json")
	check(t, os.WriteFile(file, text, 0o600))
	return file
}

// address is the URL of a server that says itself that it is p.
func address(t *testing.T, p Programs, server postgres.Server) string {
	t.Helper()
	url, err := server.URL()
	check(t, err)
	conn, err := pgx.Connect(t.Context(), url)
	check(t, err)
	defer conn.Close(t.Context())
	if is := conn.PgConn().ParameterStatus("server_version"); is != p.Release() {
		t.Fatalf("the server is PostgreSQL %s, not %s", is, p.Release())
	}
	return url
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
