package report

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

func TestOutputs(t *testing.T) {
	want := []Output{{"status", "rotated"}, {"rotation-id", "20260302-k7tq"}, {"username", "alfred_user"},
		{"rotated-at", "2026-03-02T04:17:06Z"}, {"failed-step", ""}, {"refused-window-ms", "11308"}}
	if diff := cmp.Diff(want, Outputs(rotatedCase())); diff != "" {
		t.Error(diff)
	}
	want = []Output{{"status", "refused"}, {"rotation-id", ""}, {"username", ""},
		{"rotated-at", ""}, {"failed-step", "inputs"}, {"refused-window-ms", ""}}
	if diff := cmp.Diff(want, Outputs(refusedInputsCase())); diff != "" {
		t.Error(diff)
	}
	for _, output := range Outputs(hostileCase()) {
		if strings.ContainsAny(output.Value, "\r\n") {
			t.Errorf("the output %s has more than one line: %q", output.Name, output.Value)
		}
	}
}

func TestAMeasuredWindowIsNeverZero(t *testing.T) {
	res := rotatedCase()
	res.RefusedWindow = 10 * time.Microsecond
	if ms := windowMillis(res); ms == nil || *ms != 1 {
		t.Errorf("10 µs are %v ms, want 1: nothing means not measured", ms)
	}
}

func TestAnnotationNamesTheFirstProblemAndItsRemedy(t *testing.T) {
	tests := map[string]struct{ title, message string }{
		"rotated": {}, "unchanged": {}, "planned": {},
		"refused": {"pgrotate: Refused, step preflight",
			"change the password of role \"alfred_user\": permission denied\nWhat to do: GRANT alfred_user TO pgrotate WITH ADMIN OPTION;\n2 more problems are in the job summary."},
		"unfinished": {"pgrotate: Unfinished, step GitHub",
			"write GitHub secret acme/shop@production DATABASE_URL: 503 Service Unavailable, tried 4 times in 61 s\nWhat to do: Run `command: resume` with the same inputs as soon as the cause is mended. A scheduled `rotate` does the same first."},
		"rotated-unhealthy": {"pgrotate: Rotated, 1 workload unhealthy",
			"restart deployment/contact-ingest: 1 of 2 pods is not ready after 10m0s\nWhat to do: look at `kubectl -n prod describe deployment contact-ingest`"},
	}
	for name, want := range tests {
		title, message := Annotation(allCases()[name], Meta{})
		if title != want.title || message != want.message {
			t.Errorf("%s: %q\n%s\nwant %q\n%s", name, title, message, want.title, want.message)
		}
	}
}

func TestAnnotationIsNeverCutByGitHub(t *testing.T) {
	res := fleet(20)
	res.FailedStep = strings.Repeat("@", 5000)
	title, message := Annotation(res, Meta{})
	if n := len([]rune(title)) + len([]rune(message)); n >= 4096 {
		t.Errorf("the annotation has %d characters", n)
	}
	if !strings.HasSuffix(message, "19 more problems are in the job summary.") {
		t.Errorf("the annotation does not tell how much more there is: %q", message[len(message)-80:])
	}
}

func TestSplit(t *testing.T) {
	a, b := &trouble{"refused", "a", "mend a"}, errors.New("b")
	tests := []struct {
		name string
		err  error
		want []finding
	}{
		{"single", a, []finding{{"a", []string{"mend a"}}}},
		{"wrapped", fmt.Errorf("do: %w", a), []finding{{"do: a", []string{"mend a"}}}},
		{"joined", errors.Join(a, nil, b), []finding{{"a", []string{"mend a"}}, {"b", nil}}},
		{"joined within joined", errors.Join(errors.Join(a, b), b), []finding{{"a", []string{"mend a"}}, {"b", nil}, {"b", nil}}},
		{"joined below a wrapper", fmt.Errorf("do: %w", errors.Join(a, b)), []finding{{"do: a", []string{"mend a"}}, {"do: b", nil}}},
		{"woven into a sentence", fmt.Errorf("%w, then %w", a, b), []finding{{"a, then b", []string{"mend a"}}}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, split("", tt.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestTheSameProblemIsNamedOnce(t *testing.T) {
	res := rotation.Result{Err: errors.Join(crashing(), crashing()), Workloads: []rotation.Target{{Err: crashing()}}}
	if all := found(res); len(all) != 1 {
		t.Errorf("named %d times: %v", len(all), all)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "", time.Microsecond: "1 ms", 999 * time.Millisecond: "999 ms", time.Second: "1.0 s", 59940 * time.Millisecond: "59.9 s",
		59960 * time.Millisecond: "1 min 0 s", 61200 * time.Millisecond: "1 min 1 s", time.Hour - time.Millisecond: "1 h 0 min", 90 * time.Minute: "1 h 30 min",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 xs", 1: "1 x", 999: "999 xs", 1000: "1,000 xs", 1234567: "1,234,567 xs"} {
		if got := count(n, "x", "xs"); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestEveryStatusHasItsOwnWords(t *testing.T) {
	seen := map[string]rotation.Status{}
	for _, status := range []rotation.Status{rotation.StatusRotated, rotation.StatusUnchanged, rotation.StatusPlanned, rotation.StatusRolledBack,
		rotation.StatusUnfinished, rotation.StatusFailed, rotation.StatusRefused, rotation.StatusBusy} {
		res := rotation.Result{Status: status}
		end := endingOf(res, usual, 0)
		if other, twice := seen[end.title]; twice {
			t.Errorf("%s and %s have the same title", status, other)
		}
		seen[end.title] = status
		if res.ExitCode() != 0 && len(end.next) == 0 {
			t.Errorf("%s does not say what to do next", status)
		}
	}
}

// A text that is cut first may keep the beginning of a secret.
func TestAnnotationIsScrubbedBeforeItIsCut(t *testing.T) {
	const password = "hunter2hunter2"
	res := fleet(2)
	res.Err = &trouble{"refused", strings.Repeat("x", annotatedText-5) + password, strings.Repeat("y", annotatedHint-5) + password}
	_, message := Annotation(res, Meta{Scrub: func(s string) string { return strings.ReplaceAll(s, password, "***") }})
	if strings.Contains(message, "hunt") || !strings.Contains(message, "x***") || !strings.Contains(message, "y***") {
		t.Errorf("the annotation is %q", message)
	}
}
