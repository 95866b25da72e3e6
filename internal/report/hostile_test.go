package report

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// ours are the elements that the summary is made of.
var ours = []string{"p", "table", "tbody", "tr", "th", "td", "code", "ul", "li", "br", "a", "sub", "details", "summary", "html", "head", "body"}

func TestSummaryHoldsOnlyItsOwnElements(t *testing.T) {
	for name, res := range allCases() {
		root, err := html.Parse(strings.NewReader(Summary(res, usual)))
		if err != nil {
			t.Fatal(err)
		}
		for node := range root.Descendants() {
			if node.Type == html.ElementNode && !slices.Contains(ours, node.Data) {
				t.Errorf("%s: the summary holds the element %q", name, node.Data)
			}
		}
	}
}

// A blank line ends an HTML block; what follows it would be read as Markdown.
func TestSummaryReadsNothingOfAServerAsMarkdown(t *testing.T) {
	for name, res := range allCases() {
		for block := range strings.SplitSeq(Summary(res, usual), "\n\n") {
			markdown := !strings.HasPrefix(block, "<")
			if chart, ok := strings.CutPrefix(block, "```mermaid\n"); ok {
				isOurChart(t, name, chart)
				continue
			}
			if markdown && !strings.HasPrefix(block, "### ") && !strings.HasPrefix(block, "#### ") {
				t.Errorf("%s: a block is neither a heading nor HTML: %q", name, block)
			}
			if markdown && (strings.Contains(block, "\n") || strings.Contains(block, "orged")) {
				t.Errorf("%s: foreign text in a heading: %q", name, block)
			}
		}
	}
}

// isOurChart holds a timeline to words of ours, numbers, and one closing fence.
func isOurChart(t *testing.T, name, chart string) {
	t.Helper()
	body, after, _ := strings.Cut(chart, "```")
	if after != "" {
		t.Errorf("%s: something follows the timeline: %q", name, after)
	}
	for line := range strings.Lines(strings.TrimPrefix(body, "gantt\n    dateFormat x\n    axisFormat %s s\n")) {
		task := regexp.MustCompile(`^    ([a-zA-Z ]+) [0-9.]+ (ms|s|min|h)( \d+ (s|min))? :(done|crit), \d+, \d+\n$`).FindStringSubmatch(line)
		switch {
		case task != nil && (task[1] == "another step" || slices.Contains(timed, task[1])):
		case slices.Contains([]string{"before", "rotation", "way back", "end"}, strings.TrimSpace(strings.TrimPrefix(line, "    section "))):
		default:
			t.Errorf("%s: a line of the timeline: %q", name, line)
		}
	}
}

func TestSummaryMentionsNobody(t *testing.T) {
	summary := Summary(hostileCase(), usual)
	if strings.Contains(summary, " @acme #1 &lt;/td&gt;&lt;/table&gt; # Forged</li>") || !strings.Contains(summary, "@<!-- -->acme") {
		t.Error("a sentence of the summary mentions a person")
	}
}

func TestSummaryLinksToNothingButPages(t *testing.T) {
	meta := usual
	for address, want := range map[string]bool{"https://ghe.example/acme/shop/actions/runs/1": true, "javascript:alert(1)": false, "data:text/html,x": false} {
		meta.RunURL = address
		if got := strings.Contains(Summary(hostileCase(), meta), `<a href="`+address+`">`); got != want {
			t.Errorf("%q is a link: %v", address, got)
		}
	}
}

func TestTerminalHoldsNoCommandAndFitsTheScreen(t *testing.T) {
	for name, res := range allCases() {
		for line := range strings.Lines(Terminal(res, usual)) {
			line = strings.TrimSuffix(line, "\n")
			if strings.HasPrefix(strings.TrimSpace(line), "::") || strings.Contains(line, "##[") {
				t.Errorf("%s: the runner takes this line for a command: %q", name, line)
			}
			if utf8.RuneCountInString(line) > screen {
				t.Errorf("%s: a line of %d columns: %q", name, utf8.RuneCountInString(line), line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
				t.Errorf("%s: a line holds control characters: %q", name, line)
			}
		}
	}
}

func TestTerminalDefusesACommandAtTheStartOfALine(t *testing.T) {
	res := hostileCase()
	res.Steps = []rotation.StepResult{{Name: "::error::forged"}}
	text := Terminal(res, usual)
	if !strings.Contains(text, "∶:error::forged") || strings.Contains(text, "\n  ::error") {
		t.Errorf("the command at the start of a line is as it was:\n%s", text)
	}
}

func TestLongReportsStayReadable(t *testing.T) {
	res := fleet(600)
	summary := Summary(res, usual)
	if len(summary) >= largestSummary {
		t.Errorf("the summary has %d bytes, GitHub drops it", len(summary))
	}
	for _, words := range []string{"600 workloads unhealthy", "more stand in the JSON report", " more</summary>"} {
		if !strings.Contains(summary, words) {
			t.Errorf("the summary does not say %q", words)
		}
	}
	if text := Terminal(res, usual); !strings.Contains(text, "and 400 more in the JSON report") {
		t.Error("the terminal text does not say how much it leaves out")
	}
	document, err := JSON(res, usual)
	if err != nil || strings.Count(string(document), `"name": "deployment/`) != 600 {
		t.Errorf("the JSON report does not list everything (%v)", err)
	}
}

// fleet is a result as large and as hard to escape as can be.
func fleet(n int) rotation.Result {
	res := rolledBackCase()
	res.Workloads, res.Copies = nil, nil
	for i := range n {
		err := &trouble{"unhealthy", fmt.Sprintf("%d ", i) + strings.Repeat("@", 1000), strings.Repeat("`@", 1000)}
		res.Workloads = append(res.Workloads, workload(fmt.Sprintf("deployment/%d-%s", i, strings.Repeat("<", 300)), 1000, err))
		res.Copies = append(res.Copies, rotation.Target{Name: "copy"})
		res.Warnings = append(res.Warnings, strings.Repeat("@", 1000))
	}
	res.Err = errors.Join(res.Workloads[0].Err, res.Workloads[1].Err)
	return res
}

func TestSecretsAreScrubbedBeforeTheyAreEscaped(t *testing.T) {
	const password = `a<b&"c  d@e`
	meta := usual
	meta.Scrub = func(s string) string { return strings.ReplaceAll(s, password, "***") }
	res := rolledBackCase()
	res.Err = &trouble{"unhealthy", "log in: " + password, "try " + password}
	res.Reason, res.Warnings, res.Username, res.RotationID = password, []string{password}, password, password
	res.Steps = []rotation.StepResult{{Name: "verify", Detail: password}, {Name: password, Err: res.Err}}
	res.Workloads = []rotation.Target{{Kind: "workload", Name: password, Err: res.Err}}
	res.Copies = []rotation.Target{{Kind: "copy", Name: password, Err: res.Err}}
	document, err := JSON(res, meta)
	if err != nil {
		t.Fatal(err)
	}
	for form, text := range map[string]string{"summary": Summary(res, meta), "terminal": Terminal(res, meta), "JSON": string(document)} {
		text = html.UnescapeString(strings.ReplaceAll(strings.ReplaceAll(text, "<!-- -->", ""), "\u00a0", " "))
		for _, part := range []string{"a<b", `&"c`, `&\"c`, "d@e"} {
			if strings.Contains(text, part) {
				t.Errorf("the %s shows a part of the secret", form)
			}
		}
	}
}
