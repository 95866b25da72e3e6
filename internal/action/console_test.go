package action

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sethvargo/go-githubactions"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// GitHub's commands escape per cent signs and line breaks, and a line is folded:
// a search after that would find no such password.
func TestTextsAreScrubbedBeforeTheyAreEscaped(t *testing.T) {
	const password = "a%b  c@d"
	keeper := secret.NewKeeper(nil)
	keeper.Keep(password)
	var out bytes.Buffer
	w := keeper.Writer(&out)
	for _, github := range []*githubactions.Action{nil, githubactions.New(githubactions.WithWriter(w))} {
		c := &console{w: w, scrub: keeper.Scrub, github: github}
		c.annotate("error", "refused", "the server says "+password)
		c.annotate("warning", "pgrotate", "in a URL a%25b%20%20c%40d")
		c.line("folded: %s", password)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if said := out.String(); strings.Count(said, "***") != 6 || strings.Contains(said, "c@d") || strings.Contains(said, "40d") {
		t.Errorf("it shows:\n%s", said)
	}
}
