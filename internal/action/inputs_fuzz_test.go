package action

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/github"
	"github.com/pgrotate/pgrotate/internal/kube"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// FuzzInputs gives one input any text, and holds that the program neither
// panics nor forgets to say which input it complains about, and that what it
// accepts is within the bounds that action.yml promises.
func FuzzInputs(f *testing.F) {
	for _, seed := range []struct{ name, value string }{
		{"command", "rotate"}, {"command", "rotate\nplan"}, {"mode", "emergency"}, {"strategy", "in-place "}, {"reason", "a\nb\x00"},
		{"postgres-url", "postgres://a:b@[::1]/d"}, {"postgres-ca", "aGVsbG8="}, {"postgres-pod", "ns/pod:99999"}, {"password-length", "-0"},
		{"kubernetes-secret-keys", "KEY=url\nKEY=dsn"}, {"workloads", "auto\nnone"}, {"health-command", "/bin/sh\n-c\n#\n"}, {"log-lines", "1e3"},
		{"github-secrets", "a/b@c D=url\n@ X"}, {"minimum-age", "99999999999999999999d"}, {"keep-previous", "-1s"}, {"timeout", "3650d1h"}, {"job-summary", "TRUE"},
		{"kubeconfig", "\xff\xfe"},
	} {
		f.Add(seed.name, seed.value)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		if !slices.Contains(InputNames(), name) {
			name = InputNames()[len(name)%len(InputNames())]
		}
		in := &inputs{getenv: func(variable string) string {
			if variable == "INPUT_"+strings.ToUpper(name) {
				return value
			}
			return ""
		}}
		c := read(in, secret.New)
		_, err := kube.ParseMapping(c.SecretKeys)
		in.blame("kubernetes-secret-keys", err)
		_, err = github.ParseTargets(c.GitHubSecrets, "acme/shop")
		in.blame("github-secrets", err)
		wantNamed(t, in)
		wantBounded(t, c)
	})
}

func wantNamed(t *testing.T, in *inputs) {
	t.Helper()
	for _, err := range in.problems {
		named := slices.ContainsFunc(InputNames(), func(name string) bool { return strings.HasPrefix(err.Error(), "input `"+name+"`: ") })
		if !named {
			t.Errorf("which input is wrong is not said: %q", err)
		}
	}
}

func wantBounded(t *testing.T, c Config) {
	t.Helper()
	for what, d := range map[string]int64{"keep-previous": int64(c.KeepPrevious), "minimum-age": int64(c.MinimumAge),
		"rollout-timeout": int64(c.RolloutTimeout), "timeout": int64(c.Timeout), "lock-timeout": int64(c.LockTimeout)} {
		if d < 0 || d > int64(longest) {
			t.Errorf("%s is %d ns", what, d)
		}
	}
	if c.PasswordLength < 24 || c.PasswordLength > 128 || c.LogLines < 0 || c.LogLines > 10_000 {
		t.Errorf("%d characters, %d log lines", c.PasswordLength, c.LogLines)
	}
	if strings.ContainsAny(c.Reason, "\r\n") {
		t.Errorf("the reason has more than one line: %q", c.Reason)
	}
}
