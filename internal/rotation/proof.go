package rotation

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// The evidence about a pod, for those who know this package only.
const (
	NotProven = secret.NotProven
	Refuted   = secret.Refuted
)

// refuted holds the pods of a workload against it that are.
func refuted(workload string, pods []secret.Proof) error {
	var errs []error
	for _, p := range pods {
		if p.Evidence == Refuted {
			errs = append(errs, &failure{class: Unhealthy, text: fmt.Sprintf("check pod %q of %s: %s", p.Pod, workload, p.Reason)})
		}
	}
	return errors.Join(errs...)
}

// testify adds what the sessions say about each pod to what its restart does.
func (r *run) testify(user string, opened []secret.Sessions) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	met := byAddress(opened)
	var errs []error
	for i, target := range r.result.Workloads {
		pods := slices.Clone(target.Pods)
		for n := range pods {
			pods[n] = explained(witnessed(pods[n], user, met.of(pods[n])))
		}
		r.result.Workloads[i].Pods = pods
		if target.Err == nil { // else it has been said
			errs = append(errs, refuted(target.Name, pods))
		}
	}
	return errors.Join(errs...)
}

// sightings are sessions by the address that they are from: thousands of pods are
// looked for among as many sessions.
type sightings map[string][]secret.Sessions

func byAddress(opened []secret.Sessions) sightings {
	met := sightings{}
	for _, s := range opened {
		met[s.Address] = append(met[s.Address], s)
	}
	return met
}

// of are the sessions that are from an address of the pod.
func (met sightings) of(p secret.Proof) (all []secret.Sessions) {
	for _, address := range p.Addresses {
		all = append(all, met[address]...)
	}
	return all
}

// witnessed is a proof with what the sessions add that were opened after the
// change. Only an address that is the pod's own tells anything about it: then a
// session shows that its password is the new one, and its role that it has read
// the new user name.
func witnessed(p secret.Proof, user string, opened []secret.Sessions) secret.Proof {
	seen := false
	for _, s := range opened {
		if s.Recent == 0 || !slices.Contains(p.Addresses, s.Address) {
			continue
		}
		if s.Role != user {
			p.Evidence, p.Reason = Refuted, fmt.Sprintf("it has logged in as role %q since the change", s.Role)
			return p
		}
		seen = true
	}
	if seen && p.Evidence == NotProven {
		p.Evidence, p.Reason = secret.BySession, ""
	}
	return p
}

// explained tells of a pod that is not proven why its sessions do not prove it.
func explained(p secret.Proof) secret.Proof {
	switch {
	case p.Evidence != NotProven:
	case len(p.Addresses) == 0:
		p.Reason = joined(p.Reason, "it shares the address of its node")
	default:
		p.Reason = joined(p.Reason, "no session of it was seen")
	}
	return p
}

func joined(reason, more string) string {
	if reason == "" {
		return more
	}
	return reason + "; " + more
}
