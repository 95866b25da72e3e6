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
}

// owners finds who else writes keys of o, by the labels, annotations and owner
// references that they leave, and by managedFields. It asks nobody.
func owners(o *corev1.Secret, keys []string) []owner {
	found := slices.Concat(secretStores(o), deployers(o), operators(o))
	if ref := metav1.GetControllerOf(o); ref != nil && len(found) == 0 {
		found = append(found, owner{name: ref.Kind + "/" + ref.Name, remedy: "have that controller change the password, or give the workloads a Secret that is nobody's"})
	}
	if len(found) == 0 {
		found = appliers(o.ManagedFields, keys)
	}
	return found
}

// secretStores bring a Secret in from somewhere else.
func secretStores(o *corev1.Secret) []owner {
	return those(
		sign{"External Secrets", o.Labels["reconcile.external-secrets.io/managed"] == "true" || o.Annotations["reconcile.external-secrets.io/data-hash"] != "" || belongs(o, "external-secrets.io"),
			"its next refresh writes the provider's value: rotate it there, or delete the ExternalSecret and keep the Secret (deletionPolicy: Retain)"},
		sign{"Sealed Secrets", o.Annotations["sealedsecrets.bitnami.com/managed"] == "true" || o.Annotations["sealedsecrets.bitnami.com/patch"] == "true" || belongs(o, "bitnami.com"),
			"its controller unseals the old password again: delete the SealedSecret with `--cascade=orphan`, and these annotations"},
		sign{"Vault Secrets Operator", o.Labels["app.kubernetes.io/managed-by"] == "hashicorp-vso" || belongs(o, "secrets.hashicorp.com"),
			"it writes Vault's value again: rotate it there, or delete its resource and keep the Secret"},
	)
}

// deployers bring a Secret in from a repository or a chart.
func deployers(o *corev1.Secret) []owner {
	flux := o.Labels["kustomize.toolkit.fluxcd.io/name"] != "" || o.Labels["helm.toolkit.fluxcd.io/name"] != ""
	told := o.Annotations["kustomize.toolkit.fluxcd.io/reconcile"] == "disabled" ||
		slices.Contains([]string{"IfNotPresent", "Ignore", "Merge"}, o.Annotations["kustomize.toolkit.fluxcd.io/ssa"]) // Merge keeps what it does not apply: see appliers
	return those(
		sign{"Helm", o.Labels["app.kubernetes.io/managed-by"] == "Helm" || o.Annotations["meta.helm.sh/release-name"] != "",
			"the next `helm upgrade` writes the chart's value: let the chart refer to an existing Secret, and keep this one (annotation helm.sh/resource-policy: keep)"},
		sign{"Argo CD", o.Annotations["argocd.argoproj.io/tracking-id"] != "" || o.Labels["argocd.argoproj.io/instance"] != "",
			"the next sync writes the repository's value: take the Secret out of it; or declare ignoreDifferences for its /data with RespectIgnoreDifferences=true, and set `managed-secret: warn`"},
		sign{"Flux", flux && !told,
			"the next reconciliation writes the repository's value: take the Secret out of it, or annotate it with kustomize.toolkit.fluxcd.io/ssa: IfNotPresent"},
	)
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
func appliers(fields []metav1.ManagedFieldsEntry, keys []string) []owner {
	var found []owner
	for _, f := range fields {
		if f.Operation != metav1.ManagedFieldsOperationApply || f.Manager == manager || !slices.ContainsFunc(keys, func(key string) bool { return owns(f, key) }) {
			continue
		}
		found = append(found, owner{name: fmt.Sprintf("whoever applies it as %q", f.Manager), person: f.Manager == "kubectl",
			remedy: "take the keys of the credential out of the manifest that is applied"})
	}
	return found
}

// owned turns the owners into refusals or, as far as that is wanted, warnings.
func (h *holder) owned(o *corev1.Secret) (warnings []string, err error) {
	var errs []error
	for _, by := range owners(o, h.keys(o)) {
		if by.person || h.managed == Warn {
			warnings = append(warnings, fmt.Sprintf("%s belongs to %s, which may put the old password back: %s", h, by.name, by.remedy))
			continue
		}
		errs = append(errs, fail(refused, by.remedy+" (or go on with `managed-secret: warn`)", "rotate %s: it belongs to %s, which may put the old password back", h, by.name))
	}
	return warnings, errors.Join(errs...)
}
