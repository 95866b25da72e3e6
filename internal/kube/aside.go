package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// aside is why a workload is listed and not restarted.
type aside struct {
	reason string // follows "it"
	// stale says that its pods go on with the former password, and hint what to
	// do about it.
	stale bool
	hint  string
}

func theDatabase() *aside {
	return &aside{reason: "is the database: it reads the credential only when it is set up, and is not restarted"}
}

// leftOut is how to rotate all the same.
const leftOut = "; to rotate without it, list in `workloads` what is to be restarted"

// asideOf tells why no change of a template restarts the pods of an owner of
// this kind. All of them keep the password that they started with.
func asideOf(kind string) *aside {
	a := &aside{stale: true}
	switch kind {
	case "pod":
		a.reason = "is a pod of its own: nothing replaces it, so it would keep the old password"
		a.hint = "put it under a Deployment, or delete it now and make it anew after the rotation"
	case "job":
		a.reason = "is running: its pods read the credential when they started and would keep the old password"
		a.hint = "wait until it has ended"
	case "rollout":
		a.reason = "is an Argo Rollout, which pgrotate does not restart: its pods would keep the old password"
		a.hint = "have it restarted by `kubectl argo rollouts restart` as soon as the Secret is written"
	case "replicaset":
		a.reason = "belongs to no Deployment: nothing replaces its pods, so they would keep the old password"
		a.hint = "put its pods under a Deployment, or scale it to 0 for the rotation"
	default:
		a.reason = "makes pods that pgrotate cannot restart: they would keep the old password"
		a.hint = "have its controller replace them as soon as the Secret is written"
	}
	a.hint += leftOut
	return a
}

// passOver is Plan for a workload that is not restarted.
func (w *Workload) passOver() (change string, warnings []string, err error) {
	if w.aside.stale && w.options.Unhealthy != Warn {
		return "", nil, fail(refused, w.aside.hint, "restart %s: it %s (%s)", w, w.aside.reason, w.how())
	}
	text := fmt.Sprintf("%s %s", w, w.aside.reason)
	if len(w.ways) > 0 {
		text += fmt.Sprintf(" (%s)", w.how())
	}
	return "", []string{text}, nil
}

// schedules finds the CronJobs that read a Secret. Their runs start anew, so
// that only what runs already has to be cared for.
func (a *area) schedules(ctx context.Context) ([]*Workload, error) {
	if a.list {
		return nil, nil
	}
	var found []*Workload
	err := a.cluster.cronJobs().each(ctx, metav1.ListOptions{}, func(o *batchv1.CronJob) {
		if readers := readersOf(&o.Spec.JobTemplate.Spec.Template.Spec, a.secrets); len(readers) > 0 {
			found = append(found, &Workload{kind: &kind{name: "cronjob"}, name: o.Name, ways: readers.ways(), unnamed: readers.unnamed(a.mapping),
				aside: &aside{reason: "is not restarted: its next run reads the new password"}})
		}
	})
	if err != nil {
		return nil, a.cluster.failed("list cronjobs", err, rule{group: batchv1.GroupName, resource: "cronjobs", verbs: []string{"list"}})
	}
	return found, nil
}

// others are the owners of living pods that are no workload that can be restarted.
func (a *area) others(all []*Workload, living map[string][]string) []*Workload {
	known := map[string]bool{}
	for _, w := range all {
		known[w.id()] = true
	}
	var found []*Workload
	for owner, ways := range living {
		if known[owner] {
			continue
		}
		word, name, _ := strings.Cut(owner, "/")
		found = append(found, &Workload{kind: &kind{name: word}, name: name, ways: ways, aside: asideOf(word)})
	}
	slices.SortFunc(found, func(x, y *Workload) int { return strings.Compare(x.id(), y.id()) })
	return found
}

func (c *Cluster) cronJobs() resource[*batchv1.CronJob, *batchv1.CronJobList] {
	return resource[*batchv1.CronJob, *batchv1.CronJobList]{c.batch, c.codec, c.namespace, "cronjobs",
		func() *batchv1.CronJob { return &batchv1.CronJob{} }, func() *batchv1.CronJobList { return &batchv1.CronJobList{} }}
}
