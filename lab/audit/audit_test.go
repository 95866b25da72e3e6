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
	log := strings.Join([]string{
		get, // before
		strings.Replace(get, "ResponseComplete", "ResponseStarted", 1),
		get,
		`{"stage":"ResponseComplete","verb":"list","userAgent":"pgrotate","objectRef":{"resource":"pods"}}`,
		`{"stage":"ResponseComplete","verb":"list","userAgent":"kubelet/v1","objectRef":{"resource":"pods"},"responseObject":{"text":"pgrotate"}}`,
		`{"stage":"Response`,
	}, "\n")
	name := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(name, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Requests(name, int64(len(get)+1), "pgrotate", func(e Event) bool { return e.UserAgent == "pgrotate" })
	if want := map[string]int{"get pods/log": 1, "list pods": 1}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, want %v: %v", got, want, err)
	}
}
