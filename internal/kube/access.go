package kube

import (
	"context"

	authorizationv1 "k8s.io/api/authorization/v1"
)

// allowed asks the API server whether this account may do what a says, in the
// cluster's namespace if a names none. Asking needs no right.
// https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access
func (c *Cluster) allowed(ctx context.Context, a authorizationv1.ResourceAttributes) (bool, error) {
	if a.Namespace == "" {
		a.Namespace = c.namespace
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &a}}
	answer, err := c.reviews().create(ctx, review)
	if err != nil {
		return false, c.failed("ask what the account may do", err, rule{})
	}
	return answer.Status.Allowed, nil
}

func (c *Cluster) reviews() resource[*authorizationv1.SelfSubjectAccessReview, *authorizationv1.SelfSubjectAccessReview] {
	one := func() *authorizationv1.SelfSubjectAccessReview { return &authorizationv1.SelfSubjectAccessReview{} }
	return resource[*authorizationv1.SelfSubjectAccessReview, *authorizationv1.SelfSubjectAccessReview]{
		c.authorization, c.codec, "", "selfsubjectaccessreviews", one, one}
}
