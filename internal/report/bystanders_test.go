package report

import (
	"time"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// bystanderCases are results with more in them than the places of the credential.
func bystanderCases() map[string]rotation.Result {
	return map[string]rotation.Result{
		"rotated-sessions":       rotatedSessionsCase(),
		"rotated-terminated":     rotatedTerminatedCase(),
		"rotated-refused":        rotatedRefusedCase(),
		"rolled-back-refuted":    refutedCase(),
		"rolled-back-standby":    standbyCase(),
		"planned-bystanders":     plannedBystandersCase(),
		"emergency-behind":       emergencyBehindCase(),
		"rolled-back-bystanders": sufferingCase(),
	}
}

func proven(pod string, e secret.Evidence, reason string) secret.Proof {
	return secret.Proof{Pod: pod, Evidence: e, Reason: reason}
}

func rotatedSessionsCase() rotation.Result {
	res := rotatedCase()
	res.Workloads[0].Pods = []secret.Proof{
		proven("alfred-core-7c8d5f9b4-q8w2z", secret.BySession, ""),
		proven("alfred-core-7c8d5f9b4-x2v4k", secret.NotProven, "the health command does not start in container \"app\"; no session of it was seen"),
	}
	res.Workloads[1].Pods = []secret.Proof{proven("contact-ingest-6d9f7c5b8-m4n2p", secret.ByHealthCommand, "")}
	res.Workloads[2].Pods = []secret.Proof{proven("model-registry-5f7b9c6d4-k1j8h", secret.NotProven, "no health command is given; it shares the address of its node")}
	res.Steps = append(res.Steps[:len(res.Steps)-1], done("sessions", 40, "9 are older than the change"), res.Steps[len(res.Steps)-1])
	res.Laggards = []rotation.Laggard{
		{Role: "alfred_user", Application: "pgbouncer", Address: "10.1.0.8", Sessions: 5, Left: 5, Since: began.Add(-7 * time.Hour), Pooler: true,
			Where: "pod production/pool-0 of statefulset/pool; it is a pooler, whose sessions outlive those of its clients until it is told to RECONNECT",
			Pods:  []string{"production/pool-0"}, Owners: []string{"statefulset/pool"}},
		{Role: "alfred_user", Application: "DBeaver", Address: "192.0.2.17", Sessions: 2, Left: 2, Since: began.Add(-50 * time.Hour), Where: "not a pod of this cluster"},
		{Role: "alfred_user", Application: "report", Address: "10.0.0.4", Sessions: 1, Left: 1, Since: began.Add(-time.Minute),
			Where: "a node, whose address these share: it may be pod ops/agent-b2x of daemonset/agent, pod ops/agent-c7z of daemonset/agent",
			Pods:  []string{"ops/agent-b2x", "ops/agent-c7z"}, Owners: []string{"daemonset/agent"}},
		{Role: "alfred_user", Sessions: 1, Left: 1, Since: began.Add(-time.Hour), Where: "a Unix socket on the machine of the database"},
	}
	return res
}

func rotatedTerminatedCase() rotation.Result {
	res := rotatedSessionsCase()
	res.Laggards[0].Left, res.Laggards[1].Left, res.Laggards = 0, 1, res.Laggards[:2]
	res.Steps[len(res.Steps)-2].Detail = "7 are older than the change, 6 ended"
	res.Warnings = append(res.Warnings, "not every session from before the change was ended: end the former sessions: 1 left after 10s")
	return res
}

func rotatedRefusedCase() rotation.Result {
	res := rotatedCase()
	last := len(res.Steps) - 1
	res.Steps = append(res.Steps[:last], done("sessions", 40, "none is older than the change"), done("refused logins", 25, "1212 logins since the change, of 4 clients"), res.Steps[last])
	res.Refusals = []rotation.Refusal{
		{Role: "alfred_user", Address: "10.1.0.9", Logins: 1204, Where: "pod production/nightly-1 of job/nightly", Pods: []string{"production/nightly-1"}, Owners: []string{"job/nightly"}},
		{Role: "alfred_user", Address: "10.1.0.7", Logins: 5, Where: "no pod of this cluster has it now: one that was replaced, or a client outside"},
		{Role: "alfred_user", Logins: 2, Where: "the log does not tell: log_connections is off, and log_line_prefix has no %h"},
		{Role: "alfred_user_alt", Address: "192.0.2.17", Logins: 1, Where: "no pod of this cluster has it now: one that was replaced, or a client outside"},
	}
	return res
}

func refutedCase() rotation.Result {
	res := rolledBackHealthyCase()
	err := &trouble{"unhealthy", `check pod "contact-ingest-6d9f7c5b8-m4n2p" of deployment/contact-ingest: 3 of the last 50 lines of its log tell of a refused login`,
		"the pod may have started with the former password, or another of its credentials is wrong: see its log"}
	res.Steps[9].Err, res.Err = err, err
	res.Workloads[1].Err = err
	res.Workloads[1].Pods = []secret.Proof{proven("contact-ingest-6d9f7c5b8-a1b2c", secret.ByHealthCommand, ""),
		proven("contact-ingest-6d9f7c5b8-m4n2p", secret.Refuted, "3 of the last 50 lines of its log tell of a refused login")}
	return res
}

func standbyCase() rotation.Result {
	res := rolledBackHealthyCase()
	err := &trouble{"unhealthy", "wait until the standbys have the new password: not done after 1m0s: standby two at 10.0.0.2 (replayed 0/3000148 of 0/3000220)",
		"pods that log in there would be refused: mend its replication or the way to it, or take it out of `postgres-replicas`"}
	res.Steps, res.FailedStep, res.Err, res.Workloads = append(prepared(),
		done("database", 14, `role "alfred_user" has the password since 2026-03-02T04:17:06Z`),
		done("served Secret", 12, `holds the credential of "alfred_user"`),
		broke("standbys", 60012, err),
		done("turn back", 44, "the previous password comes back, by the same steps")), "standbys", err, nil
	res.Warnings = []string{err.text}
	return res
}

func sufferingCase() rotation.Result {
	res := rolledBackHealthyCase()
	err := &trouble{"unhealthy", `look at pods "tier=backend": not as ready as before: deployment/legacy has 1 of 2 pods ready, had 2`,
		"look at their logs: do they use the credential without being restarted?"}
	res.Steps[9], res.FailedStep, res.Err = broke("health", 31263, err), "health", err
	return res
}

func plannedBystandersCase() rotation.Result {
	res := plannedCase()
	res.Plan = append(res.Plan,
		rotation.Line{Step: "standbys", Target: "standbys of the database", Change: "waits for 1 connected, and for 1 listed, before pods restart"},
		rotation.Line{Step: "sessions", Target: `sessions of role "alfred_user"`, Change: "ended where they are older than the change"},
		rotation.Line{Step: "health", Target: `pods "tier=backend"`, Change: "as ready at the end as now: 7 of 8 pods"})
	return res
}

func emergencyBehindCase() rotation.Result {
	res := urgentCases()["emergency-rotated"]
	res.Warnings = append(res.Warnings, "the compromised password may still open the door at a standby: replica db-2.internal:5432 (it shows another password)")
	return res
}
