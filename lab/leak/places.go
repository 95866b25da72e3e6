package leak

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
)

// Places are where a run could leave a secret outside of what it says and
// writes itself: in what the servers log and store.
type Places struct {
	platform *fixture.Platform
	logs     map[string]int64 // up to where each file counts as read
	mu       sync.Mutex
	session  *pgx.Conn // nil: none yet
}

// Watch begins to watch the places of a platform: what is in the logs already
// does not count.
func Watch(p *fixture.Platform) (*Places, error) {
	w := &Places{platform: p, logs: map[string]int64{}}
	for _, path := range []string{p.Lab.PostgresLog, p.Lab.Audit} {
		if path == "" { // an existing server or cluster keeps its logs to itself
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("watch a log: %w", err)
		}
		w.logs[path] = info.Size()
	}
	return w, nil
}

// Text is what stands in a place.
type Text struct{ Place, Text string }

// Left is everything that stays after a run: annotations of the Secret, the
// journal and the pod templates, the pods, events, the server's statistics of statements,
// and what the servers have logged since Watch or the last call.
func (w *Places) Left(ctx context.Context) ([]Text, error) {
	texts, err := w.objects(ctx)
	if err != nil {
		return nil, err
	}
	statements, err := w.rows(ctx, "SELECT query FROM pg_stat_statements")
	if err != nil {
		return nil, err
	}
	texts = append(texts, Text{"pg_stat_statements", statements})
	for path, from := range w.logs {
		text, err := readLines(path, from)
		if err != nil {
			return nil, err
		}
		w.logs[path] = from + int64(len(text))
		texts = append(texts, Text{filepath.Base(path), text})
	}
	return texts, nil
}

// Now is what can be seen only while the program runs: the statements of all
// sessions, and the command lines of all processes.
func (w *Places) Now(ctx context.Context) ([]Text, error) {
	activity, err := w.rows(ctx, "SELECT query || ' ' || application_name FROM pg_stat_activity")
	if err != nil {
		return nil, err
	}
	lines, err := commandLines()
	return []Text{{"pg_stat_activity", activity}, {"/proc/*/cmdline", lines}}, err
}

// objects are the annotations of all objects of the namespace that a run
// writes, the pods and the events.
func (w *Places) objects(ctx context.Context) ([]Text, error) {
	p := w.platform
	secrets, err := p.Cluster.CoreV1().Secrets(p.Name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var texts []Text
	for _, s := range secrets.Items {
		texts = append(texts, Text{"the annotations of Secret " + s.Name, fmt.Sprint(s.ObjectMeta)})
	}
	deployments, err := p.Cluster.AppsV1().Deployments(p.Name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for _, d := range deployments.Items {
		texts = append(texts, Text{"Deployment " + d.Name, fmt.Sprint(d)})
	}
	pods, err := p.Cluster.CoreV1().Pods(p.Name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	running, err := json.Marshal(pods.Items)
	if err != nil {
		return nil, err
	}
	events, err := p.Cluster.CoreV1().Events(p.Name).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	all, err := json.Marshal(events.Items)
	return append(texts, Text{"the pods", string(running)}, Text{"the events", string(all)}), err
}

// rows asks the server in one session that stays open: Now is called often.
func (w *Places) rows(ctx context.Context, query string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.open(ctx); err != nil {
		return "", err
	}
	rows, err := w.session.Query(ctx, query)
	if err != nil {
		return "", err
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[*string])
	var all strings.Builder
	for _, line := range lines {
		if line != nil {
			fmt.Fprintln(&all, *line)
		}
	}
	return all.String(), err
}

func (w *Places) open(ctx context.Context) (err error) {
	if w.session != nil {
		return nil
	}
	if w.session, err = pgx.Connect(ctx, w.platform.Superuser); err != nil {
		return err
	}
	const statistics = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"
	if _, err = w.session.Exec(ctx, statistics); err != nil { // somebody else makes it at the same time
		_, err = w.session.Exec(ctx, statistics)
	}
	return err
}

// Close ends the session with the server.
func (w *Places) Close(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.session == nil {
		return nil
	}
	return w.session.Close(ctx)
}

// readLines reads a file up to the end of a line.
func readLines(path string, from int64) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	end, err := file.Seek(0, io.SeekEnd)
	if err == nil && end < from {
		err = fmt.Errorf("read %q: it was replaced meanwhile, what stood there is not searched", path)
	}
	if err != nil {
		return "", err
	}
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return "", err
	}
	text, err := io.ReadAll(file)
	return string(text[:bytes.LastIndexByte(text, '\n')+1]), err
}

// commandLines reads those of all processes; one that has ended meanwhile has none.
func commandLines() (string, error) {
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil {
			all.Write(text)
			all.WriteByte('\n')
		}
	}
	return all.String(), nil
}
