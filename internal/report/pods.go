package report

import (
	"cmp"
	"slices"

	"github.com/pgrotate/pgrotate/internal/rotation"
)

// proof is what is known of the credential that one pod uses.
type proof struct {
	workload, pod, evidence, reason string
	kind                            kind
	place                           int // what went wrong stands first
}

func (b builder) proofs() (all []proof) {
	for _, t := range b.Workloads {
		all = append(all, proofsOf(t)...)
	}
	slices.SortStableFunc(all, func(x, y proof) int { return cmp.Compare(x.place, y.place) })
	return all
}

func proofsOf(t rotation.Target) (all []proof) {
	for _, p := range t.Pods {
		one := proof{workload: t.Name, pod: p.Pod, evidence: p.Evidence.String(), reason: p.Reason, kind: good, place: 2}
		switch p.Evidence {
		case rotation.Refuted:
			one.kind, one.place = bad, 0
		case rotation.NotProven:
			one.kind, one.place = aside, 1
		}
		all = append(all, one)
	}
	return all
}

// pods lists the proof of each pod, folded where none is refuted.
func (b builder) pods() section {
	all := b.proofs()
	s := table(b, "Pods", []string{"Workload", "Pod", "Credential", "Detail"}, all, func(p proof) row {
		return row{b.cell(code, p.workload), b.cell(code, p.pod), cell{Text: p.evidence, Kind: p.kind}, b.cell(prose, p.reason)}
	})
	s.Fold = len(all) > 0 && all[0].kind != bad
	return s
}

type proofInJSON struct {
	Pod      string `json:"pod"`
	Evidence string `json:"evidence"` // refuted, not proven, proven by session or proven by health command
	Reason   string `json:"reason,omitempty"`
}

func (b builder) proofInJSON(p proof) proofInJSON {
	return proofInJSON{b.tidy(p.pod), p.evidence, b.tidy(p.reason)}
}
