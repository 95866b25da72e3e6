package kube

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const (
	waveAnnotation = "wave.pusher.com/update-on-config-change" // https://github.com/wave-k8s/wave
	// On a workload.
	reloadAuto       = "reloader.stakater.com/auto"
	reloadAutoSecret = "secret.reloader.stakater.com/auto"
	reloadSearch     = "reloader.stakater.com/search"
	reloadList       = "secret.reloader.stakater.com/reload"
	reloadExcluded   = "secrets.exclude.reloader.stakater.com/reload"
	// On a Secret.
	reloadIgnore = "reloader.stakater.com/ignore"
	reloadMatch  = "reloader.stakater.com/match"
)

// reloader is what a workload says to controllers that restart it when a Secret
// changes: Stakater's Reloader and Wave. The rules are Reloader's ShouldReload, see
// https://github.com/stakater/Reloader/blob/master/pkg/common/common.go.
type reloader struct {
	wave     bool
	listed   string // expressions of the names of Secrets, with commas between
	search   bool
	auto     string // annotation that stands for every Secret; empty: none
	excluded string // names of Secrets, with commas between
}

// readReloader reads the annotations of a workload and of its template, which
// count where Reloader finds none of its own on the workload.
func readReloader(workload, template map[string]string) reloader {
	r := reloader{wave: workload[waveAnnotation] == "true", excluded: workload[reloadExcluded]}
	own := []string{reloadAuto, reloadAutoSecret, reloadSearch, reloadList}
	from := workload
	if !slices.ContainsFunc(own, func(name string) bool { _, found := workload[name]; return found }) {
		from = template
	}
	r.listed, r.search = from[reloadList], from[reloadSearch] == "true"
	for _, name := range own[:2] {
		if yes, _ := strconv.ParseBool(from[name]); yes && r.auto == "" {
			r.auto = name
		}
	}
	return r
}

func commaSeparated(text string) (all []string) {
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// reacts is the annotation by which a change of the Secret restarts the
// workload, empty where none does. annotations are the Secret's.
func (r reloader) reacts(name string, annotations map[string]string) string {
	matches := func(expression string) bool {
		re, err := regexp.Compile("^" + expression + "$")
		return err == nil && re.MatchString(name)
	}
	switch {
	case r.wave:
		return waveAnnotation
	case annotations[reloadIgnore] == "true", slices.Contains(commaSeparated(r.excluded), name):
		return ""
	case slices.ContainsFunc(commaSeparated(r.listed), matches):
		return reloadList
	case r.search && annotations[reloadMatch] == "true":
		return reloadSearch
	}
	return r.auto
}

// idle tells that no Secret restarts the workload, whatever its annotations are.
func (r reloader) idle() bool { return !r.wave && !r.search && r.auto == "" && r.listed == "" }

// reloaded is the annotation by which a rotation restarts the workload a second
// time, empty where none does. A Secret that cannot be read is taken for one
// without annotations: its own plan tells why.
func (w *Workload) reloaded(ctx context.Context, r reloader) string {
	if r.idle() {
		return ""
	}
	for _, name := range w.secrets {
		o, _ := w.cluster.secrets().get(ctx, name)
		if annotation := r.reacts(name, o.GetAnnotations()); annotation != "" {
			return annotation
		}
	}
	return ""
}
