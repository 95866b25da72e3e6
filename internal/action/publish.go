package action

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/pgrotate/pgrotate/internal/report"
	"github.com/pgrotate/pgrotate/internal/rotation"
)

// publish tells how it ended: annotation, job summary, outputs, JSON report. A
// file that cannot be written is named and changes nothing about the rotation.
func (p *program) publish(result rotation.Result, meta report.Meta) {
	for _, text := range result.Warnings {
		p.console.annotate("warning", "pgrotate", text)
	}
	if result.ExitCode() != 0 {
		title, message := report.Annotation(result, meta)
		p.console.annotate("error", title, message)
	}
	_, _ = fmt.Fprint(p.out, p.keeper.Scrub(report.Terminal(result, meta)))
	document, err := report.JSON(result, meta)
	if err != nil {
		p.console.line("the JSON report is missing: %v", err)
	}
	p.writeReport(document)
	p.writeSummary(result, meta)
	p.writeOutputs(result, document)
}

func (p *program) writeReport(document []byte) {
	if p.config.Report == "" {
		return
	}
	text := p.keeper.Scrub(string(document)) + "\n"
	if err := os.WriteFile(p.config.Report, []byte(text), 0o644); err != nil {
		p.console.line("the report is missing: %v", err)
	}
}

func (p *program) writeSummary(result rotation.Result, meta report.Meta) {
	if !p.config.JobSummary || p.getenv("GITHUB_STEP_SUMMARY") == "" {
		return
	}
	p.guarded("job summary", func() {
		p.files.AddStepSummary(p.keeper.Scrub(report.Summary(result, meta)))
	})
}

func (p *program) writeOutputs(result rotation.Result, document []byte) {
	if p.getenv("GITHUB_OUTPUT") == "" {
		return
	}
	p.guarded("outputs", func() {
		for _, output := range report.Outputs(result) {
			p.files.SetOutput(output.Name, p.keeper.Scrub(oneLine(output.Value)))
		}
		p.files.SetOutput("report", p.keeper.Scrub(compact(document)))
	})
}

// guarded survives the library, which panics where a command file is missing or
// cannot be written.
func (p *program) guarded(what string, write func()) {
	defer func() {
		if cause := recover(); cause != nil {
			p.console.line("the %s cannot be written: %v", what, cause)
		}
	}()
	write()
}

func compact(document []byte) string {
	var line bytes.Buffer
	if err := json.Compact(&line, document); err != nil {
		return ""
	}
	return line.String()
}
