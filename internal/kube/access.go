package kube

import (
	"context"

	authorizationv1 "k8s.io/api/authorization/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/util/retry"
)

// allowed asks the API server whether this account may do what a says, in the
// cluster's namespace if a names none. Asking needs no right, and changes nothing:
// where the connection is lost it asks again, which client-go does for a GET only.
// https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
func (c *Cluster) allowed(ctx context.Context, a authorizationv1.ResourceAttributes) (bool, error) {
	if a.Namespace == "" {
		a.Namespace = c.namespace
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &a}}
	var answer *authorizationv1.SelfSubjectAccessReview
	err := retry.OnError(retry.DefaultBackoff, connectionLost, func() (err error) {
		answer, err = c.reviews().create(ctx, review)
		return err
	})
	if err != nil {
		return false, c.failed("ask what the account may do", err, rule{})
	}
	return answer.Status.Allowed, nil
}

func connectionLost(err error) bool {
	return utilnet.IsProbableEOF(err) || utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err)
}

func (c *Cluster) reviews() resource[*authorizationv1.SelfSubjectAccessReview, *authorizationv1.SelfSubjectAccessReview] {
	one := func() *authorizationv1.SelfSubjectAccessReview { return &authorizationv1.SelfSubjectAccessReview{} }
	return resource[*authorizationv1.SelfSubjectAccessReview, *authorizationv1.SelfSubjectAccessReview]{
		c.authorization, c.codec, "", "selfsubjectaccessreviews", one, one}
}
