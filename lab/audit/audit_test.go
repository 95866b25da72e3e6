package audit

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRequestsAreThoseOfTheSenderSince(t *testing.T) {
	const get = `{"stage":"ResponseComplete","verb":"get","userAgent":"pgrotate","objectRef":{"resource":"pods","subresource":"log"}}`
	since := strings.Join([]string{
		"",
		strings.Replace(get, "ResponseComplete", "ResponseStarted", 1),
		get,
		`{"stage":"ResponseComplete","verb":"list","userAgent":"pgrotate","objectRef":{"resource":"pods"}}`,
		`{"stage":"ResponseComplete","verb":"list","userAgent":"kubelet/v1","objectRef":{"resource":"pods"},"responseObject":{"text":"pgrotate"}}`,
		`{"stage":"Response`,
	}, "\n")
	name := filepath.Join(t.TempDir(), "audit.log")
	write(t, name, get)
	before, err := End(name)
	if err != nil {
		t.Fatal(err)
	}
	write(t, name, since)
	own := func(e Event) bool { return e.UserAgent == "pgrotate" }
	got, err := Requests(name, before, "pgrotate", own)
	if want := map[string]int{"get pods/log": 1, "list pods": 1}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, want %v: %v", got, want, err)
	}
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	write(t, name, get+since+since)
	if got, err := Requests(name, before, "pgrotate", own); err == nil {
		t.Errorf("of a log that was put away: %v", got)
	}
}

// write appends to a file.
func write(t *testing.T, name, text string) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
