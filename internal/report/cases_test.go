package report

import (
	"errors"
	"fmt"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// trouble is an error as the targets make them.
type trouble struct{ class, text, hint string }

func (e *trouble) Error() string { return e.text }
func (e *trouble) Class() string { return e.class }
func (e *trouble) Hint() string  { return e.hint }

var (
	began   = time.Date(2026, 3, 2, 4, 17, 5, 0, time.UTC)
	altered = began.Add(1400 * time.Millisecond)
	usual   = Meta{Command: "rotate", Secret: "postgres-credentials", Strategy: "in-place", Mode: "planned",
		RunURL: "https://github.com/acme/shop/actions/runs/8123456789", Version: "v0.1.0"}
)

// cases are results as the machine makes them, one for each way to end.
func cases() map[string]rotation.Result {
	return map[string]rotation.Result{
		"rotated":              rotatedCase(),
		"rotated-unhealthy":    rotatedUnhealthyCase(),
		"unchanged":            unchangedCase(),
		"rotated-relocked":     relockedCase(),
		"planned":              plannedCase(),
		"planned-resume":       plannedResumeCase(),
		"rolled-back":          rolledBackCase(),
		"unfinished":           unfinishedCase(),
		"failed":               failedCase(),
		"refused":              refusedCase(),
		"refused-inputs":       refusedInputsCase(),
		"busy":                 busyCase(),
		"hostile":              hostileCase(),
		"rotated-fleet":        rotatedFleetCase(),
		"rolled-back-restarts": rolledBackHealthyCase(),
		"rolled-back-refused":  rolledBackRefusedCase(),
		"rotated-repair":       repairedCase(),
		"unfinished-repair":    unfinishedRepairCase(),
	}
}

func prepared() []rotation.StepResult {
	return []rotation.StepResult{
		done("lock", 38, `role "alfred_user"`),
		done("look", 21, "no rotation is open"),
		done("preflight", 412, "7 targets checked, nothing speaks against it"),
		done("claim", 17, "epoch 12"),
		done("fence", 24, "Secret prod/postgres-credentials has epoch 12"),
		done("journal", 31, "rotation 20260302-k7tq is written down"),
	}
}

func done(name string, ms int, detail string) rotation.StepResult {
	return rotation.StepResult{Name: name, Detail: detail, Elapsed: time.Duration(ms) * time.Millisecond}
}

func broke(name string, ms int, err error) rotation.StepResult {
	return rotation.StepResult{Name: name, Elapsed: time.Duration(ms) * time.Millisecond, Err: err}
}

func workload(name string, ms int, err error) rotation.Target {
	return rotation.Target{Kind: "workload", Name: name, Elapsed: time.Duration(ms) * time.Millisecond, Err: err}
}

func gitHubCopy(name string, at time.Time, err error) rotation.Target {
	return rotation.Target{Kind: "copy", Name: "GitHub secret " + name, UpdatedAt: at, Err: err}
}

func rotatedCase() rotation.Result {
	return rotation.Result{
		Status: rotation.StatusRotated, RotationID: "20260302-k7tq", Username: "alfred_user", RotatedAt: altered, Began: began,
		Elapsed: 13241 * time.Millisecond, RefusedWindow: 11308 * time.Millisecond, Reason: "quarterly rotation",
		Steps: append(prepared(),
			done("database", 14, `role "alfred_user" has the password since 2026-03-02T04:17:06Z`),
			done("served Secret", 12, `holds the credential of "alfred_user"`),
			done("cluster copies", 0, "0 copies written"),
			done("GitHub", 903, "2 copies written"),
			done("restart", 11263, "3 workloads on the new password"),
			done("verify", 318, "the served password logs in, the former one is refused"),
			done("commit", 19, "the former password is kept until 2026-03-03T04:17:18Z")),
		Workloads: []rotation.Target{workload("deployment/alfred-core", 11120, nil), workload("deployment/contact-ingest", 9480, nil), workload("deployment/model-registry", 11257, nil), workload("statefulset/postgres", 0, nil)},
		Plan:      planLines(),
		Copies:    []rotation.Target{gitHubCopy("acme/shop DATABASE_PASSWORD", altered.Add(time.Second), nil), gitHubCopy("acme/shop@production DATABASE_URL", altered.Add(2*time.Second), nil)},
		Warnings:  []string{"StatefulSet postgres runs the database and is not restarted"},
	}
}

// rotatedFleetCase is more than a reader wants to see at once.
func rotatedFleetCase() rotation.Result {
	res := rotatedCase()
	for i := range 60 {
		res.Workloads = append(res.Workloads, workload(fmt.Sprintf("deployment/tenant-%02d", i), 9000+i, nil))
	}
	return res
}

func rotatedUnhealthyCase() rotation.Result {
	res := rotatedCase()
	res.Reason, res.RefusedWindow = "", 0
	res.Workloads[1] = workload("deployment/contact-ingest", 600000, &trouble{"unhealthy",
		`restart deployment/contact-ingest: 1 of 2 pods is not ready after 10m0s`, "look at `kubectl -n prod describe deployment contact-ingest`"})
	return res
}

func unchangedCase() rotation.Result {
	reason := "the password is 312h0m0s old (last rotated 2026-02-17T04:17:06Z), younger than `minimum-age`"
	return rotation.Result{
		Status: rotation.StatusUnchanged, RotationID: "20260217-m2xa", Username: "alfred_user", RotatedAt: began.Add(-312 * time.Hour), Began: began,
		Elapsed: 64 * time.Millisecond, Reason: reason,
		Steps: []rotation.StepResult{done("lock", 38, `role "alfred_user"`), done("look", 21, reason)},
	}
}

// relockedCase lost the lock right after ALTER ROLE and went on after it had it again.
func relockedCase() rotation.Result {
	res := rotatedCase()
	err := &trouble{"lost", `change the password of role "alfred_user": connection reset by peer`, ""}
	res.Steps = append(append(prepared(), broke("database", 1204, err)), res.Steps...)
	res.Warnings = append(res.Warnings, "the database session that held the lock was lost: "+err.Error())
	return res
}

func planLines() []rotation.Line {
	return []rotation.Line{
		{Step: "database", Target: `role "alfred_user"`, Change: "new SCRAM-SHA-256 verifier (4096 iterations)"},
		{Step: "journal", Target: "Secret prod/postgres-credentials-rotation", Change: "written before the first change"},
		{Step: "served Secret", Target: "Secret prod/postgres-credentials", Change: "keys password, DATABASE_URL"},
		{Step: "restart", Target: "deployment/alfred-core", Change: "restart 2 pods, reads it by env"},
		{Step: "restart", Target: "deployment/contact-ingest", Change: "restart 2 pods, reads it by env"},
		{Step: "restart", Target: "statefulset/postgres", Warnings: []string{"StatefulSet postgres runs the database and is not restarted"}},
		{Step: "GitHub", Target: "GitHub secret acme/shop@production DATABASE_URL", Change: "update, last updated 2025-12-01 04:17:09 UTC"},
	}
}

func plannedCase() rotation.Result {
	return rotation.Result{
		Status: rotation.StatusPlanned, RotationID: "20251201-p9dw", Username: "alfred_user", RotatedAt: began.Add(-91 * 24 * time.Hour), Began: began,
		Elapsed: 455 * time.Millisecond, Plan: planLines(),
		Steps:    []rotation.StepResult{done("look", 21, "no rotation is open"), done("preflight", 431, "7 targets checked, nothing speaks against it")},
		Warnings: []string{"StatefulSet postgres runs the database and is not restarted"},
	}
}

func plannedResumeCase() rotation.Result {
	return rotation.Result{
		Status: rotation.StatusPlanned, RotationID: "20260302-k7tq", Username: "alfred_user", Began: began, Elapsed: 90 * time.Millisecond,
		Steps: []rotation.StepResult{done("look", 21, "rotation 20260302-k7tq is open, going forward: the next run resumes it"), done("preflight", 66, "the database can be judged")},
	}
}

func crashing() *trouble {
	return &trouble{"unhealthy", `restart deployment/contact-ingest: pod "contact-ingest-6d9f7c5b8-x2v4k": container "app" is in CrashLoopBackOff, last exit code 1`,
		"read its log: `kubectl -n prod logs contact-ingest-6d9f7c5b8-x2v4k --previous`"}
}

func rolledBackHealthyCase() rotation.Result {
	return rotation.Result{
		Status: rotation.StatusRolledBack, RotationID: "20260302-k7tq", Username: "alfred_user", RotatedAt: began.Add(-91 * 24 * time.Hour), Began: began,
		Elapsed: 58 * time.Second, FailedStep: "restart",
		Steps: append(prepared(),
			done("database", 14, `role "alfred_user" has the password since 2026-03-02T04:17:06Z`),
			done("served Secret", 12, `holds the credential of "alfred_user"`),
			done("GitHub", 903, "1 copy written"),
			broke("restart", 31263, crashing()),
			done("turn back", 44, "the previous password comes back, by the same steps"),
			done("back: database", 14, `role "alfred_user" has the password since 2026-03-02T04:17:38Z`),
			done("back: served Secret", 12, `holds the credential of "alfred_user"`),
			done("back: restart", 24263, "3 workloads on the previous password"),
			done("back: GitHub", 903, "1 copy written"),
			done("back: verify", 318, "the served password logs in"),
			done("commit", 19, "nothing of the rotation is kept")),
		Workloads: []rotation.Target{workload("deployment/alfred-core", 11120, nil), workload("deployment/contact-ingest", 24258, nil)},
		Copies:    []rotation.Target{gitHubCopy("acme/shop@production DATABASE_URL", altered.Add(40*time.Second), nil)},
		Err:       crashing(),
	}
}

func rolledBackCase() rotation.Result {
	res := rolledBackHealthyCase()
	res.Workloads[1].Err = &trouble{"unhealthy", `restart deployment/contact-ingest: pod "contact-ingest-7c8d5f9b4-q8w2z": container "app" is in CrashLoopBackOff, last exit code 1`,
		"read its log: `kubectl -n prod logs contact-ingest-7c8d5f9b4-q8w2z --previous`"}
	return res
}

// rolledBackRefusedCase: GitHub takes one of two secrets.
func rolledBackRefusedCase() rotation.Result {
	res := rolledBackHealthyCase()
	refusal := &trouble{"refused", "update GitHub secret acme/shop DATABASE_PASSWORD: GitHub answers 403: Resource not accessible by personal access token",
		`give the token the permission "Secrets: read and write" for acme/shop`}
	for i, step := range res.Steps {
		switch {
		case step.Name == "GitHub":
			res.Steps[i] = broke("GitHub", 840, refusal)
		case step.Name == "restart":
			res.Steps[i] = done("restart", 11263, "2 workloads on the new password")
		case step.Name == "back: GitHub":
			res.Steps[i].Detail = "1 copy written, 1 left as it was"
		}
	}
	res.FailedStep, res.Err = "GitHub", refusal
	res.Workloads = nil
	res.Copies = append(res.Copies, gitHubCopy("acme/shop DATABASE_PASSWORD", time.Time{}, refusal))
	return res
}

func repairedCase() rotation.Result {
	res := rotatedCase()
	res.OneWay = true
	res.Warnings = []string{"role \"alfred_user\" does not log in with what Secret prod/postgres-credentials holds: there is nothing to go back to, so this rotation only goes forward (`on-drift: repair`)"}
	return res
}

func unfinishedRepairCase() rotation.Result {
	res := unfinishedCase()
	res.OneWay, res.Warnings = true, repairedCase().Warnings
	return res
}

func unfinishedCase() rotation.Result {
	err := errors.New(`write GitHub secret acme/shop@production DATABASE_URL: 503 Service Unavailable, tried 4 times in 61 s`)
	return rotation.Result{
		Status: rotation.StatusUnfinished, RotationID: "20260302-k7tq", Username: "alfred_user", RotatedAt: altered, Began: began,
		Elapsed: 74 * time.Second, FailedStep: "GitHub", RefusedWindow: 11308 * time.Millisecond,
		Steps: append(prepared(),
			done("database", 14, `role "alfred_user" has the password since 2026-03-02T04:17:06Z`),
			done("served Secret", 12, `holds the credential of "alfred_user"`),
			done("restart", 11263, "2 workloads on the new password"),
			broke("GitHub", 61200, err)),
		Workloads: []rotation.Target{workload("deployment/alfred-core", 11120, nil), workload("deployment/contact-ingest", 9480, nil)},
		Copies:    []rotation.Target{gitHubCopy("acme/shop DATABASE_PASSWORD", time.Time{}, nil), gitHubCopy("acme/shop@production DATABASE_URL", time.Time{}, err)},
		Err:       err,
	}
}

func failedCase() rotation.Result {
	err := errors.New(`read Secret "prod/postgres-credentials": connection refused`)
	return rotation.Result{Status: rotation.StatusFailed, RotationID: "20260302-k7tq", Username: "alfred_user", Began: began, Elapsed: 2 * time.Second,
		FailedStep: "fence", Steps: append(prepared()[:4], broke("fence", 1400, err)), Err: err}
}

func refusedCase() rotation.Result {
	lines := planLines()
	lines[0].Change, lines[0].Err = "", &trouble{"refused", `change the password of role "alfred_user": permission denied`, "GRANT alfred_user TO pgrotate WITH ADMIN OPTION;"}
	lines[2].Change, lines[2].Err = "", &trouble{"refused", `plan Secret "prod/postgres-credentials": key "DATABASE_URL" contains the password and is not mapped`, "add the line `DATABASE_URL=url` to `kubernetes-secret-keys`"}
	lines[6].Change, lines[6].Err = "", &trouble{"refused", `read the public key of acme/shop@production: 403 Resource not accessible by personal access token`, "give the token the permission `environments: write`"}
	err := errors.Join(lines[0].Err, nil, lines[2].Err, lines[6].Err)
	return rotation.Result{
		Status: rotation.StatusRefused, RotationID: "20251201-p9dw", Username: "alfred_user", RotatedAt: began.Add(-91 * 24 * time.Hour), Began: began,
		Elapsed: 612 * time.Millisecond, FailedStep: "preflight", Plan: lines, Err: err,
		Steps: []rotation.StepResult{done("lock", 38, `role "alfred_user"`), done("look", 21, "no rotation is open"), broke("preflight", 540, err)},
	}
}

func refusedInputsCase() rotation.Result {
	err := fmt.Errorf("read the inputs: %w", errors.Join(
		&trouble{"", "input `mode`: \"plannd\" is not one of: planned", ""},
		&trouble{"", "input `github-token`: it is missing, and `github-secrets` is set", "a fine-grained personal access token or an App token; GITHUB_TOKEN can never write secrets"},
		&trouble{"", "input `rollout-timeout`: \"10\" is not a duration with a unit, such as 90s, 10m, 24h or 80d", ""},
	))
	return rotation.Result{Status: rotation.StatusRefused, Began: began, Elapsed: 3 * time.Millisecond, FailedStep: "inputs", Err: err}
}

func busyCase() rotation.Result {
	err := &trouble{"busy", `rotate role "alfred_user": another run is at it, the last one to claim it is https://github.com/acme/shop/actions/runs/8123456001`,
		"wait for it to end and start this run again"}
	return rotation.Result{Status: rotation.StatusBusy, Username: "alfred_user", Began: began, Elapsed: time.Minute + 120*time.Millisecond,
		FailedStep: "lock", Steps: []rotation.StepResult{broke("lock", 60100, err)}, Err: err}
}

// hostileCase holds what a server or a person could write to break a report.
func hostileCase() rotation.Result {
	evil := "x | y <script>alert(1)</script>\n::error::forged\r\n##[error]forged `a\n\n| b |`` \x1b[31mred\u202e @acme #1 </td></table>\n\n# Forged"
	err := &trouble{"unhealthy", evil, evil}
	res := rolledBackCase()
	res.Username, res.RotationID, res.Reason, res.FailedStep = evil, evil, evil, evil
	res.Steps[2] = rotation.StepResult{Name: evil, Detail: evil, Err: err}
	res.Workloads[0] = rotation.Target{Kind: "workload", Name: evil, Err: err, Pods: []secret.Proof{{Pod: evil, Reason: evil}}}
	res.Laggards = []rotation.Laggard{{Role: evil, Application: evil, Address: evil, Sessions: 1, Left: 1, Where: evil, Pods: []string{evil}, Owners: []string{evil}}}
	res.Refusals = []rotation.Refusal{{Role: evil, Address: evil, Logins: 1, Where: evil, Pods: []string{evil}, Owners: []string{evil}}}
	res.Copies[0] = rotation.Target{Kind: "copy", Name: evil, Err: err}
	res.Warnings = []string{evil, "`", "``", "::set-output name=status::rotated"}
	res.Err = err
	return res
}
