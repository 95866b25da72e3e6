package report

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// urgentCases are the results of emergencies and of rollbacks, and what else
// only a person or the post step asks for.
func urgentCases() map[string]rotation.Result {
	return map[string]rotation.Result{
		"emergency-rotated":    emergencyCase(),
		"emergency-unfinished": emergencyUnfinishedCase(),
		"emergency-unsure":     emergencyUnsureCase(),
		"emergency-unhealthy":  emergencyUnhealthyCase(),
		"emergency-refused":    emergencyRefusedCase(),
		"emergency-planned":    emergencyPlannedCase(),
		"rollback-unfinished":  rollbackUnfinishedCase(),
		"rollback-finished":    rollbackFinishedCase(),
		"rollback-failed":      rollbackFailedCase(),
		"rollback-refused":     rollbackRefusedCase(),
		"post-finished":        postFinishedCase(),
		"mended":               mendedCase(),
	}
}

// metaOf is what the report of a case is told beside its result.
func metaOf(name string) Meta {
	meta := usual
	switch {
	case name == "unchanged", name == "rotated":
		meta.MinimumAge = 83 * 24 * time.Hour
	case name == "emergency-planned":
		meta.Command = "plan"
	case name == "emergency-unhealthy":
		meta.Command = "resume"
	case strings.HasPrefix(name, "check-"):
		meta.Command = "check"
	case strings.HasPrefix(name, "rollback-"):
		meta.Command = "rollback"
	case name == "post-finished":
		meta.Command, meta.Post = "resume", true
	}
	return meta
}

func lingering() []string {
	return []string{
		"role \"alfred_user\" is a member of reporting: whatever was done with their rights stays",
		"in database \"alfred\" role \"alfred_user\" owns SECURITY DEFINER functions: whoever may call one can act as the role, and change its password again: public.refresh_totals()",
		"what role \"alfred_user\" owns in other databases than \"alfred\" was not looked at: archive, postgres",
	}
}

func emergencyCase() rotation.Result {
	res := rotatedCase()
	res.Mode, res.Reason, res.Lingering = rotation.Emergency, "the password stood in a public build log", lingering()
	res.Steps[6].Detail = `role "alfred_user" has the password since 2026-03-02T04:17:06Z, 7 sessions were ended`
	res.Steps[len(res.Steps)-1].Detail = "nothing of the rotation is kept"
	return res
}

// The steps of somebody else's emergency shut nothing out that this one is about.
func TestEmergencyThatIsNotBegunIsNotCalledShutOut(t *testing.T) {
	for _, strategy := range []string{rotation.InPlace, rotation.Alternate} {
		res := emergencyUnfinishedCase()
		res.Strategy, res.Others = strategy, true
		if end := emergencyUnfinished(res); strings.Contains(end.title, "shut out") || !strings.Contains(end.meaning, "another one") || len(end.next) != 2 {
			t.Errorf("%s: %+v", strategy, end)
		}
	}
}

// In place one role is exchanged, and another one may be open still.
func TestEmergencyThatLeavesARoleIsNotCalledShutOut(t *testing.T) {
	res := emergencyUnfinishedCase()
	res.Strategy, res.FormerRole = rotation.InPlace, "alfred_user_alt"
	if end := emergencyUnfinished(res); strings.Contains(end.title, "shut out") || !strings.Contains(strings.Join(end.next, "\n"), `ALTER ROLE "alfred_user_alt" NOLOGIN`) {
		t.Errorf("%+v", end)
	}
}

// emergencyUnfinishedCase has shut the compromised password out and not reached
// everybody.
// What was done for somebody else's emergency says nothing of the own one.
func TestEmergencyIsJudgedByItsOwnSteps(t *testing.T) {
	for strategy, step := range map[string]string{rotation.InPlace: "database", rotation.Alternate: "revoke"} {
		res := emergencyUnsureCase()
		res.Strategy = strategy
		res.Steps = []rotation.StepResult{done("journal", 1, ""), done(step, 1, ""), done("commit", 1, ""), done("journal", 1, "")}
		if end := emergencyUnfinished(res); strings.Contains(end.title, "shut out") {
			t.Errorf("%s: %q, with no step after the journal", strategy, end.title)
		}
		res.Steps = append(res.Steps, done(step, 1, ""))
		if end := emergencyUnfinished(res); !strings.Contains(end.title, "shut out") {
			t.Errorf("%s: %q, with the step %q done", strategy, end.title, step)
		}
	}
}

func emergencyUnfinishedCase() rotation.Result {
	res := emergencyCase()
	err := errors.New(`write GitHub secret acme/shop@production DATABASE_URL: 503 Service Unavailable, tried 4 times in 61 s`)
	res.Status, res.FailedStep, res.Err, res.RefusedWindow = rotation.StatusUnfinished, "GitHub", errors.Join(err, crashing()), 0
	res.Steps = append(res.Steps[:9], broke("GitHub", 61200, err), broke("restart", 62000, crashing()))
	res.Plan = append(planLines(), rotation.Line{Step: "GitHub", Target: "GitHub secret acme/docs DATABASE_URL", Change: "create"})
	res.Targets = toDo(res.Plan)
	res.Workloads = []rotation.Target{workload("deployment/alfred-core", 11120, nil), workload("deployment/contact-ingest", 62000, crashing()), workload("statefulset/postgres", 0, nil)}
	res.Copies = []rotation.Target{gitHubCopy("acme/shop DATABASE_PASSWORD", altered.Add(time.Second), nil), gitHubCopy("acme/shop@production DATABASE_URL", time.Time{}, err)}
	return res
}

// emergencyUnsureCase lost the database while it closed the role.
func emergencyUnsureCase() rotation.Result {
	res := emergencyCase()
	res.Err = errors.New(`end the sessions of role "alfred_user": unexpected EOF`)
	res.Status, res.FailedStep, res.RefusedWindow = rotation.StatusUnfinished, "database", 0
	res.Steps = append(res.Steps[:6], broke("database", 30012, res.Err))
	res.Workloads, res.Copies, res.RotatedAt = nil, nil, time.Time{}
	res.Targets = toDo(res.Plan)
	return res
}

func toDo(plan []rotation.Line) []rotation.Line {
	return slices.DeleteFunc(slices.Clone(plan), func(l rotation.Line) bool { return !many(l.Step) || l.Change == "" })
}

// emergencyUnhealthyCase finished somebody else's emergency: it has no plan.
func emergencyUnhealthyCase() rotation.Result {
	res := emergencyCase()
	res.Plan, res.RefusedWindow, res.Warnings = nil, 0, nil
	res.Workloads = []rotation.Target{workload("deployment/alfred-core", 11120, nil), workload("deployment/contact-ingest", 62000, crashing())}
	return res
}

func emergencyRefusedCase() rotation.Result {
	res := refusedCase()
	res.Mode = rotation.Emergency
	res.Plan[0].Err = &trouble{"refused", `end the sessions of role "alfred_user": permission denied`, "GRANT pg_signal_backend TO pgrotate;"}
	res.Plan[6].Err, res.Plan[6].Warnings = nil, []string{"this will be left unfinished: 403 Resource not accessible by personal access token"}
	res.Warnings, res.Err = res.Plan[6].Warnings, errors.Join(res.Plan[0].Err, res.Plan[2].Err)
	return res
}

func emergencyPlannedCase() rotation.Result {
	res := plannedCase()
	res.Mode, res.Lingering = rotation.Emergency, lingering()
	res.Plan[0].Change = "close the role, end its 7 sessions, open it with a new SCRAM-SHA-256 verifier (4096 iterations)"
	return res
}

// rollbackUnfinishedCase turned somebody's unfinished rotation back.
func rollbackUnfinishedCase() rotation.Result {
	res := rolledBackHealthyCase()
	res.Mode, res.Requested, res.Err, res.FailedStep = rotation.Planned, true, nil, ""
	res.Steps = append([]rotation.StepResult{done("lock", 38, `role "alfred_user"`), done("look", 21, "rotation 20260302-k7tq is open, going forward"),
		done("preflight", 66, "the database can be judged"), done("claim", 17, "epoch 13"), done("fence", 24, "Secret prod/postgres-credentials has epoch 13"),
		done("journal", 1, "resuming rotation 20260302-k7tq, going forward")}, res.Steps[10:]...)
	return res
}

// rollbackFinishedCase undid a rotation that had ended.
func rollbackFinishedCase() rotation.Result {
	res := rotatedCase()
	res.Mode, res.RotationID, res.Undone, res.Reason = rotation.Planned, "20260302-w3fe", "20260302-k7tq", "the reports fail since"
	res.Steps[5].Detail = "rotation 20260302-w3fe is written down"
	return res
}

// rollbackFailedCase could not undo it: what was served is served again.
func rollbackFailedCase() rotation.Result {
	res := rolledBackHealthyCase()
	res.Mode, res.RotationID, res.Undone = rotation.Planned, "20260302-w3fe", "20260302-k7tq"
	return res
}

func rollbackRefusedCase() rotation.Result {
	err := &trouble{"refused", "undo the last rotation: the password before rotation \"20260217-m2xa\" was kept until 2026-02-18T04:17:18Z only (`keep-previous`)",
		"nothing was changed; `rotate` brings in a new password instead"}
	return rotation.Result{Status: rotation.StatusRefused, Mode: rotation.Planned, RotationID: "20260217-m2xa", Username: "alfred_user",
		RotatedAt: began.Add(-312 * time.Hour), Began: began, Elapsed: 64 * time.Millisecond, FailedStep: "look",
		Steps: []rotation.StepResult{done("lock", 38, `role "alfred_user"`), broke("look", 21, err)}, Err: err}
}

func postFinishedCase() rotation.Result {
	res := rotatedCase()
	res.Mode, res.Plan, res.RefusedWindow = rotation.Planned, nil, 0
	res.Steps[1].Detail = "rotation 20260302-k7tq is open, going forward"
	res.Steps[5].Detail = "resuming rotation 20260302-k7tq, going forward"
	return res
}

// mendedCase found a copy that a late run had written.
func mendedCase() rotation.Result {
	res := unchangedCase()
	res.Reason = "only copies that somebody else had written were written again"
	res.Steps = []rotation.StepResult{done("lock", 38, `role "alfred_user"`), done("look", 21, "no rotation is open"), done("preflight", 0, "only copies are written"),
		done("claim", 17, "epoch 13"), done("fence", 24, "Secret prod/postgres-credentials has epoch 13"), done("journal", 0, "no rotation is begun: copies are mended"),
		done("copies", 903, "1 copy written"), done("commit", 19, "nothing of the rotation is kept")}
	res.Copies = []rotation.Target{gitHubCopy("acme/shop DATABASE_PASSWORD", altered, nil)}
	res.Warnings = []string{"GitHub secret acme/shop DATABASE_PASSWORD was written by somebody else since the last rotation: it holds the served credential again"}
	return res
}

func TestWhatAnUnfinishedEmergencyHasLeft(t *testing.T) {
	tests := map[string][]string{
		"emergency-unfinished": {"restart deployment/contact-ingest: failed", "GitHub GitHub secret acme/shop@production DATABASE_URL: failed",
			"GitHub GitHub secret acme/docs DATABASE_URL: not begun", "verify : not begun"},
		"emergency-unsure": {"database : failed", "served Secret : not begun", "restart deployment/alfred-core: not begun",
			"restart deployment/contact-ingest: not begun", "GitHub GitHub secret acme/shop@production DATABASE_URL: not begun", "verify : not begun"},
		"emergency-unhealthy": nil, // it has ended
		"unfinished":          nil, // a planned one
	}
	for name, want := range tests {
		var got []string
		for _, r := range newBuilder(allCases()[name], metaOf(name), limits{}).remnants() {
			state := "not begun"
			if r.Err != nil {
				state = "failed"
			}
			got = append(got, r.Step+" "+r.Target+": "+state)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What only some runs do is left where it has failed.
func TestAStepThatFailedIsLeft(t *testing.T) {
	for _, name := range []string{"standbys", "health", "sessions", "commit"} {
		res := emergencyCase()
		res.Status = rotation.StatusUnfinished
		res.Steps = append(slices.DeleteFunc(res.Steps, func(s rotation.StepResult) bool { return s.Name == name }), broke(name, 1, errors.New("503")))
		got := newBuilder(res, metaOf("emergency"), limits{}).remnants()
		if len(got) != 1 || got[0].Step != name || got[0].Err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestEveryUnfinishedEmergencySaysWhetherItShutThePasswordOut(t *testing.T) {
	for name, want := range map[string]string{"emergency-unfinished": "is shut out", "emergency-unsure": "not certain"} {
		if end := endingOf(urgentCases()[name], usual, 1); !strings.Contains(end.meaning, want) {
			t.Errorf("%s says %q", name, end.meaning)
		}
	}
	for _, status := range []rotation.Status{rotation.StatusRefused, rotation.StatusBusy, rotation.StatusFailed} {
		end := endingOf(rotation.Result{Status: status, Mode: rotation.Emergency}, usual, 1)
		if !strings.Contains(end.meaning, "may still be accepted") {
			t.Errorf("%s says %q", status, end.meaning)
		}
	}
}

func allCases() map[string]rotation.Result {
	all := cases()
	maps.Copy(all, urgentCases())
	maps.Copy(all, bystanderCases())
	maps.Copy(all, alternateCases())
	maps.Copy(all, checkCases())
	return all
}
