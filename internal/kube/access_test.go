package kube

import (
	"net/http"
	"sync/atomic"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAllowedAsksAgainWhereTheConnectionIsLost: an API server or a load balancer may
// close one at any time.
func TestAllowedAsksAgainWhereTheConnectionIsLost(t *testing.T) {
	for name, test := range map[string]struct {
		lost int32
		want bool
	}{"once": {1, true}, "each time": {99, false}} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			c := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) <= test.lost {
					panic(http.ErrAbortHandler) // the server's way to hang up
				}
				reply(w, http.StatusCreated, authorizationv1.SelfSubjectAccessReview{
					TypeMeta: metav1.TypeMeta{Kind: "SelfSubjectAccessReview", APIVersion: "authorization.k8s.io/v1"},
					Status:   authorizationv1.SubjectAccessReviewStatus{Allowed: true}})
			})
			ok, err := c.allowed(t.Context(), authorizationv1.ResourceAttributes{Verb: "get", Resource: "secrets"})
			if ok != test.want || (err == nil) != test.want {
				t.Errorf("allowed: %t, error %v, after %d questions", ok, err, asked.Load())
			}
		})
	}
}
