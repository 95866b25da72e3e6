package kube

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// The classes of failures, as the caller's table of failures names them. An
// error without one left an unknown outcome behind.
const (
	refused     = "refused"
	unhealthy   = "unhealthy"
	conflict    = "conflict"
	missing     = "missing"
	unavailable = "unavailable"
)

// failure is every error of this package: what was done, why it went wrong, of
// what class that is, and the remedy where one is known. It keeps no cause: an
// error of a library may hold what must not be seen.
type failure struct {
	class string
	text  string
	hint  string
}

func (f *failure) Error() string { return f.text }

// Class tells what the failure means: see the constants.
func (f *failure) Class() string { return f.class }

// Hint tells what to do, or is empty.
func (f *failure) Hint() string { return f.hint }

func fail(class, hint, format string, args ...any) error {
	return &failure{class: class, hint: hint, text: fmt.Sprintf(format, args...)}
}

func classOf(err error) string {
	var f *failure
	if errors.As(err, &f) {
		return f.class
	}
	return unavailable
}

// rule is an RBAC rule that a call needs.
// https://kubernetes.io/docs/reference/access-authn-authz/rbac/
type rule struct {
	namespace             string // empty: the cluster's
	group, resource, name string
	verbs                 []string
}

func (r rule) hint(namespace string) string {
	if r.resource == "" {
		return ""
	}
	text := fmt.Sprintf("grant the account in namespace %q: {apiGroups: [%q], resources: [%q]", namespace, r.group, r.resource)
	if r.name != "" {
		text += fmt.Sprintf(", resourceNames: [%q]", r.name)
	}
	return text + fmt.Sprintf(`, verbs: ["%s"]}`, strings.Join(r.verbs, `", "`))
}

// failed turns the answer of the API server to a call into a failure. Its text
// is scrubbed: an admission webhook may repeat what it was sent.
func (c *Cluster) failed(doing string, err error, needs rule) error {
	f := &failure{class: classify(err), text: doing + ": " + c.keeper.Scrub(err.Error())}
	switch {
	case admission.MatchString(err.Error()):
		f.hint = "the account has the right; an admission webhook or policy of the cluster refuses: ask who runs it to let this through"
	case unasked.MatchString(err.Error()):
		f.hint = "the API server asks an admission webhook that does not answer: ask who runs it to mend it"
	case apierrors.IsForbidden(err):
		f.hint = needs.hint(cmp.Or(needs.namespace, c.namespace))
	case apierrors.IsUnauthorized(err):
		f.hint = "the token of the kubeconfig is wrong or has expired: mint one in the step before this one"
	default:
		f.hint = reaching(err)
	}
	return f
}

// Admission says no in the same status as RBAC, and as others.
// https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
var (
	admission = regexp.MustCompile(`admission webhook ".*" denied the request|Policy '.*' with binding '.*' denied request`)
	unasked   = regexp.MustCompile(`failed calling webhook "`)
)

// reaching is the remedy where no API server has answered.
func reaching(err error) string {
	var stranger x509.UnknownAuthorityError
	var name x509.HostnameError
	var dial *net.OpError
	switch {
	case errors.As(err, &stranger), errors.As(err, &name):
		return "check `server` and `certificate-authority-data` of the cluster in `kubeconfig`: the certificate is of another name or authority"
	case errors.As(err, &dial) && dial.Op == "dial":
		return "check `server` of the cluster in `kubeconfig`; the API server has to be reached from the machine that this runs on"
	}
	return ""
}

// classify reads the HTTP status: a 4xx is a definite no that changed nothing,
// but for 409 (somebody else wrote) and 429 (asked again later).
func classify(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return unavailable
	}
	switch code := status.Status().Code; {
	case code == http.StatusConflict:
		return conflict
	case code == http.StatusNotFound:
		return missing
	case code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout:
		return refused
	}
	return unavailable
}
