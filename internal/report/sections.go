package report

import (
	"slices"
	"strings"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// happened lists what went wrong. Where that is more than one thing, each
// stands with its remedy; the remedy of a single one opens what is to be done.
func (b builder) happened() section {
	all := found(b.Result, b.tidy)
	var rows []row
	for _, f := range all {
		cells := row{{Text: f.Text}}
		if len(all) > 1 && len(f.Hints) > 0 {
			cells = append(cells, b.cell(prose, strings.Join(f.Hints, "; ")))
		}
		rows = append(rows, cells)
	}
	return b.section("What happened", nil, rows)
}

func (b builder) next(end ending, wentWell bool) section {
	var steps []string
	if all := found(b.Result, b.tidy); !wentWell && len(all) == 1 {
		steps = all[0].Hints
	}
	var rows []row
	for _, text := range append(slices.Clone(steps), end.next...) {
		rows = append(rows, row{{Text: text}})
	}
	return b.section("What to do next", nil, rows)
}

// order is the runbook: the steps of equal rank run side by side.
func order(step string) string {
	switch step {
	case "journal":
		return "1"
	case "database":
		return "2"
	case "served Secret":
		return "3"
	case "cluster copies":
		return "4"
	case "restart", "GitHub":
		return "5"
	}
	return ""
}

// plan lists what would change where. A plan that was kept by a run which went
// on to do it says nothing that the steps do not say better.
func (b builder) plan() section {
	if b.Status != rotation.StatusPlanned && b.Status != rotation.StatusRefused {
		return section{}
	}
	lines := slices.Clone(b.Plan)
	slices.SortStableFunc(lines, func(x, y rotation.Line) int { return strings.Compare(order(x.Step), order(y.Step)) })
	var rows []row
	for _, line := range lines {
		rows = append(rows, row{b.cell(number, order(line.Step)), b.cell(prose, line.Step), b.cell(code, line.Target), b.change(line)})
	}
	title := "Plan"
	if b.Status == rotation.StatusRefused {
		title = "What was checked"
	}
	return b.section(title, []string{"Order", "Step", "Target", "Change"}, rows)
}

func (b builder) change(line rotation.Line) cell {
	switch {
	case line.Err != nil:
		return b.cell(bad, b.message(line.Err))
	case line.Change == "":
		return cell{Text: "left alone", Kind: aside}
	}
	return b.cell(prose, line.Change)
}

func (b builder) steps() section {
	var rows []row
	for _, step := range b.Steps {
		rows = append(rows, b.step(step))
	}
	s := b.section("Steps", []string{"Step", "Result", "Time", "Detail"}, rows)
	s.Fold = !b.walked()
	return s
}

// step shows one step. Where no step of the run failed, an error of a step is
// the reason for which there was nothing to do.
func (b builder) step(s rotation.StepResult) row {
	return row{b.cell(prose, s.Name), b.ended(s), b.cell(number, span(s.Elapsed)), b.cell(prose, b.came(s))}
}

func (b builder) ended(s rotation.StepResult) cell {
	if s.Err != nil && b.FailedStep != "" {
		return cell{Text: "failed", Kind: bad}
	}
	return cell{Text: "done", Kind: good}
}

// came is what came of a step. Many problems are not named twice.
func (b builder) came(s rotation.StepResult) string {
	if s.Err == nil {
		return s.Detail
	}
	if n := len(split("", s.Err)); n > 1 {
		return count(n, "problem", "problems") + ", named above"
	}
	return s.Err.Error()
}

func (b builder) workloads() section {
	var rows []row
	for _, t := range failuresFirst(b.Workloads) {
		rows = append(rows, row{b.cell(code, t.Name), restarted(t), b.cell(number, span(t.Elapsed)), b.detail(t)})
	}
	return b.section("Workloads", []string{"Workload", "Result", "Time", "Detail"}, rows)
}

func restarted(t rotation.Target) cell {
	switch {
	case t.Err == nil:
		return cell{Text: "restarted", Kind: good}
	case rotation.ClassOf(t.Err) == rotation.Unhealthy:
		return cell{Text: "unhealthy", Kind: bad}
	}
	return cell{Text: "not proven", Kind: bad}
}

func (b builder) detail(t rotation.Target) cell {
	return b.cell(prose, b.message(t.Err))
}

const gitHubSecret = "GitHub secret "

// copies lists the GitHub secrets, or the copies that are none.
func (b builder) copies(title string, onGitHub bool) section {
	var rows []row
	for _, t := range failuresFirst(b.Copies) {
		name, is := strings.CutPrefix(t.Name, gitHubSecret)
		if is == onGitHub {
			rows = append(rows, row{b.cell(code, name), b.written(t), b.cell(number, moment(t.UpdatedAt)), b.detail(t)})
		}
	}
	return b.section(title, []string{"Name", "Result", "Updated at", "Detail"}, rows)
}

func (b builder) written(t rotation.Target) cell {
	switch {
	case t.Err != nil:
		return cell{Text: "not proven", Kind: bad}
	case b.Status == rotation.StatusRolledBack:
		return cell{Text: "put back", Kind: good}
	case b.Status == rotation.StatusRotated:
		return cell{Text: "updated", Kind: good}
	}
	return cell{Text: "written", Kind: good}
}

func (b builder) warnings() section {
	var rows []row
	for _, text := range b.Warnings {
		rows = append(rows, row{b.cell(prose, text)})
	}
	return b.section("Warnings", nil, rows)
}
