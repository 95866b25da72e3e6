package report

import (
	"errors"
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// alternateCases are results of runs that switch between two login roles.
func alternateCases() map[string]rotation.Result {
	return map[string]rotation.Result{
		"alternate-rotated":     alternateCase(),
		"alternate-at-once":     alternateAtOnceCase(),
		"alternate-rolled-back": alternateRolledBackCase(),
		"alternate-retired":     alternateRetiredCase(),
		"alternate-planned":     alternatePlannedCase(),
		"alternate-emergency":   alternateEmergencyCase(),
		"alternate-closed":      alternateClosedCase(),
		"alternate-undone":      alternateUndoneCase(),
	}
}

func alternateCase() rotation.Result {
	res := rotatedCase()
	res.Strategy, res.RefusedWindow, res.Username = rotation.Alternate, 0, "alfred_user_alt"
	res.FormerRole, res.RetireAt = "alfred_user", altered.Add(24*time.Hour)
	res.Steps[6].Detail = `role "alfred_user_alt" has the password since 2026-03-02T04:17:06Z`
	res.Steps[7].Detail = `holds the credential of "alfred_user_alt"`
	res.Steps[11].Detail = "the served password logs in"
	return res
}

func alternateAtOnceCase() rotation.Result {
	res := alternateCase()
	res.FormerRole, res.RetireAt, res.Retired = "", time.Time{}, "alfred_user"
	res.Steps = append(res.Steps, done("retire", 21, `role "alfred_user" has no password any more`))
	return res
}

func alternateRolledBackCase() rotation.Result {
	res := rolledBackCase()
	res.Strategy, res.RefusedWindow = rotation.Alternate, 0
	res.FormerRole, res.RetireAt = "alfred_user_alt", altered
	res.Warnings = []string{`role "alfred_user_alt" is not retired yet: it has 1 session`}
	return res
}

func alternateRetiredCase() rotation.Result {
	res := unchangedCase()
	res.Strategy, res.Username, res.Retired = rotation.Alternate, "alfred_user_alt", "alfred_user"
	res.Reason = `only role "alfred_user", which was served before, was retired`
	res.Steps = append(prepared(), done("commit", 19, "nothing of the rotation is kept"), done("retire", 21, `role "alfred_user" has no password any more`))
	return res
}

func alternatePlannedCase() rotation.Result {
	res := plannedCase()
	res.Strategy = rotation.Alternate
	lines := []rotation.Line{
		{Step: "database", Target: `role "alfred_user"`, Change: "goes on logging in; retired 24h0m0s later at the earliest, when it has no session"},
		{Step: "database", Target: `role "alfred_user_alt"`, Change: `made as a member of role "alfred_user", with its settings and a SCRAM-SHA-256 verifier (4096 iterations); then its user name is served`},
	}
	res.Plan = append(lines, planLines()[1:]...)
	return res
}

// alternateEmergencyCase has switched, and has not closed the compromised role.
func alternateEmergencyCase() rotation.Result {
	err := errors.New(`change the password of role "alfred_user": connection reset by peer`)
	res := alternateCase()
	res.Status, res.Mode, res.FailedStep, res.Err = rotation.StatusUnfinished, rotation.Emergency, "revoke", err
	res.RetireAt, res.Reason = time.Time{}, "the password stood in a public build log"
	res.Steps[12] = broke("revoke", 10000, err)
	return res
}

// alternateClosedCase has closed the compromised role although GitHub refused.
func alternateClosedCase() rotation.Result {
	err := errors.New(`write GitHub secret acme/shop@production DATABASE_URL: 403 Resource not accessible by personal access token`)
	res := alternateEmergencyCase()
	res.FailedStep, res.Err, res.FormerRole = "GitHub", err, ""
	res.Steps = append(res.Steps[:9], broke("GitHub", 61200, err), done("restart", 62000, "2 workloads restarted"), done("revoke", 310, `role "alfred_user" is closed, 6 sessions were ended`))
	res.Copies = []rotation.Target{gitHubCopy("acme/shop DATABASE_PASSWORD", altered.Add(time.Second), nil), gitHubCopy("acme/shop@production DATABASE_URL", time.Time{}, err)}
	return res
}

func alternateUndoneCase() rotation.Result {
	res := alternateCase()
	res.Undone, res.Username, res.FormerRole = "20251201-p9dw", "alfred_user", "alfred_user_alt"
	return res
}
