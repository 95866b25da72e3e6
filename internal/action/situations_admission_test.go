package action_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
)

// wrongAdmission are policies and webhooks of the cluster that RBAC knows nothing of.
func wrongAdmission() []situation {
	const refused = "write Secret \"$NAMESPACE/postgres-credentials\": .*"
	return []situation{
		{name: "policy that refuses the Secret", set: policy("secrets", "postgres-credentials"), want: refused + "denied request: it is sealed", remedy: "admission webhook or policy"},
		{name: "policy that refuses the restart", set: policy("deployments", "shop"), want: "restart deployment/shop: .*denied request: it is sealed", remedy: "admission webhook or policy"},
		{name: "policy that refuses the journal", set: policy("secrets", fixture.Journal), want: "write Secret \"$NAMESPACE/postgres-credentials-rotation\": .*denied request: it is sealed", remedy: "admission webhook or policy"},
		{name: "webhook that refuses the Secret", set: validating(answers(func(a *admissionv1.AdmissionResponse) {
			a.Allowed, a.Result = false, &metav1.Status{Code: http.StatusForbidden, Message: "it is sealed"}
		})), want: refused + "denied the request: it is sealed", remedy: "the account has the right.*admission webhook or policy"},
		{name: "webhook that does not answer", set: validating(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
			want: refused + "failed calling webhook", remedy: "an admission webhook that does not answer"},
		{name: "webhook that changes the password", set: mutating("secrets", fixture.Secret, answers(func(a *admissionv1.AdmissionResponse) {
			kind := admissionv1.PatchTypeJSONPatch
			other := base64.StdEncoding.EncodeToString([]byte("another-password"))
			a.PatchType, a.Patch = &kind, fmt.Appendf(nil, `[{"op":"replace","path":"/data/password","value":%q}]`, other)
		})), want: refused + "would store something else in key \"password\"", remedy: "to leave this Secret alone"},
		{name: "webhook that takes annotations away", set: mutating("secrets", fixture.Secret, without("/metadata/annotations")),
			want: refused + "would store something else in annotation \"pgrotate.io/epoch\"", remedy: "to leave this Secret alone"},
		{name: "webhook that takes the journal's annotations away", set: mutating("secrets", fixture.Journal, without("/metadata/annotations")),
			want: "write Secret \"$NAMESPACE/postgres-credentials-rotation\": the API server would store something else in annotation \"pgrotate.io/phase\"", remedy: "to leave this Secret alone"},
		{name: "webhook that takes the mark of a restart away", set: mutating("deployments", "shop", without("/spec/template/metadata/annotations")),
			want: "restart deployment/shop: the API server would store something else in annotation \"pgrotate.io/restart\"", remedy: "to leave this annotation alone.*list in `workloads`"},
	}
}

// without answers that a map be emptied.
func without(path string) http.HandlerFunc {
	return answers(func(a *admissionv1.AdmissionResponse) {
		kind := admissionv1.PatchTypeJSONPatch
		a.PatchType, a.Patch = &kind, fmt.Appendf(nil, `[{"op":"add","path":%q,"value":{}}]`, path) // replaces what is there
	})
}

// policy refuses every change of one object to everybody.
func policy(resource, name string) func(*stage) {
	return func(st *stage) {
		policies, bindings := st.Cluster.AdmissionregistrationV1().ValidatingAdmissionPolicies(), st.Cluster.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
		meta := metav1.ObjectMeta{Name: st.Name}
		forbidden := metav1.StatusReasonForbidden
		_, err := policies.Create(st.Context(), &registrationv1.ValidatingAdmissionPolicy{ObjectMeta: meta, Spec: registrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &registrationv1.MatchResources{NamespaceSelector: st.here(), ResourceRules: []registrationv1.NamedRuleWithOperations{{ResourceNames: []string{name}, RuleWithOperations: changesOf(resource)}}},
			Validations:      []registrationv1.Validation{{Expression: "false", Message: "it is sealed", Reason: &forbidden}},
		}}, metav1.CreateOptions{})
		st.must(err)
		_, err = bindings.Create(st.Context(), &registrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta, Spec: registrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: st.Name, ValidationActions: []registrationv1.ValidationAction{registrationv1.Deny},
		}}, metav1.CreateOptions{})
		st.must(err)
		st.inForce(resource, name, func(ctx context.Context) error {
			if err := bindings.Delete(ctx, st.Name, metav1.DeleteOptions{}); err != nil {
				return err
			}
			return policies.Delete(ctx, st.Name, metav1.DeleteOptions{})
		})
	}
}

// validating is a webhook that is asked before every change of the served Secret.
func validating(answer http.HandlerFunc) func(*stage) {
	return func(st *stage) {
		configurations, none := st.Cluster.AdmissionregistrationV1().ValidatingWebhookConfigurations(), registrationv1.SideEffectClassNone
		_, err := configurations.Create(st.Context(), &registrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: st.Name}, Webhooks: []registrationv1.ValidatingWebhook{{
			Name: "sealed.example.com", ClientConfig: st.answering(answer), Rules: []registrationv1.RuleWithOperations{changesOf("secrets")},
			NamespaceSelector: st.here(), MatchConditions: only(fixture.Secret), SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
		}}}, metav1.CreateOptions{})
		st.must(err)
		st.inForce("secrets", fixture.Secret, func(ctx context.Context) error { return configurations.Delete(ctx, st.Name, metav1.DeleteOptions{}) })
	}
}

// mutating is one that may change what is written to one object.
func mutating(resource, name string, answer http.HandlerFunc) func(*stage) {
	return func(st *stage) {
		configurations, none := st.Cluster.AdmissionregistrationV1().MutatingWebhookConfigurations(), registrationv1.SideEffectClassNone
		_, err := configurations.Create(st.Context(), &registrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: st.Name}, Webhooks: []registrationv1.MutatingWebhook{{
			Name: "sealed.example.com", ClientConfig: st.answering(answer), Rules: []registrationv1.RuleWithOperations{changesOf(resource)},
			NamespaceSelector: st.here(), MatchConditions: only(name), SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
		}}}, metav1.CreateOptions{})
		st.must(err)
		st.inForce(resource, name, func(ctx context.Context) error { return configurations.Delete(ctx, st.Name, metav1.DeleteOptions{}) })
	}
}

// answering is a server for a webhook.
func (st *stage) answering(answer http.HandlerFunc) registrationv1.WebhookClientConfig {
	server := httptest.NewTLSServer(answer)
	st.Cleanup(server.Close)
	return registrationv1.WebhookClientConfig{URL: &server.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})}
}

// answers allows a request but for what change does.
func answers(change func(*admissionv1.AdmissionResponse)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
		change(review.Response)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(review)
	}
}

func changesOf(resource string) registrationv1.RuleWithOperations {
	return registrationv1.RuleWithOperations{Operations: []registrationv1.OperationType{registrationv1.Create, registrationv1.Update},
		Rule: registrationv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{resource}}}
}

// only chooses one object.
func only(name string) []registrationv1.MatchCondition {
	return []registrationv1.MatchCondition{{Name: "only", Expression: fmt.Sprintf("request.name == %q", name)}}
}

// here chooses the namespace of the platform.
func (st *stage) here() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": st.Name}}
}

// inForce waits until the API server goes by what was made, and, when the test
// has ended and it is gone, no longer.
func (st *stage) inForce(resource, name string, gone func(context.Context) error) {
	st.Helper()
	st.awaitAdmission(resource, name, false)
	st.Cleanup(func() {
		st.must(gone(context.WithoutCancel(st.Context())))
		st.awaitAdmission(resource, name, true)
	})
}

// awaitAdmission tries a change, dry, until it is let through unchanged, or not.
func (st *stage) awaitAdmission(resource, name string, through bool) {
	st.Helper()
	ctx := context.WithoutCancel(st.Context())
	for range 600 {
		if st.admitted(ctx, resource, name) == through {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	st.Fatal("the API server does not go by the admission rules")
}

func (st *stage) admitted(ctx context.Context, resource, name string) bool {
	const annotation = `{"metadata":{"annotations":{"tried":"dry"}}}`
	dry, secrets := []string{metav1.DryRunAll}, st.Cluster.CoreV1().Secrets(st.Name)
	merge := metav1.PatchOptions{DryRun: dry}
	switch {
	case resource == "deployments":
		after, err := st.Cluster.AppsV1().Deployments(st.Name).Patch(ctx, name, types.MergePatchType, []byte(`{"spec":{"template":`+annotation+`}}`), merge)
		return err == nil && after.Spec.Template.Annotations["tried"] == "dry"
	case name == fixture.Journal:
		o := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"tried": "dry"}}}
		after, err := secrets.Create(ctx, o, metav1.CreateOptions{DryRun: dry})
		return err == nil && after.Annotations["tried"] == "dry"
	}
	after, err := secrets.Patch(ctx, name, types.MergePatchType, []byte(annotation), merge)
	return err == nil && after.Annotations["tried"] == "dry" && string(after.Data["password"]) == st.Password
}
