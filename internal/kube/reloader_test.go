package kube

import (
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestReloader(t *testing.T) {
	const auto, autoSecret, search = "reloader.stakater.com/auto", "secret.reloader.stakater.com/auto", "reloader.stakater.com/search"
	const reload, exclude, wave = "secret.reloader.stakater.com/reload", "secrets.exclude.reloader.stakater.com/reload", "wave.pusher.com/update-on-config-change"
	type notes = map[string]string
	ignored, matched := notes{"reloader.stakater.com/ignore": "true"}, notes{"reloader.stakater.com/match": "true"}
	for _, test := range []struct {
		name                       string
		workload, template, secret notes
		by                         string // the annotation that is warned of
	}{
		{"nothing", nil, nil, nil, ""},
		{"auto", notes{auto: "true"}, nil, nil, auto},
		{"auto on the template", nil, notes{auto: "true"}, nil, auto},
		{"auto for Secrets", notes{autoSecret: "true"}, nil, nil, autoSecret},
		{"auto, and the Secret is ignored", notes{auto: "true"}, nil, ignored, ""},
		{"auto, and ignoring it is switched off", notes{auto: "true"}, nil, notes{"reloader.stakater.com/ignore": "false"}, auto},
		{"auto, and the workload excludes the Secret", notes{auto: "true", exclude: "other, " + servedName}, nil, nil, ""},
		{"auto, and the workload excludes another one", notes{auto: "true", exclude: "other"}, nil, nil, auto},
		{"not auto", notes{auto: "false"}, nil, nil, ""},
		{"not auto, whatever the template says", notes{auto: "false"}, notes{auto: "true"}, nil, ""},
		{"listed", notes{reload: "other, " + servedName}, nil, nil, reload},
		{"listed by an expression", notes{reload: "postgres-.*"}, nil, nil, reload},
		{"listed, and the Secret is ignored", notes{reload: servedName}, nil, ignored, ""},
		{"another one listed", notes{reload: "other"}, nil, nil, ""},
		{"listed by what is no expression", notes{reload: "("}, nil, nil, ""},
		{"search, and the Secret matches", notes{search: "true"}, nil, matched, search},
		{"search, and the Secret does not match", notes{search: "true"}, nil, nil, ""},
		{"Wave", notes{wave: "true"}, nil, nil, wave},
		{"Wave knows no ignored Secret", notes{wave: "true"}, nil, ignored, wave},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := answering(t, func(w http.ResponseWriter, r *http.Request) {
				reply(w, http.StatusOK, &corev1.Secret{TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: servedName, Annotations: test.secret}})
			})
			w := &Workload{cluster: c, kind: &kind{name: "deployment"}, name: "shop", secrets: []string{servedName}}
			warnings := strings.Join(w.doubts(t.Context(), rollout{reloader: readReloader(test.workload, test.template)}), "\n")
			if warned := strings.Contains(warnings, "a second time"); warned != (test.by != "") || !strings.Contains(warnings, test.by) {
				t.Errorf("warnings %q, want one of %q", warnings, test.by)
			}
		})
	}
}

// TestReloaderOfASecretOutOfReach: what may restart is warned of.
func TestReloaderOfASecretOutOfReach(t *testing.T) {
	c := answering(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	w := &Workload{cluster: c, kind: &kind{name: "deployment"}, name: "shop", secrets: []string{servedName}}
	if got := w.reloaded(t.Context(), reloader{auto: reloadAuto}); got != reloadAuto {
		t.Errorf("%q", got)
	}
}
