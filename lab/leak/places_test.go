package leak

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
)

// planting is a place and how something gets there.
type planting struct {
	place string
	put   func(text string) error
}

// TestEveryPlaceIsSearched plants a secret in every place in every form, and
// expects that it is found: a search that cannot find proves nothing.
func TestEveryPlaceIsSearched(t *testing.T) {
	p, err := fixture.New(context.Background(), labtest.Open(t))
	t.Cleanup(func() { check(t, p.Close()) })
	check(t, err)
	check(t, p.Deploy("shop", 1))
	w, err := Watch(p)
	check(t, err)
	defer w.Close(context.Background())
	conn, err := pgx.Connect(t.Context(), p.Superuser)
	check(t, err)
	defer conn.Close(context.Background())
	secrets := map[string]string{}
	for _, planting := range slices.Concat(inCluster(t, p), inDatabase(t, p, conn), inProcess(t)) {
		secrets[planting.place] = rand.Text()
		check(t, planting.put(all(secrets[planting.place])))
	}
	texts, err := w.Left(t.Context())
	check(t, err)
	now, err := w.Now(t.Context())
	check(t, err)
	found := map[string]int{}
	for _, text := range append(texts, now...) {
		found[text.Place] = len(known(secrets[text.Place]).In(text.Place, text.Text))
	}
	for place, secret := range secrets {
		if want := len(strings.Fields(all(secret))); found[place] != want {
			t.Errorf("%s: %d of %d forms are found", place, found[place], want)
		}
	}
	fmt.Fprintf(os.Stdout, "leak: what was planted is found in all of %d places\n", len(secrets))
}

func inCluster(t *testing.T, p *fixture.Platform) []planting {
	ctx := t.Context()
	meta := metav1.ObjectMeta{Name: "planted"}
	patch := func(text string) []byte { return fmt.Appendf(nil, `{"metadata":{"annotations":{"planted":%q}}}`, text) }
	return []planting{
		{"the annotations of Secret " + fixture.Secret, func(text string) error {
			_, err := p.Cluster.CoreV1().Secrets(p.Name).Patch(ctx, fixture.Secret, types.MergePatchType, patch(text), metav1.PatchOptions{})
			return err
		}},
		{"Deployment shop", func(text string) error {
			body := fmt.Appendf(nil, `{"spec":{"template":%s}}`, patch(text))
			_, err := p.Cluster.AppsV1().Deployments(p.Name).Patch(ctx, "shop", types.MergePatchType, body, metav1.PatchOptions{})
			return err
		}},
		{"the pods", func(text string) error { // it fits on no node, and nothing runs
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "planted", Annotations: map[string]string{"planted": text}},
				Spec: corev1.PodSpec{NodeSelector: map[string]string{"planted": "nowhere"}, Containers: []corev1.Container{{Name: "planted", Image: "pgrotate.lab/pause:1"}}}}
			_, err := p.Cluster.CoreV1().Pods(p.Name).Create(ctx, pod, metav1.CreateOptions{})
			return err
		}},
		{"the events", func(text string) error {
			event := &corev1.Event{ObjectMeta: meta, Message: text, InvolvedObject: corev1.ObjectReference{Namespace: p.Name}}
			_, err := p.Cluster.CoreV1().Events(p.Name).Create(ctx, event, metav1.CreateOptions{})
			return err
		}},
		{filepath.Base(p.Lab.Audit), func(text string) error {
			object := &corev1.ConfigMap{ObjectMeta: meta, Data: map[string]string{"planted": text}}
			_, err := p.Cluster.CoreV1().ConfigMaps(p.Name).Create(ctx, object, metav1.CreateOptions{})
			return err
		}},
	}
}

func inDatabase(t *testing.T, p *fixture.Platform, conn *pgx.Conn) []planting {
	return []planting{
		{filepath.Base(p.Lab.PostgresLog), func(text string) error { return p.SQL(p.Superuser, "SELECT '"+text+"'") }},
		{"pg_stat_statements", func(text string) error { // a utility statement is kept with its constants
			return p.SQL(p.Superuser, `COMMENT ON ROLE "`+p.Name+`" IS '`+text+"'")
		}},
		{"pg_stat_activity", func(text string) error { // which keeps the last statement of a session
			_, err := conn.Exec(t.Context(), "SELECT '"+text+"'")
			return err
		}},
	}
}

func inProcess(t *testing.T) []planting {
	return []planting{{"/proc/*/cmdline", func(text string) error {
		cmd := exec.Command("sh", "-c", "read line", text)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		t.Cleanup(func() {
			_ = stdin.Close()
			_ = cmd.Wait() // it found no line
		})
		return cmd.Start()
	}}}
}

// all is a secret in every form that differs, a form a word.
func all(secret string) string {
	var words []string
	seen := map[string]bool{}
	for _, e := range Encodings() {
		if form := e.Encode(secret); !seen[form] {
			seen[form] = true
			words = append(words, form)
		}
	}
	return strings.Join(words, " ")
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
