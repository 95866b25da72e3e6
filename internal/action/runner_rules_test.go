package action_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommandFilesAreReadAsTheRunnerReadsThem(t *testing.T) {
	tests := []struct {
		name, text, trouble string
		want                map[string]string
	}{
		{name: "empty", want: map[string]string{}},
		{name: "a line", text: "a=b\n", want: map[string]string{"a": "b"}},
		{name: "the last counts", text: "a=b\n\na=c", want: map[string]string{"a": "c"}},
		{name: "a value with both signs", text: "a=b<<c=d\n", want: map[string]string{"a": "b<<c=d"}},
		{name: "a block", text: "a<<END\nb\n\nc=d\nEND\ne=f\n", want: map[string]string{"a": "b\n\nc=d", "e": "f"}},
		{name: "an empty block", text: "a<<END\nEND\n", want: map[string]string{"a": ""}},
		{name: "a block that does not end", text: "a<<END\nb\n", trouble: `matching delimiter not found "END"`},
		{name: "a delimiter with more around it is none", text: "a<<END\n END\nEND \n", trouble: "matching delimiter not found"},
		{name: "no delimiter", text: "a<<\n", trouble: `invalid format "a<<"`},
		{name: "no name", text: "=b\n", trouble: "invalid line"},
		{name: "no sign", text: "a\n", trouble: `invalid format "a"`},
	}
	for _, tt := range tests {
		got := map[string]string{}
		err := parsePairs(tt.text, got)
		switch {
		case tt.trouble != "":
			if err == nil || !strings.Contains(err.Error(), tt.trouble) {
				t.Errorf("%s: error %v, want %q", tt.name, err, tt.trouble)
			}
		case err != nil:
			t.Errorf("%s: %v", tt.name, err)
		default:
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
	}
}

func TestCommandsAreFoundWhereTheRunnerFindsThem(t *testing.T) {
	tests := []struct {
		line string
		want *command
	}{
		{"plain :: text::", nil},
		{"::no end", nil},
		{"::error::it%0Afailed 100%25", &command{name: "error", message: "it\nfailed 100%"}},
		{" \t::warning title=a%3Ab,file=c::d", &command{name: "warning", message: "d", fields: map[string]string{"title": "a:b", "file": "c"}}},
		{"anywhere ##[error]e", &command{name: "error", message: "e"}},
	}
	for _, tt := range tests {
		got, ok := parseCommand(tt.line)
		if ok != (tt.want != nil) {
			t.Errorf("%q is a command: %v", tt.line, ok)
		}
		if tt.want == nil {
			continue
		}
		if len(got.fields) == 0 {
			got.fields = nil
		}
		if diff := cmp.Diff(*tt.want, got, cmp.AllowUnexported(command{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.line, diff)
		}
	}
}

func TestOtherCommandsAreAnError(t *testing.T) {
	if err := (&runner{}).line("::set-output name=a::b"); err == nil {
		t.Error("a command that pgrotate does not use went through")
	}
}

func TestMasksCoverTheSpellingsOfTheRunner(t *testing.T) {
	r := &runner{}
	r.hide("first line\npass\"wo'rd&")
	for _, shown := range []string{`pass"wo'rd&`, `pass\"wo'rd&`, `pass"wo''rd&`, `pass%22wo%27rd%26`, `pass&quot;wo&apos;rd&amp;`, "cGFzcyJ3bydyZCY=", "YXNzIndvJ3JkJg==", "first line"} {
		if got := r.mask("a " + shown + " b"); got != "a *** b" {
			t.Errorf("%q is shown as %q", shown, got)
		}
	}
	if got := r.mask("pass"); got != "pass" {
		t.Errorf("a part is masked: %q", got)
	}
}

// The runner may read a line of stderr before the mask that stands on stdout.
func TestMasksDoNotCoverWhatWasShownBefore(t *testing.T) {
	r := &runner{folder: t.TempDir()}
	if _, err := r.environment(nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.finish("::add-mask::hunter2\nhunter2\n", "hunter2\n"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"hunter2", "***"}; !slices.Equal(r.log, want) {
		t.Errorf("the log is %q, want %q", r.log, want)
	}
}

func TestAnnotationsAreKeptUpToALimit(t *testing.T) {
	r := &runner{}
	for range annotationsKept + 5 {
		if err := r.line("::error title=t::" + strings.Repeat("x", 2*annotationText)); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.annotations) != annotationsKept || len(r.annotations[0]) > annotationText+20 {
		t.Errorf("%d annotations are kept, the first with %d bytes", len(r.annotations), len(r.annotations[0]))
	}
}

func TestALargeSummaryIsDropped(t *testing.T) {
	r := &runner{folder: t.TempDir(), masks: []string{"hunter2"}}
	for size, dropped := range map[int]bool{summaryBytes - 8: false, summaryBytes: true} {
		if err := os.WriteFile(filepath.Join(r.folder, "GITHUB_STEP_SUMMARY"), []byte("hunter2\n"+strings.Repeat("x", size)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := r.summarize(); (err != nil) != dropped {
			t.Errorf("a summary of %d bytes: %v", size+8, err)
		}
	}
	if strings.Contains(r.summary, "hunter2") {
		t.Error("the summary is not masked")
	}
}

func TestLargeOutputsAreRefused(t *testing.T) {
	r := &runner{}
	for value, refused := range map[string]bool{strings.Repeat("x", outputBytes/2): false, strings.Repeat("x", outputBytes/2+1): true, strings.Repeat("😀", outputBytes/4+1): true} {
		r.outputs = map[string]string{"report": value}
		if err := r.handOn(); (err != nil) != refused {
			t.Errorf("%d bytes of UTF-8: %v", len(value), err)
		}
	}
}

func TestInputsComeInTheRunnersSpelling(t *testing.T) {
	r, err := newRunner(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	env, err := r.environment(map[string]string{"kube-context": "prod"}, map[string]string{"API_URL": "https://github.example/api/v3"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"INPUT_KUBE-CONTEXT=prod", "INPUT_COMMAND=rotate", "INPUT_GITHUB-API-URL=https://github.example/api/v3", "GITHUB_API_URL=https://github.example/api/v3"} {
		if !slices.Contains(env, want) {
			t.Errorf("the environment lacks %s", want)
		}
	}
}
