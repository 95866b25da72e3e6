package act

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// said is what act prints with --json, shortened.
const said = `{"job":"w/caller/rotate ","level":"info","msg":"  ⚙  ***","command":"add-mask","arg":"a secret","raw":"::add-mask::a secret\n"}
{"job":"w/caller/rotate ","level":"info","msg":"  ⚙  ::set-output:: status=unchanged","command":"set-output","name":"status","arg":"unchanged"}
{"job":"w/caller/rotate ","level":"info","msg":"  ⚙  ::set-output:: status=rotated","command":"set-output","name":"status","arg":"rotated"}
{"job":"w/other","level":"info","msg":"  ⚙  ::set-output:: status=planned","command":"set-output","name":"status","arg":"planned"}
{"job":"w/caller/rotate ","level":"info","stage":"Post","msg":"  ⚙  Summary - ### Rotated\n","command":"summary","content":"### Rotated\n"}
{"job":"w/caller/rotate ","level":"info","msg":"🏁  Job succeeded","jobResult":"success"}
Error: Job 'other' failed
`

func TestLog(t *testing.T) {
	log, err := readLog(strings.NewReader(said))
	check(t, err)
	if got := log.Output("rotate", "status"); got != "rotated" {
		t.Errorf("the output is %q", got)
	}
	if got := log.Of("Post").Summaries(); got != "### Rotated\n" {
		t.Errorf("the summary is %q", got)
	}
	if got := log.Of("Main").Summaries(); got != "" {
		t.Errorf("the summary of another stage is %q", got)
	}
	if diff := cmp.Diff(map[string]string{"w/caller/rotate": "success"}, log.Results()); diff != "" {
		t.Errorf("results (-want +got):\n%s", diff)
	}
	if strings.Contains(log.String(), "a secret") {
		t.Error("what a mask hides is shown")
	}
	if !log.Contains("Job 'other' failed") {
		t.Error("a line that is no JSON is lost")
	}
}
