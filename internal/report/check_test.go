package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

const (
	servedName  = "Secret prod/postgres-credentials"
	journalName = "Secret prod/postgres-credentials-rotation"
)

// checkCases are what `check` may end with.
func checkCases() map[string]rotation.Result {
	return map[string]rotation.Result{
		"check-well":       checkWellCase(),
		"check-not-known":  checkNotKnownCase(),
		"check-overdue":    checkOverdueCase(),
		"check-drifted":    checkDriftedCase(),
		"check-unfinished": checkUnfinishedCase(),
		"check-failed":     checkFailedCase(),
		"check-refused":    checkRefusedCase(),
	}
}

func checkWellCase() rotation.Result {
	rotated := began.Add(-33 * 24 * time.Hour)
	return rotation.Result{
		Status: rotation.StatusUnchanged, RotationID: "20260128-m2xa", Username: "alfred_user", RotatedAt: rotated, Began: began, Elapsed: 312 * time.Millisecond,
		OverdueAt: rotated.Add(97 * 24 * time.Hour), Reason: "the password is 33 days old (last rotated 2026-01-28T04:17:05Z)",
		Steps: []rotation.StepResult{done("look", 21, servedName+` serves role "alfred_user"`), done("check", 290, "7 things looked at, 0 findings")},
		Checks: []rotation.Check{
			{What: "age", Target: servedName, Found: "the password is 33 days old (last rotated 2026-01-28T04:17:05Z)"},
			{What: "journal", Target: journalName, Found: "no rotation is open"},
			{What: "database", Target: `role "alfred_user"`, Found: "accepts the served password"},
			{What: "served Secret", Target: servedName, Found: "holds the served credential"},
			{What: "cluster copies", Target: "Secret reports/postgres-credentials", Found: "holds the served credential"},
			{What: "restart", Target: "deployment/alfred-core", Found: "2 pods have started with what is served"},
			{What: "GitHub", Target: "GitHub secret acme/shop@production DATABASE_URL", Found: "last written at 2026-01-28T04:17:09Z"},
		},
	}
}

func checkNotKnownCase() rotation.Result {
	res := checkWellCase()
	res.Checks[5].Found, res.Checks[5].Err = "", &trouble{"refused", "list the pods of deployment/alfred-core: pods is forbidden", `grant the account in namespace "prod": {apiGroups: [""], resources: ["pods"], verbs: ["list"]}`}
	res.Warnings = []string{`not known: restart, deployment/alfred-core: list the pods of deployment/alfred-core: pods is forbidden; grant the account in namespace "prod": {apiGroups: [""], resources: ["pods"], verbs: ["list"]}`}
	return res
}

// deviating gives a check a finding.
func deviating(res *rotation.Result, n int, status rotation.Status, text, hint string) {
	res.Checks[n].Found, res.Checks[n].Status, res.Checks[n].Err = "", status, &trouble{"unhealthy", text, hint}
	res.Status, res.Reason, res.Err = status, "", errors.Join(res.Err, res.Checks[n].Err)
	found := len(slices.DeleteFunc(slices.Clone(res.Checks), func(c rotation.Check) bool { return c.Status == "" }))
	res.Steps[1].Detail = fmt.Sprintf("%d things looked at, %s", len(res.Checks), count(found, "finding", "findings"))
}

func checkOverdueCase() rotation.Result {
	res := checkWellCase()
	res.RotatedAt, res.RotationID, res.OverdueAt = time.Time{}, "", began.Add(-44*24*time.Hour)
	deviating(&res, 0, rotation.StatusOverdue, "the password is 141 days old (never rotated by pgrotate, the Secret was created 2025-10-12T04:17:05Z): too old, `maximum-age` is 97 days", "run with `command: rotate`")
	res.FormerRole, res.RetireAt = "alfred_user_alt", began.Add(-2*24*time.Hour)
	res.Warnings = []string{`role "alfred_user_alt", which was served before, still logs in and was to be retired from 2026-02-28T04:17:05Z on: the next ` + "`rotate` or `resume` that sees no session of it does that"}
	return res
}

func checkDriftedCase() rotation.Result {
	res := checkWellCase()
	deviating(&res, 2, rotation.StatusDrifted, `log in as role "alfred_user" with what `+servedName+" holds: the database refuses the password", "somebody changed one of the two: put the right password into the Secret")
	deviating(&res, 4, rotation.StatusDrifted, `compare Secret reports/postgres-credentials with the served credential: key "password" holds another password, or none`, "find out who writes it, and put the served credential into it")
	deviating(&res, 5, rotation.StatusDrifted, `look at deployment/alfred-core: 1 pod was not started with what rotation 20260128-m2xa serves: alfred-core-5d4f-x2x (restarted by 20251201-p9dw)`, "restart it: its pods read the credential when they start")
	deviating(&res, 6, rotation.StatusDrifted, "look at GitHub secret acme/shop@production DATABASE_URL: somebody else wrote it at 2026-02-20T09:00:00Z, the last rotation did at 2026-01-28T04:17:09Z", "find out who; `rotate` and `resume` write the served credential into it again")
	deviating(&res, 0, rotation.StatusOverdue, "the password is 141 days old (last rotated 2025-10-12T04:17:05Z): too old, `maximum-age` is 97 days", "run with `command: rotate`")
	res.Status, res.OverdueAt = rotation.StatusDrifted, began.Add(-44*24*time.Hour)
	return res
}

func checkUnfinishedCase() rotation.Result {
	res := checkWellCase()
	res.Mode, res.RotationID, res.Checks = rotation.Emergency, "20260302-k7tq", res.Checks[:3]
	deviating(&res, 1, rotation.StatusUnfinished, "finish rotation 20260302-k7tq: it is open, going forward, the last run to claim it is https://github.com/acme/shop/actions/runs/8123456001", "if no run is at it any more: `command: resume` with the inputs that it was started with")
	return res
}

func checkFailedCase() rotation.Result {
	res := checkWellCase()
	res.Checks[6].Found, res.Checks[6].Err = "", errors.New("read GitHub secret acme/shop@production DATABASE_URL: 503 Service Unavailable, tried 4 times in 61 s")
	res.Status, res.Reason, res.FailedStep, res.Err = rotation.StatusFailed, "", "check", res.Checks[6].Err
	res.Warnings = []string{"not known: GitHub, GitHub secret acme/shop@production DATABASE_URL: read GitHub secret acme/shop@production DATABASE_URL: 503 Service Unavailable, tried 4 times in 61 s"}
	return res
}

func checkRefusedCase() rotation.Result {
	err := &trouble{"missing", "read " + servedName + ": there is no such Secret", "recreate it with its other keys; `resume` fills in the credential"}
	return rotation.Result{Status: rotation.StatusRefused, Began: began, Elapsed: 40 * time.Millisecond, FailedStep: "look", Steps: []rotation.StepResult{broke("look", 38, err)}, Err: err}
}

// TestAFindingIsAnnotated: whoever reads only the annotation learns the gravest
// kind, the first finding and how many more there are.
func TestAFindingIsAnnotated(t *testing.T) {
	title, message := Annotation(checkDriftedCase(), Meta{})
	if title != "pgrotate: Drifted, 5 findings" || !strings.Contains(message, "refuses the password") || !strings.Contains(message, "4 more problems are in the job summary") {
		t.Errorf("%q: %q", title, message)
	}
}
