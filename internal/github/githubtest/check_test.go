package githubtest

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestJudgesItsOwnAnswers(t *testing.T) {
	d, err := loadDescription()
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("User-Agent", "test")
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("X-GitHub-Api-Version", apiVersion)
	c, err := d.open(r, "/repos/acme/shop/actions/secrets/NAME", nil)
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		`{"name":"NAME","created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z"}`: "",
		`{"name":"NAME","created_at":"2026-03-01T12:00:00Z"}`:                                     "updated_at",
		`{"name":5,"created_at":"2026-03-01T12:00:00Z","updated_at":"2026-03-01T12:00:00Z"}`:      "name",
	} {
		a := reply(200, nil)
		a.header.Set("Content-Type", "application/json")
		err := c.check(a.status, a.header, []byte(body))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
	if err := c.check(202, reply(202, nil).header, nil); err == nil {
		t.Error("a status that is not described passes")
	}
}
