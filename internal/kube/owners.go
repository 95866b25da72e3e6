package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// owner is somebody else who writes a Secret and may put the old password back.
type owner struct {
	name   string
	remedy string
	person bool // it does so only when a person says so
	unsure bool // others leave that mark, too
}

// owners finds who else writes keys of o, by the labels, annotations and owner
// references that they leave, and by managedFields. It asks nobody.
func owners(o *corev1.Secret, keys []string) []owner {
	found := slices.Concat(secretStores(o), deployers(o, keys), operators(o))
	if ref := metav1.GetControllerOf(o); ref != nil && len(found) == 0 {
		found = append(found, owner{name: ref.Kind + "/" + ref.Name, remedy: "have that controller change the password, or give the workloads a Secret that is nobody's"})
	}
	if len(found) == 0 {
		found = appliers(o, keys)
	}
	if len(found) == 0 {
		found = alike(o)
	}
	return found
}

// secretStores bring a Secret in from somewhere else.
func secretStores(o *corev1.Secret) []owner {
	return those(
		sign{"External Secrets", o.Labels["reconcile.external-secrets.io/managed"] == "true" || o.Annotations["reconcile.external-secrets.io/data-hash"] != "" || belongs(o, "external-secrets.io"),
			"its next refresh writes the provider's value: rotate it there, or delete the ExternalSecret, keep the Secret (deletionPolicy: Retain), and remove its label and annotation"},
		sign{"Sealed Secrets", o.Annotations["sealedsecrets.bitnami.com/managed"] == "true" || o.Annotations["sealedsecrets.bitnami.com/patch"] == "true" || belongs(o, "bitnami.com"),
			"its controller unseals the old password again: delete the SealedSecret with `--cascade=orphan`, and these annotations"},
		sign{"Vault Secrets Operator", o.Labels[managedBy] == "hashicorp-vso" || belongs(o, "secrets.hashicorp.com"),
			"it writes Vault's value again: rotate it there, or delete its resource and keep the Secret"},
	)
}

// deployers bring a Secret in from a repository or a chart.
func deployers(o *corev1.Secret, keys []string) []owner {
	return those(
		sign{"Helm", o.Labels[managedBy] == "Helm" || o.Annotations["meta.helm.sh/release-name"] != "",
			"the next `helm upgrade` writes the chart's value: let the chart refer to an existing Secret, keep this one (annotation helm.sh/resource-policy: keep), and remove Helm's label and annotations from it"},
		sign{"Argo CD", o.Annotations["argocd.argoproj.io/tracking-id"] != "" || o.Labels["argocd.argoproj.io/instance"] != "" || writtenByArgo(o, keys), argoRemedy},
		sign{"Flux", o.Labels["kustomize.toolkit.fluxcd.io/name"] != "" && !leftByFlux(o) && o.Annotations[fluxApplies] != "Merge" || o.Labels["helm.toolkit.fluxcd.io/name"] != "",
			"the next reconciliation writes the repository's value: annotate it with " + fluxApplies + ": IfNotPresent; or take it out of the repository, keep it " +
				"(annotation kustomize.toolkit.fluxcd.io/prune: disabled), and remove Flux's labels and managedFields from it"},
	)
}

const (
	argoLabel  = "app.kubernetes.io/instance"
	argoRemedy = "the next sync writes the repository's value: take the Secret out of it, keep it, and remove Argo CD's annotation, label and managedFields from it; " +
		"or declare ignoreDifferences for its /data with RespectIgnoreDifferences=true, and set `managed-secret: warn`"
	fluxManager = "kustomize-controller"
	fluxApplies = "kustomize.toolkit.fluxcd.io/ssa"
)

// writtenByArgo tells whether Argo CD was the last to write one of the keys. Its
// name is the first of the two where it applies on the server, and that of its
// program where it does not.
// https://argo-cd.readthedocs.io/en/stable/user-guide/sync-options/#server-side-apply
func writtenByArgo(o *corev1.Secret, keys []string) bool {
	return slices.ContainsFunc(o.ManagedFields, func(f metav1.ManagedFieldsEntry) bool {
		return (f.Manager == "argocd-controller" || f.Manager == "argocd-application-controller") && ownsAny(f, keys)
	})
}

// alike finds the label that Argo CD tracks by unless it is told otherwise, and
// that many set by hand.
// https://argo-cd.readthedocs.io/en/stable/user-guide/resource_tracking/
func alike(o *corev1.Secret) []owner {
	if o.Labels[argoLabel] == "" || o.Labels[managedBy] != "" {
		return nil
	}
	return []owner{{name: fmt.Sprintf("Argo CD, by the label %q, which others set, too", argoLabel), unsure: true,
		remedy: fmt.Sprintf("it does if `kubectl get applications.argoproj.io --all-namespaces` lists %q: then %s", o.Labels[argoLabel], argoRemedy)}}
}

// leftByFlux tells whether Flux has been told to leave alone what it once
// applied. Under Merge it leaves only what it does not apply: see appliers.
// https://fluxcd.io/flux/components/kustomize/kustomizations/#controlling-the-apply-behavior-of-resources
func leftByFlux(o *corev1.Secret) bool {
	switch o.Annotations[fluxApplies] {
	case "IfNotPresent", "Ignore":
		return true
	}
	return o.Annotations["kustomize.toolkit.fluxcd.io/reconcile"] == "disabled"
}

// operators run PostgreSQL and set the passwords of its roles themselves.
func operators(o *corev1.Secret) []owner {
	const own = "; or give the workloads a role and a Secret that the operator does not know"
	return those(
		sign{"CloudNativePG", o.Labels["cnpg.io/cluster"] != "" || o.Labels["cnpg.io/reload"] == "true" || belongs(o, "postgresql.cnpg.io"),
			"it sets the role's password to what its Secret holds, again whenever a primary is promoted: change it in that Secret" + own},
		sign{"the Zalando operator", strings.HasSuffix(o.Name, ".credentials.postgresql.acid.zalan.do") || o.Labels["application"] == "spilo" && o.Labels["cluster-name"] != "" || belongs(o, "acid.zalan.do"),
			"it sets the role's password to what its Secret holds: use its own password rotation" + own},
		sign{"the Crunchy operator", o.Labels["postgres-operator.crunchydata.com/cluster"] != "" || belongs(o, "postgres-operator.crunchydata.com"),
			"it applies the Secret's verifier again: have it make a new password by emptying the keys `password` and `verifier`" + own},
	)
}

// sign is what tells that somebody owns a Secret.
type sign struct {
	name   string
	there  bool
	remedy string
}

func those(signs ...sign) []owner {
	var found []owner
	for _, s := range signs {
		if s.there {
			found = append(found, owner{name: s.name, remedy: s.remedy})
		}
	}
	return found
}

// belongs tells whether an owner reference is to an object of that API group.
func belongs(o *corev1.Secret, group string) bool {
	return slices.ContainsFunc(o.OwnerReferences, func(ref metav1.OwnerReference) bool { return strings.HasPrefix(ref.APIVersion, group+"/") })
}

// appliers are the field managers that apply one of the keys: they hold it in
// a manifest of theirs. Who only ever updated it has changed it once.
func appliers(o *corev1.Secret, keys []string) []owner {
	var found []owner
	for _, f := range o.ManagedFields {
		if f.Operation != metav1.ManagedFieldsOperationApply || f.Manager == manager || !ownsAny(f, keys) || f.Manager == fluxManager && leftByFlux(o) {
			continue
		}
		found = append(found, owner{name: fmt.Sprintf("whoever applies it as %q", f.Manager), person: f.Manager == "kubectl",
			remedy: "take the keys of the credential out of the manifest that is applied, and put them back where that has deleted them"})
	}
	return found
}

// owned turns the owners into refusals or, as far as that is wanted, warnings.
func (h *holder) owned(o *corev1.Secret) (warnings []string, err error) {
	var errs []error
	for _, by := range owners(o, h.keys(o)) {
		switch {
		case by.unsure:
			warnings = append(warnings, fmt.Sprintf("%s may belong to %s: %s", h, by.name, by.remedy))
		case by.person || h.managed == Warn:
			warnings = append(warnings, fmt.Sprintf("%s belongs to %s, which may put the old password back: %s", h, by.name, by.remedy))
		default:
			errs = append(errs, fail(refused, by.remedy+" (or go on with `managed-secret: warn`)", "rotate %s: it belongs to %s, which may put the old password back", h, by.name))
		}
	}
	return warnings, errors.Join(errs...)
}
