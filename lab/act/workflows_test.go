package act

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
)

// ci builds the action's image out of the workspace, and is told a refusal.
func ci(t *testing.T, b *bench) {
	folder := filepath.Join(t.TempDir(), "pgrotate")
	check(t, Checkout(t.Context(), b.source, folder))
	check(t, Repository(t.Context(), folder, "pgrotate/pgrotate"))
	log, success, err := b.alone(t, Call{Repository: folder, Workflow: "ci.yml", Event: "push", Job: "action"}).Wait()
	check(t, err)
	if !success {
		t.Fatalf("the run failed:\n%s", log)
	}
	want(t, log, "action", "status", "refused")
	want(t, log, "action", "failed-step", "inputs")
}

// quickStart takes the workflow out of the README, first as it stands there, then
// with the change that it tells to make.
func quickStart(t *testing.T, b *bench) {
	p := b.platform(t, 1)
	before, err := p.Look()
	check(t, err)
	workflow := strings.ReplaceAll(quickStartOf(t, b.checkout), ": production\n", ": "+p.Name+"\n")
	secrets := b.secrets(t, p)
	secrets["ADMIN_DATABASE_URL"] = encrypted(t, p.AdminURL())

	plan := b.repository(t, map[string]string{workflows + "password.yml": workflow})
	log, success := b.run(t, p, Call{Repository: plan, Workflow: "password.yml", Event: "workflow_dispatch", Secrets: secrets})
	ended(t, log, success, true, "Planned")
	want(t, log, "rotate", "status", "planned")
	check(t, p.Unchanged(before))

	rotate := b.repository(t, map[string]string{workflows + "password.yml": strings.Replace(workflow, "command: plan", "command: rotate", 1)})
	log, success = b.run(t, p, Call{Repository: rotate, Workflow: "password.yml", Event: "workflow_dispatch", Secrets: secrets})
	ended(t, log, success, true, "Rotated")
	want(t, log, "rotate", "status", "rotated")
	now, err := p.Look()
	check(t, err)
	p.GitHub.Store(fixture.Repository, fixture.GitHubName, now.Served(), time.Now()) // of which that workflow knows nothing
	rotated(t, p, log.Output("rotate", "rotation-id"))
}

// block is an indented YAML block of a Markdown list.
var block = regexp.MustCompile("(?s)   ```yaml\n(   name: rotate\n.*?)   ```\n")

func quickStartOf(t *testing.T, checkout string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(checkout, "README.md"))
	check(t, err)
	found := block.FindSubmatch(text)
	if found == nil {
		t.Fatal("the README has no quick start")
	}
	return strings.ReplaceAll("\n"+string(found[1]), "\n   ", "\n")
}

// caller is a workflow of another repository, which uses what the rotation tells.
const caller = `name: from elsewhere
on: workflow_dispatch
permissions: {}
jobs:
  password:
    uses: pgrotate/pgrotate/.github/workflows/rotate.yml@v1
    with:
      environment: production
      namespace: NAMESPACE
      health-command: /healthcheck
      github-secrets: DATABASE_PASSWORD
      reason: a change of staff
    secrets: inherit
  told:
    needs: password
    runs-on: ubuntu-latest
    steps:
      - env:
          STATUS: ${{ needs.password.outputs.status }}
          ID: ${{ needs.password.outputs.rotation-id }}
          REPORT: ${{ needs.password.outputs.report }}
        run: |
          test "$STATUS" = rotated
          test "$(jq --raw-output .rotation_id <<< "$REPORT")" = "$ID"
          printf 'told of %s\n' "$ID"
`

func (b *bench) call(t *testing.T, p *fixture.Platform) Call {
	folder := b.repository(t, map[string]string{workflows + "password.yml": strings.Replace(caller, "NAMESPACE", p.Name, 1)})
	return Call{Repository: folder, Workflow: "password.yml", Event: "workflow_dispatch", Secrets: b.secrets(t, p)}
}

func called(t *testing.T, b *bench) {
	p := b.platform(t, 1)
	log, success := b.run(t, p, b.call(t, p))
	ended(t, log, success, true, "Rotated", "a change of staff", shop)
	id := log.Output("rotate", "rotation-id")
	check(t, missing(log, "told of "+id))
	rotated(t, p, id)
}

// targetOf is a line of rotation-targets.json.
func targetOf(p *fixture.Platform, name, schedule string) map[string]string {
	return map[string]string{
		"name": name, "environment": name, "namespace": p.Name, "secret": fixture.Secret, "role": p.Name,
		"schedule": schedule, "health-command": "/healthcheck",
	}
}

// fleet is two targets: of the first GitHub holds a copy, and its password is old.
// One account serves both, because act knows no environments.
func (b *bench) fleet(t *testing.T) (old, young *fixture.Platform, call Call) {
	old, young = b.platform(t, 1), b.platform(t, 1)
	age(t, old, 40*24*time.Hour)
	staging := targetOf(old, "staging", "monthly")
	staging["github-secrets"] = fixture.GitHubName
	call = Call{
		Repository: b.copied(t, staging, targetOf(young, "production", "quarterly")), Workflow: "rotate-scheduled.yml", Event: "schedule",
		Secrets: b.secrets(t, old), Variables: map[string]string{"PGROTATE_SCHEDULE": "on"},
	}
	call.Secrets["ADMIN_DATABASE_URL"] = encrypted(t, b.lab.PostgresURL)
	call.Secrets["KUBECONFIG_BASE64"] = b.kubeconfig(t, "")
	return old, young, call
}

// age makes a password as old as that.
func age(t *testing.T, p *fixture.Platform, old time.Duration) {
	t.Helper()
	patch := `{"metadata":{"annotations":{"pgrotate.io/rotated-at":"` + time.Now().UTC().Add(-old).Format(time.RFC3339) + `"}}}`
	_, err := p.Cluster.CoreV1().Secrets(p.Name).Patch(t.Context(), fixture.Secret, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	check(t, err)
}

func cron(schedule string) map[string]string { return map[string]string{"schedule": schedule} }

// weekly rotates the one that is due, leaves the other one alone, and closes what
// an earlier weekly run has found.
func weekly(t *testing.T, b *bench) {
	old, young, call := b.fleet(t)
	before, err := young.Look()
	check(t, err)
	call.Payload = cron("23 3 * * 2")
	call.Environment = map[string]string{"OPEN_ISSUE": "7"}
	log, success := b.finish(t, b.start(t, old, call), old, young)
	ended(t, log, success, true, "Rotated", "Unchanged")
	rotated(t, old, "")
	check(t, young.Unchanged(before))
	check(t, missing(log, "gh issue list --label pgrotate-rotation", "gh issue close 7"))
	if log.Contains("gh issue create") || log.Contains("gh issue comment") {
		t.Error("a finding was told")
	}
}

// daily finds one that is overdue. What follows is an issue, which act does not
// come to: it ends a run at the first called workflow that fails. So the job that
// opens one is shown a failure where there is none, and then that all is well.
func daily(t *testing.T, b *bench) {
	old, young, call := b.fleet(t)
	call.Payload = cron("37 4 * * *")
	age(t, young, 100*24*time.Hour)
	log, success := b.finish(t, b.start(t, old, call), old, young)
	ended(t, log, success, false, "Overdue")

	age(t, young, 0)
	file := filepath.Join(call.Repository, workflows, "rotate-scheduled.yml")
	text, err := os.ReadFile(file)
	check(t, err)
	failed := strings.ReplaceAll(string(text), "env.WELL != 'true'", "true")
	check(t, os.WriteFile(file, []byte(failed), 0o644))
	log, success = b.finish(t, b.start(t, old, call), old, young)
	ended(t, log, success, true, "Nothing found")
	check(t, missing(log, "gh label create pgrotate", "gh issue create --label pgrotate", "gh< - [a job]("))

	check(t, os.WriteFile(file, text, 0o644))
	call.Environment = map[string]string{"OPEN_ISSUE": "7"}
	log, success = b.finish(t, b.start(t, old, call), old, young)
	ended(t, log, success, true, "Nothing found")
	check(t, missing(log, "gh issue close 7"))
}

func emergency(t *testing.T, b *bench) {
	p := b.platform(t, 1)
	target := targetOf(p, "staging", "monthly")
	target["github-secrets"] = fixture.GitHubName
	log, success := b.run(t, p, Call{
		Repository: b.copied(t, target), Workflow: "rotate-emergency.yml", Event: "workflow_dispatch", Secrets: b.secrets(t, p),
		Payload: map[string]any{"inputs": map[string]any{
			"target": "staging", "environment": "staging", "reason": "found in a paste", "strategy": "in-place", "plan-first": "true",
		}},
	})
	ended(t, log, success, true, "Planned", "Emergency: rotated", "found in a paste")
	rotated(t, p, log.Output("rotate", "rotation-id"))
	now, err := p.Look()
	check(t, err)
	if now.Journal.Data["previous"] != nil {
		t.Error("the journal keeps the password that has leaked")
	}
}

// cancelled ends a run in the middle; the post step finishes the rotation.
func cancelled(t *testing.T, b *bench) {
	p := b.platform(t, lasting)
	running := b.start(t, p, b.call(t, p))
	id := rotating(t, p, running)
	check(t, b.runner.HandOver(t.Context()))
	check(t, running.Cancel())
	check(t, b.runner.KillAction(t.Context())) // as GitHub's runner does ten seconds later
	log, success := b.finish(t, running, p)
	ended(t, log.Of("Post"), success, false, "Rotated")
	rotated(t, p, id)
}

// resumed kills runner and containers in the middle; nothing but the next run of
// another workflow is left to finish the rotation.
func resumed(t *testing.T, b *bench) {
	p := b.platform(t, lasting)
	running := b.start(t, p, b.call(t, p))
	id := rotating(t, p, running)
	check(t, running.Kill())
	check(t, b.runner.KillAction(t.Context()))
	<-running.Done()
	now, err := p.Look()
	check(t, err)
	if phase := now.Journal.Annotations["pgrotate.io/phase"]; phase != "forward" {
		t.Fatalf("the journal is %q, nothing was left to resume", phase)
	}
	log, success := b.run(t, p, Call{
		Repository: b.copied(t), Workflow: "resume.yml", Event: "schedule", Secrets: b.secrets(t, p),
		Variables: map[string]string{"PGROTATE_NAMESPACE": p.Name, "PGROTATE_GITHUB_SECRETS": fixture.GitHubName},
	})
	ended(t, log, success, true, "Rotated")
	rotated(t, p, id)
}
