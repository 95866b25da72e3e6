package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// TestOwners shows each owner the marks that it leaves, and marks that are no owner's.
func TestOwners(t *testing.T) {
	label := func(pairs ...string) metav1.ObjectMeta { return metav1.ObjectMeta{Labels: pairsOf(pairs)} }
	note := func(pairs ...string) metav1.ObjectMeta { return metav1.ObjectMeta{Annotations: pairsOf(pairs)} }
	ref := func(version, kind string, controller bool) metav1.ObjectMeta {
		return metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{APIVersion: version, Kind: kind, Name: "db", Controller: &controller}}}
	}
	fields := func(operation metav1.ManagedFieldsOperationType, who, raw string) metav1.ObjectMeta {
		return metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: who, Operation: operation, FieldsV1: &metav1.FieldsV1{Raw: []byte(raw)}}}}
	}
	const apply, update, password = metav1.ManagedFieldsOperationApply, metav1.ManagedFieldsOperationUpdate, `{"f:data":{"f:password":{}}}`
	flux := []string{"kustomize.toolkit.fluxcd.io/name", "apps"}
	for _, test := range []struct {
		name string
		meta metav1.ObjectMeta
		want string // names, joined; empty: nobody
	}{
		{"nobody", metav1.ObjectMeta{}, ""},
		{"external secrets, merged", label("reconcile.external-secrets.io/managed", "true"), "External Secrets"},
		{"external secrets, hashed", note("reconcile.external-secrets.io/data-hash", "51ad"), "External Secrets"},
		{"external secrets, owner", ref("external-secrets.io/v1", "ExternalSecret", true), "External Secrets"},
		{"sealed, owner", ref("bitnami.com/v1alpha1", "SealedSecret", true), "Sealed Secrets"},
		{"sealed, managed", note("sealedsecrets.bitnami.com/managed", "true"), "Sealed Secrets"},
		{"sealed, patched", note("sealedsecrets.bitnami.com/patch", "true"), "Sealed Secrets"},
		{"vault", ref("secrets.hashicorp.com/v1beta1", "VaultStaticSecret", true), "Vault Secrets Operator"},
		{"vault, by label", label("app.kubernetes.io/managed-by", "hashicorp-vso"), "Vault Secrets Operator"},
		{"helm", metav1.ObjectMeta{Labels: pairsOf([]string{"app.kubernetes.io/managed-by", "Helm"}), Annotations: pairsOf([]string{"meta.helm.sh/release-name", "shop"})}, "Helm"},
		{"argo cd, annotation", note("argocd.argoproj.io/tracking-id", "shop:/Secret:a/b"), "Argo CD"},
		{"argo cd, applied", fields(apply, "argocd-controller", password), "Argo CD"},
		{"argo cd, updated", fields(update, "argocd-application-controller", password), "Argo CD"},
		{"argo cd, another key", fields(update, "argocd-application-controller", `{"f:data":{"f:database":{}}}`), ""},
		{"argo cd, or a label that many use", label("app.kubernetes.io/instance", "shop"), `Argo CD, by the label "app.kubernetes.io/instance", which others set, too, perhaps`},
		{"argo cd, a chart of Helm's", label("app.kubernetes.io/instance", "shop", "app.kubernetes.io/managed-by", "Helm"), "Helm"},
		{"argo cd, label", label("argocd.argoproj.io/instance", "shop"), "Argo CD"},
		{"a label that everybody uses", label("app.kubernetes.io/instance", "shop", "app.kubernetes.io/managed-by", "pgrotate"), ""},
		{"flux", label(flux...), "Flux"},
		{"flux, helm", label("helm.toolkit.fluxcd.io/name", "shop"), "Flux"},
		{"flux, told to let it be", metav1.ObjectMeta{Labels: pairsOf(flux), Annotations: pairsOf([]string{"kustomize.toolkit.fluxcd.io/ssa", "IfNotPresent"})}, ""},
		{"flux, told after it has applied", metav1.ObjectMeta{Labels: pairsOf(flux), Annotations: pairsOf([]string{"kustomize.toolkit.fluxcd.io/ssa", "IfNotPresent"}),
			ManagedFields: fields(apply, "kustomize-controller", password).ManagedFields}, ""},
		{"flux, told to merge", metav1.ObjectMeta{Labels: pairsOf(flux), Annotations: pairsOf([]string{"kustomize.toolkit.fluxcd.io/ssa", "Merge"})}, ""},
		{"flux, told to merge, with the key", metav1.ObjectMeta{Labels: pairsOf(flux), Annotations: pairsOf([]string{"kustomize.toolkit.fluxcd.io/ssa", "Merge"}),
			ManagedFields: fields(apply, "kustomize-controller", password).ManagedFields}, `whoever applies it as "kustomize-controller"`},
		{"flux, told, and another who applies", metav1.ObjectMeta{Labels: pairsOf(flux), Annotations: pairsOf([]string{"kustomize.toolkit.fluxcd.io/ssa", "IfNotPresent"}),
			ManagedFields: fields(apply, "terraform", password).ManagedFields}, `whoever applies it as "terraform"`},
		{"flux, disabled", metav1.ObjectMeta{Labels: pairsOf(flux), Annotations: pairsOf([]string{"kustomize.toolkit.fluxcd.io/reconcile", "disabled"})}, ""},
		{"cnpg", label("cnpg.io/cluster", "pg", "cnpg.io/userType", "app"), "CloudNativePG"},
		{"cnpg, given by the user", label("cnpg.io/reload", "true"), "CloudNativePG"},
		{"zalando, by name", metav1.ObjectMeta{Name: "app.pg.credentials.postgresql.acid.zalan.do"}, "the Zalando operator"},
		{"zalando, by label", label("application", "spilo", "cluster-name", "pg"), "the Zalando operator"},
		{"crunchy", label("postgres-operator.crunchydata.com/cluster", "hippo", "postgres-operator.crunchydata.com/pguser", "app"), "the Crunchy operator"},
		{"another controller", ref("x.example/v1", "Tenant", true), "Tenant/db"},
		{"an owner that controls nothing", ref("x.example/v1", "Tenant", false), ""},
		{"applied key", fields(apply, "terraform", password), `whoever applies it as "terraform"`},
		{"applied as text", fields(apply, "terraform", `{"f:stringData":{"f:password":{}}}`), `whoever applies it as "terraform"`},
		{"applied by a person", fields(apply, "kubectl", password), `whoever applies it as "kubectl", when told`},
		{"another applied key", fields(apply, "terraform", `{"f:data":{"f:database":{}}}`), ""},
		{"applied label", fields(apply, "terraform", `{"f:metadata":{"f:labels":{"f:password":{}}}}`), ""},
		{"updated key", fields(update, "kubectl-create", password), ""},
		{"our own", fields(apply, manager, password), ""},
	} {
		var got []string
		for _, by := range owners(&corev1.Secret{ObjectMeta: test.meta}, []string{"password", "username"}) {
			if by.remedy == "" {
				t.Errorf("%s: no remedy", test.name)
			}
			if by.person {
				by.name += ", when told"
			}
			if by.unsure {
				by.name += ", perhaps"
			}
			got = append(got, by.name)
		}
		if strings.Join(got, " and ") != test.want {
			t.Errorf("%s: owners %q, want %q", test.name, got, test.want)
		}
	}
}

func pairsOf(pairs []string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

// TestPlanOfOwnedSecret asks for the served Secret and a copy: refused, or with
// a warning where that is wanted.
func TestPlanOfOwnedSecret(t *testing.T) {
	c := lab(t)
	o, copied := servedSecret(), copySecret("postgres://alfred_user:former-password@replica/reports")
	o.Labels["reconcile.external-secrets.io/managed"] = "true"
	copied.Annotations["meta.helm.sh/release-name"] = "reports"
	putSecret(t, c, o)
	putSecret(t, c, copied)
	next := secret.Credential{User: "alfred_user", Password: secret.New("brand-new-password")}
	for _, managed := range []Reaction{Refuse, "", Warn} {
		served := c.Served(servedName, urlMapping, managed)
		copies, err := served.Copies([]string{copyName})
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range []struct {
			plan      func() (string, []string, error)
			who, hint string
		}{
			{func() (string, []string, error) { return served.Plan(t.Context(), next) }, "it belongs to External Secrets", "rotate it there"},
			{func() (string, []string, error) { return copies[0].Plan(t.Context(), next) }, "it belongs to Helm", "helm.sh/resource-policy"},
		} {
			change, warnings, err := target.plan()
			if managed != Warn {
				if f := wantFailure(t, err, refused, target.who); !strings.Contains(f.Hint(), target.hint) || !strings.Contains(f.Hint(), "managed-secret: warn") {
					t.Errorf("hint %q", f.Hint())
				}
			} else if err != nil || change != `writes "DATABASE_URL", "password"` || len(warnings) != 1 || !strings.Contains(warnings[0], target.hint) {
				t.Errorf("change %q, warnings %q, %v", change, warnings, err)
			}
		}
	}
}

// applied has who apply the password of the served Secret.
func applied(t *testing.T, c *Cluster, who string) {
	t.Helper()
	body := `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"` + servedName + `"},"data":{"password":"Zm9ybWVyLXBhc3N3b3Jk"}}`
	if err := c.core.Patch("application/apply-patch+yaml").Namespace(c.namespace).Resource("secrets").Name(servedName).
		Param("fieldManager", who).Param("force", "true").Body([]byte(body)).Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
}

// TestPlanOfAppliedSecret has the API server note who applies the key.
func TestPlanOfAppliedSecret(t *testing.T) {
	c := lab(t)
	putSecret(t, c, servedSecret())
	applied(t, c, "terraform")
	_, _, err := c.Served(servedName, urlMapping, Refuse).Plan(t.Context(), secret.Credential{User: "alfred_user", Password: secret.New("brand-new-password")})
	wantFailure(t, err, refused, `it belongs to whoever applies it as "terraform"`)
}

// TestPlanAfterTheRemedy does what the refusal of a deployer's Secret says.
func TestPlanAfterTheRemedy(t *testing.T) {
	const untold = `"managedFields":[{}]`
	for name, test := range map[string]struct{ who, labels, remedy string }{
		"Flux, told":      {"kustomize-controller", `{"kustomize.toolkit.fluxcd.io/name":"apps"}`, `{"metadata":{"annotations":{"kustomize.toolkit.fluxcd.io/ssa":"IfNotPresent"}}}`},
		"Flux, taken out": {"kustomize-controller", `{"kustomize.toolkit.fluxcd.io/name":"apps"}`, `{"metadata":{"labels":{"kustomize.toolkit.fluxcd.io/name":null},` + untold + `}}`},
		"Argo CD":         {"argocd-controller", `{"argocd.argoproj.io/instance":"shop"}`, `{"metadata":{"labels":{"argocd.argoproj.io/instance":null},` + untold + `}}`},
	} {
		t.Run(name, func(t *testing.T) {
			c := lab(t)
			putSecret(t, c, servedSecret())
			applied(t, c, test.who)
			mergePatch(t, c, servedName, `{"metadata":{"labels":`+test.labels+`}}`)
			plan := func() error {
				_, _, err := c.Served(servedName, urlMapping, Refuse).Plan(t.Context(), secret.Credential{User: "alfred_user", Password: secret.New("brand-new-password")})
				return err
			}
			wantFailure(t, plan(), refused, "it belongs to")
			mergePatch(t, c, servedName, test.remedy)
			if err := plan(); err != nil {
				t.Errorf("after the remedy: %v", err)
			}
		})
	}
}

// TestPlanOfASecretThatMayBeOwned says how to find out, and goes on.
func TestPlanOfASecretThatMayBeOwned(t *testing.T) {
	c := lab(t)
	o := servedSecret()
	o.Labels = pairsOf([]string{"app.kubernetes.io/instance", "shop"})
	putSecret(t, c, o)
	_, warnings, err := c.Served(servedName, urlMapping, Refuse).Plan(t.Context(), secret.Credential{User: "alfred_user", Password: secret.New("brand-new-password")})
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "may belong to Argo CD") || !strings.Contains(warnings[0], "`kubectl get applications.argoproj.io --all-namespaces` lists \"shop\"") {
		t.Errorf("warnings %q, %v", warnings, err)
	}
}
