package action

import (
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
	p.writeReport(result, meta)
	p.writeSummary(result, meta)
	p.writeOutputs(result, meta)
}

func (p *program) writeReport(result rotation.Result, meta report.Meta) {
	if p.config.Report == "" {
		return
	}
	document, err := report.JSON(result, meta)
	if err == nil {
		err = os.WriteFile(p.config.Report, []byte(p.keeper.Scrub(string(document))+"\n"), 0o644)
	}
	if err != nil {
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

func (p *program) writeOutputs(result rotation.Result, meta report.Meta) {
	if p.getenv("GITHUB_OUTPUT") == "" {
		return
	}
	line, err := report.Line(result, meta)
	if err != nil {
		p.console.line("the output \"report\" is empty: %v", err)
	}
	p.guarded("outputs", func() {
		for _, output := range report.Outputs(result) {
			p.files.SetOutput(output.Name, p.keeper.Scrub(oneLine(output.Value)))
		}
		p.files.SetOutput("report", p.keeper.Scrub(string(line)))
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
