package action

import (
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// Config is every input of the action, read and validated.
type Config struct {
	Command  string
	Mode     string // planned or emergency
	Strategy string
	Reason   string

	PostgresURL      secret.Value
	PostgresPassword secret.Value
	PostgresCA       []byte
	PostgresPod      string
	Role             string
	Replicas         []string
	AlternateRole    string
	PasswordLength   int

	Kubeconfig  secret.Value
	KubeContext string
	Namespace   string
	Secret      string
	SecretKeys  []string
	Copies      []string
	Managed     string
	Workloads   []string
	Health      []string
	LogLines    int
	PrintLogs   string

	HealthSelector    string
	TerminateSessions string

	GitHubToken   secret.Value
	GitHubSecrets []string
	GitHubAPIURL  string
	Repository    string

	OnFailure      string
	OnDrift        string
	KeepPrevious   time.Duration
	RetireAfter    time.Duration
	MinimumAge     time.Duration
	MaximumAge     time.Duration
	RolloutTimeout time.Duration
	Timeout        time.Duration
	LockTimeout    time.Duration
	Report         string
	JobSummary     bool

	Notes []string // sentences about inputs: what this command does not obey, and what may go wrong
}

// read reads all inputs. It validates everything that can be judged without
// asking a server; the problems are left in in.
func read(in *inputs, keep func(string) secret.Value) Config {
	c := Config{
		Command:  in.choice("command", "rotate", "plan", "resume", "rollback", "check"),
		Mode:     in.choice("mode", "planned", "emergency"),
		Strategy: in.choice("strategy", rotation.InPlace, rotation.Alternate),
		Reason:   oneLine(in.text("reason")),

		PostgresURL:      in.secret("postgres-url", keep),
		PostgresPassword: in.secret("postgres-password", keep),
		PostgresPod:      in.text("postgres-pod"),
		Role:             in.text("postgres-role"),
		Replicas:         in.places("postgres-replicas"),
		AlternateRole:    in.text("postgres-alternate-role"),
		PasswordLength:   in.number("password-length", 36, 24, 128),

		// Not kept as a whole: its lines are ordinary words. The client keeps its tokens and keys.
		Kubeconfig:  secret.New(in.text("kubeconfig")),
		KubeContext: in.text("kube-context"),
		Namespace:   in.text("namespace"),
		Secret:      in.textOr("kubernetes-secret", "postgres-credentials"),
		SecretKeys:  in.list("kubernetes-secret-keys"),
		Copies:      in.list("kubernetes-secret-copies"),
		Managed:     in.choice("managed-secret", "refuse", "warn"),
		Workloads:   in.list("workloads"),
		Health:      in.argv("health-command"),
		LogLines:    in.number("log-lines", 50, 0, 10_000),
		PrintLogs:   in.choice("print-logs", "never", "on-failure", "always"),

		HealthSelector:    in.text("health-selector"),
		TerminateSessions: in.choice("terminate-sessions", "never", "stale"),

		GitHubToken:   in.secret("github-token", keep),
		GitHubSecrets: in.list("github-secrets"),
		GitHubAPIURL:  in.textOr("github-api-url", in.getenv("GITHUB_API_URL")),
		Repository:    in.getenv("GITHUB_REPOSITORY"),

		OnFailure:      in.choice("on-failure", "rollback", "stop"),
		OnDrift:        in.choice("on-drift", "refuse", "repair"),
		KeepPrevious:   in.duration("keep-previous", 24*time.Hour),
		RetireAfter:    in.duration("retire-after", 24*time.Hour),
		MinimumAge:     in.duration("minimum-age", 0),
		MaximumAge:     in.duration("maximum-age", 80*day),
		RolloutTimeout: in.duration("rollout-timeout", 10*time.Minute),
		Timeout:        in.duration("timeout", 30*time.Minute),
		LockTimeout:    in.duration("lock-timeout", time.Minute),
		Report:         in.text("report"),
		JobSummary:     in.flag("job-summary", true),
	}
	c.PostgresCA = readPEM(in, "postgres-ca")
	c.together(in)
	c.roles(in)
	c.urgent(in)
	return c
}

// urgent checks what an emergency needs. How an open rotation ends is a matter
// of its journal: `resume` has no mode.
func (c *Config) urgent(in *inputs) {
	switch {
	case c.Mode != string(rotation.Emergency):
		return
	case c.Command == "resume":
		c.resume()
		c.Notes = append(c.Notes, "`mode: emergency` means nothing to `resume`: the journal says what the open rotation is")
		return
	case c.Command == "check":
		c.Mode = string(rotation.Planned)
		c.Notes = append(c.Notes, "`mode: emergency` means nothing to `check`, which changes nothing")
		return
	case c.Command == "rollback":
		in.wrong("mode", "leave `mode` out; `command: rotate` with `mode: emergency` replaces a password that is compromised", "an emergency never goes back, and `command` is %q", c.Command)
	}
	if c.Reason == "" {
		in.wrong("reason", "say what happened in a few words, for example `reason: the password stood in a public build log`", "it is missing, and `mode: emergency` needs it")
	}
}

// resume makes c the configuration of a run that only finishes a rotation.
func (c *Config) resume() { c.Command, c.Mode = "resume", string(rotation.Planned) }

// together checks the inputs that depend on each other.
func (c Config) together(in *inputs) {
	if c.PostgresURL.IsZero() && c.PostgresPod == "" {
		in.wrong("postgres-url", "give the admin connection, or the pod that PostgreSQL runs in", "neither it nor `postgres-pod` is set")
	}
	if len(c.GitHubSecrets) > 0 && c.GitHubToken.IsZero() {
		in.wrong("github-token", "a fine-grained personal access token or an App token; GITHUB_TOKEN can never write secrets", "it is missing, and `github-secrets` is set")
	}
	if least := 2*c.RolloutTimeout + 2*time.Minute; c.Timeout < least {
		in.wrong("timeout", "raise it, or lower `rollout-timeout`", "%s is too short for a rollout of %s and the way back: at least %s", c.Timeout, c.RolloutTimeout, least)
	}
	for _, word := range c.Workloads {
		if (word == "auto" || word == "none") && len(c.Workloads) > 1 {
			in.wrong("workloads", "", "%q stands alone, or a list of kind/name without it", word)
		}
	}
}

// listed are the workloads that a list names; none where they are found, or left alone.
func (c Config) listed() []string {
	return slices.DeleteFunc(slices.Clone(c.Workloads), func(line string) bool { return line == "auto" || line == "none" })
}

// roles checks the names of the two login roles.
func (c Config) roles(in *inputs) {
	switch {
	case c.AlternateRole == "":
	case c.Role == "":
		in.wrong("postgres-alternate-role", "set `postgres-role` to the role that it is the twin of", "it is set, and `postgres-role` is not")
	case c.Role == c.AlternateRole:
		in.wrong("postgres-alternate-role", "the two login roles have different names", "it is the same as `postgres-role`")
	}
}

// readPEM reads certificates, as PEM or as base64 of PEM.
func readPEM(in *inputs, name string) []byte {
	text := in.text(name)
	pem := []byte(text)
	if text != "" && !strings.Contains(text, "-----BEGIN") {
		pem, _ = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	}
	switch remedy := "paste the certificates with their BEGIN and END lines, or `base64 -w0 ca.pem`"; {
	case text == "":
	case !strings.Contains(string(pem), "-----BEGIN"):
		in.wrong(name, remedy, "it is neither PEM nor base64 of PEM")
	case !x509.NewCertPool().AppendCertsFromPEM(pem):
		in.wrong(name, remedy, "it holds no certificate")
	default:
		return pem
	}
	return nil
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
