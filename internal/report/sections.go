package report

import (
	"slices"
	"strings"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// happened lists what went wrong. Where that is more than one thing, each
// stands with its remedy; the remedy of a single one opens what is to be done.
func (b builder) happened() section {
	return table(b, "What happened", nil, b.problems, func(f finding) row {
		if len(b.problems) == 1 || len(f.Hints) == 0 {
			return row{b.cell(prose, f.Text)}
		}
		return row{b.cell(prose, f.Text), b.cell(prose, strings.Join(f.Hints, "; "))}
	})
}

func (b builder) next(end ending) section { return b.texts("What to do next", b.advice(end)) }

func (b builder) advice(end ending) []string {
	if len(b.problems) == 1 {
		return append(slices.Clone(b.problems[0].Hints), end.next...)
	}
	return end.next
}

// order is the place of a step in the runbook; steps of the same place run side
// by side.
func order(step string) int {
	switch step {
	case "journal":
		return 1
	case "database":
		return 2
	case "served Secret":
		return 3
	case "cluster copies":
		return 4
	case "standbys":
		return 5
	case "health":
		return 7
	case "sessions":
		return 8
	}
	return 6
}

// plan lists what would change where. A plan that was kept by a run which went
// on to do it says nothing that the steps do not say better.
func (b builder) plan() section {
	title := "Plan"
	switch b.Status {
	case rotation.StatusPlanned:
	case rotation.StatusRefused:
		title = "What was checked"
	default:
		return section{}
	}
	return table(b, title, []string{"Order", "Step", "Target", "Change"}, b.numbered(), func(line numbered) row {
		return row{b.cell(number, decimal(int64(line.order))), b.cell(label, line.Step), b.cell(code, line.Target), b.change(line.Line)}
	})
}

// numbered is a line of the plan with its number; lines of one number run side by
// side.
type numbered struct {
	rotation.Line
	order int // from 1
}

// numbered returns the plan in the order of the runbook.
func (b builder) numbered() (all []numbered) {
	lines := slices.Clone(b.Plan)
	slices.SortStableFunc(lines, func(x, y rotation.Line) int { return order(x.Step) - order(y.Step) })
	place, last := 0, 0
	for _, line := range lines {
		if now := order(line.Step); now != last {
			place, last = place+1, now
		}
		all = append(all, numbered{line, place})
	}
	return all
}

func (b builder) change(line rotation.Line) cell {
	switch {
	case line.Err != nil:
		return b.cell(bad, b.message(line.Err))
	case line.Change == "" && line.Step == "restart":
		return cell{Text: "left alone", Kind: aside}
	case line.Change == "":
		return cell{Text: "not possible now", Kind: bad} // and no reason to hold an emergency up: its warning says why
	}
	return b.cell(prose, line.Change)
}

func (b builder) steps() section {
	s := table(b, "Steps", []string{"Step", "Result", "Time", "Detail"}, b.Steps, b.step)
	s.Fold = !b.walked()
	return s
}

// step shows one step.
func (b builder) step(s rotation.StepResult) row {
	return row{b.cell(label, s.Name), b.ended(s), b.cell(number, span(s.Elapsed)), b.cell(prose, b.came(s))}
}

func (b builder) ended(s rotation.StepResult) cell {
	if s.Err != nil {
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
	return table(b, "Workloads", []string{"Workload", "Result", "Time", "Detail"}, failuresFirst(b.Workloads), func(t rotation.Target) row {
		return row{b.cell(code, t.Name), b.restarted(t), b.cell(number, span(t.Elapsed)), b.restart(t)}
	})
}

// restart tells how many pods carry the mark of the rotation, or what went wrong.
func (b builder) restart(t rotation.Target) cell {
	if n := len(t.Pods); t.Err == nil && n > 0 {
		return b.cell(prose, count(n, "new pod", "new pods"))
	}
	return b.detail(t)
}

func (b builder) restarted(t rotation.Target) cell {
	switch {
	case t.Err == nil && b.leftAlone(t.Name):
		return cell{Text: "left alone", Kind: aside}
	case t.Err == nil:
		return cell{Text: "restarted", Kind: good}
	case rotation.ClassOf(t.Err) == rotation.Unhealthy:
		return cell{Text: "unhealthy", Kind: bad}
	}
	return cell{Text: "unproven", Kind: bad}
}

// leftAlone tells whether the plan named a workload without a change to it.
func (b builder) leftAlone(name string) bool {
	return slices.ContainsFunc(b.Plan, func(line rotation.Line) bool {
		return line.Step == "restart" && line.Target == name && line.Change == "" && line.Err == nil
	})
}

func (b builder) detail(t rotation.Target) cell {
	return b.cell(prose, b.message(t.Err))
}

const gitHubSecret = "GitHub secret "

// copies lists the copies of one kind.
func (b builder) copies(title string, onGitHub bool) section {
	chosen := slices.DeleteFunc(failuresFirst(b.Copies), func(t rotation.Target) bool {
		return strings.HasPrefix(t.Name, gitHubSecret) != onGitHub
	})
	return table(b, title, []string{"Name", "Result", "Updated at", "Detail"}, chosen, func(t rotation.Target) row {
		return row{b.cell(code, strings.TrimPrefix(t.Name, gitHubSecret)), b.written(t), b.cell(number, moment(t.UpdatedAt)), b.detail(t)}
	})
}

func (b builder) written(t rotation.Target) cell {
	switch {
	case t.Err != nil && b.Status == rotation.StatusRolledBack: // it has taken nothing that had to be put back
		return cell{Text: "left as it was", Kind: bad}
	case t.Err != nil:
		return cell{Text: "unproven", Kind: bad}
	case b.Status == rotation.StatusRolledBack:
		return cell{Text: "put back", Kind: good}
	case b.Status == rotation.StatusRotated:
		return cell{Text: "updated", Kind: good}
	}
	return cell{Text: "written", Kind: good}
}

func (b builder) warnings() section { return b.texts("Warnings", b.Warnings) }
