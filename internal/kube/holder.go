package kube

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// holder is a Secret that holds the credential in its mapped keys: the served
// one or a copy of it.
type holder struct {
	cluster *Cluster // in the Secret's namespace
	name    string
	mapping Mapping
	managed Reaction // to somebody else who writes it, too
	absent  string   // what to do where there is no such Secret
}

// String names the Secret with its namespace.
func (h *holder) String() string { return qualified("Secret", h.cluster.namespace, h.name) }

func (h *holder) needs(verbs ...string) rule {
	return rule{resource: "secrets", name: h.name, verbs: verbs}
}

func (h *holder) get(ctx context.Context) (*corev1.Secret, error) {
	o, err := h.cluster.secrets().get(ctx, h.name)
	if err == nil {
		return o, nil
	}
	failed := h.cluster.failed(fmt.Sprintf("read %s", h), err, h.needs("get", "patch"))
	if classOf(failed) == missing {
		return nil, fail(missing, h.absent, "read %s: there is no such Secret", h)
	}
	return nil, failed
}

// read takes the credential out of the mapped keys.
func (h *holder) read(o *corev1.Secret) secret.Credential {
	return h.mapping.read(o.Data, h.cluster.keeper.Keep)
}

// Render returns c with the bytes that the mapped keys must have to hold it.
// Class refused: a key is missing or cannot be edited; the error names the key.
func (h *holder) Render(keys map[string]secret.Value, c secret.Credential) (secret.Credential, error) {
	rendered, errs := h.mapping.render(keys, c, h.cluster.keeper.Keep)
	if err := errors.Join(errs...); err != nil {
		return secret.Credential{}, fail(refused, "", "render the credential of %q into %s: %v", c.User, h, err)
	}
	c.Keys = rendered
	return c, nil
}

// write patches o, which it may do only while that is the stored version, and
// leaves alone what wanted does not name. With the new password comes the end
// of the one in `kubectl apply`'s annotation.
func (h *holder) write(ctx context.Context, o *corev1.Secret, wanted content, dryRun ...string) (*corev1.Secret, error) {
	version := o.ResourceVersion
	if len(dryRun) > 0 { // nothing will be lost, so a change meanwhile does not matter
		version = ""
	}
	if len(wanted.changes(o)) > 0 && h.appliedLeaks(o) {
		wanted = wanted.without(lastApplied)
	}
	body, err := wanted.patch(string(o.UID), version)
	if err != nil {
		return nil, err
	}
	written, err := h.cluster.secrets().patch(ctx, h.name, body, dryRun...)
	switch {
	case err == nil:
		return written, nil
	case apierrors.IsNotFound(err):
		return nil, fail(conflict, "", "write %s: somebody deleted it meanwhile", h)
	}
	return nil, h.cluster.failed(fmt.Sprintf("write %s", h), err, h.needs("get", "patch"))
}
