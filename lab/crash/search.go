package crash

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// searchRun looks for secrets in what a run has said and written, and removes
// its folder: thousands of runs leave nothing behind.
func (b *Bench) searchRun(run *program.Run) error {
	if s, err := b.Look(); err == nil {
		b.passwords(s)
		if err := b.journal.caughtUp(s.Journal.ResourceVersion); err != nil {
			return err
		}
	}
	b.search("the output", unmasked(run.Said()))
	for _, name := range []string{program.Report, program.Summary, program.Output, program.State} {
		text, err := os.ReadFile(filepath.Join(run.Folder, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		b.search("the file "+name, string(text))
	}
	return os.RemoveAll(run.Folder)
}

// glance looks at what can be seen while a run is at work: when the password has just
// been written down, changed and served.
func (b *Bench) glance(r proxy.Request) {
	if !essential(r.Name()) {
		return
	}
	texts, err := b.places.Now(b.ctx)
	for _, text := range texts {
		b.search(text.Place, text.Text)
	}
	if err != nil && b.ctx.Err() == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.hits = append(b.hits, fmt.Sprintf("sessions and command lines are not looked at: %v", err))
	}
}

// essential tells the requests without which there is no rotation.
func essential(name string) bool {
	for _, word := range []string{"postgres ALTER ROLE", "postgres COMMIT", "PATCH secrets/", "PUT secrets/", "github PUT "} {
		if strings.Contains(name, word) && !strings.Contains(name, "dryRun") {
			return true
		}
	}
	return false
}

// keep makes a password one that must not be found.
func (b *Bench) keep(password string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.secrets.Add("a password of the role", password)
}

func (b *Bench) search(place, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.searched++
	b.hits = append(b.hits, b.secrets.In(place, text)...)
	if !b.showsStatements(place) {
		b.hits = append(b.hits, b.keys.In(place, text)...)
	}
}

// showsStatements tells whether ALTER ROLE may stand there, with the verifier: the
// administrator may not be allowed to keep it out.
func (b *Bench) showsStatements(place string) bool {
	return place == "pg_stat_statements" || place == "pg_stat_activity" || place == filepath.Base(b.Lab.PostgresLog)
}

// Leaks looks for secrets also in what the servers have logged and stored, and
// returns a line for each, and how many texts were searched, since it was called
// before.
func (b *Bench) Leaks() (hits []string, searched int, err error) {
	texts, err := b.places.Left(b.ctx)
	for _, text := range texts {
		b.search(text.Place, text.Text)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	hits, searched = b.hits, b.searched
	b.hits, b.searched = nil, 0
	return hits, searched, err
}

// unmasked leaves out what the runner takes out of the output itself.
func unmasked(said string) string {
	var kept strings.Builder
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, "::add-mask::") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
