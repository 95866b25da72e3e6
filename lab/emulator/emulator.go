// Package emulator runs the emulator of GitHub's API as a process of the lab.
package emulator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/github/githubtest"
	"github.com/pgrotate/pgrotate/lab/process"
	"github.com/pgrotate/pgrotate/lab/site"
)

// Emulator is the part that stands in for GitHub.
type Emulator struct{ Site site.Site }

// Exists returns what the emulator knows from the start, besides its token.
func Exists() githubtest.Setup {
	return githubtest.Setup{
		Repositories:  []string{"acme/shop", "acme/infrastructure"},
		Environments:  []string{"acme/shop@staging", "acme/shop@production"},
		Organizations: []string{"acme"},
	}
}

// URL returns the base of the API.
func URL() string { return fmt.Sprintf("http://127.0.0.1:%d", site.GitHub) }

// Token returns the token that may write every secret.
func (e Emulator) Token() (string, error) {
	text, err := os.ReadFile(e.tokenFile())
	if err != nil {
		return "", fmt.Errorf("read the token of the emulator: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Start starts the emulator with a new token, as this program called with the
// argument "github".
func (e Emulator) Start(ctx context.Context) error {
	if e.process("").Running() {
		return nil // with the token that it has read
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if err := os.MkdirAll(e.folder(), 0o700); err != nil {
		return fmt.Errorf("make the folder of the emulator: %w", err)
	}
	if err := os.WriteFile(e.tokenFile(), []byte("github_pat_"+rand.Text()+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the token of the emulator: %w", err)
	}
	return e.process(program).Start(ctx)
}

// Ready asks the emulator whether a request has broken GitHub's rules.
func (e Emulator) Ready(context.Context) error {
	if err := e.process("").Alive(); err != nil {
		return err
	}
	_, err := githubtest.Remote{URL: URL()}.Violations()
	return err
}

// Stop ends the emulator.
func (e Emulator) Stop(ctx context.Context) error { return e.process("").Stop(ctx) }

// Serve is the process: it serves the emulator until ctx ends.
func (e Emulator) Serve(ctx context.Context) error {
	token, err := e.Token()
	if err != nil {
		return err
	}
	emulator, err := githubtest.NewServer()
	if err != nil {
		return err
	}
	exists := Exists()
	exists.Tokens = []githubtest.Token{{Value: token, Permissions: githubtest.AllPermissions()}}
	emulator.Setup(exists)
	server := &http.Server{
		Addr: strings.TrimPrefix(URL(), "http://"), Handler: emulator, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the emulator: %w", err)
	}
	return nil
}

func (e Emulator) process(program string) process.Process {
	return process.Process{
		Name: "github", Folder: e.folder(), Ports: []int{site.GitHub}, Dir: e.Site.Source,
		Args: []string{program, "github"},
	}
}

func (e Emulator) folder() string { return e.Site.Folder("github") }

func (e Emulator) tokenFile() string { return filepath.Join(e.folder(), "token") }
