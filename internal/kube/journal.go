package kube

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// managedBy is the label that says whose object it is.
// https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
const managedBy = "app.kubernetes.io/managed-by"

// Journal is the Secret that makes a rotation survive a killed process. Pods
// never mount it.
type Journal struct {
	cluster *Cluster
	name    string

	mu   sync.Mutex
	seen *corev1.Secret // keeps what others wrote into the object through a Save
}

// journalSuffix follows the name of the served Secret in the journal's name.
const journalSuffix = "-rotation"

// Journal returns the journal that belongs to the served Secret of that name.
func (c *Cluster) Journal(served string) *Journal {
	return &Journal{cluster: c, name: served + journalSuffix}
}

// String names the journal's Secret with its namespace.
func (j *Journal) String() string { return qualified("Secret", j.cluster.namespace, j.name) }

// Plan asks the API server whether Load and Save will be allowed, creation
// included where there is no journal yet, and finds out by a dry run whether
// admission lets them through. It changes nothing.
func (j *Journal) Plan(ctx context.Context) error {
	needed := []string{"get", "update"}
	d, err := j.Load(ctx)
	switch {
	case err != nil:
		return err
	case d.Version == "":
		needed = append(needed, "create")
	}
	var checks []func() error
	for _, verb := range needed {
		checks = append(checks, func() error { return j.may(ctx, verb) })
	}
	if err := atOnce(checks...); err != nil {
		return err
	}
	return j.dryRun(ctx, d)
}

// dryRun has the server go through the write that begins a rotation. Whoever
// writes the journal at the same time proves that it can be written.
func (j *Journal) dryRun(ctx context.Context, d secret.Document) error {
	if d.Version != "" && immutable(j.last()) {
		return fail(refused, "delete it and make it anew without `immutable: true`, as in deploy/kubernetes.yaml; what it keeps of the last rotation goes with it",
			"write %s: it is immutable", j)
	}
	wanted, written, err := j.try(ctx, begun(d))
	switch {
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return nil
	case err != nil:
		return j.cluster.failed(fmt.Sprintf("write %s", j), err, j.needs())
	}
	if altered := wanted.misses(written); len(altered) > 0 {
		return fail(refused, meddled, "write %s: the API server would store something else in %s", j, strings.Join(altered, ", "))
	}
	return nil
}

// begun is d with what a rotation adds when it begins.
func begun(d secret.Document) secret.Document {
	next := secret.Document{Version: d.Version, Annotations: map[string]string{}, Data: map[string]secret.Value{}}
	maps.Copy(next.Annotations, d.Annotations)
	maps.Copy(next.Data, d.Data)
	next.Annotations[annotationPrefix+"phase"], next.Data["pending"] = "dry-run", secret.New("dry run")
	return next
}

// try is Save that stores nothing. It returns what the journal had to have then,
// and what it would have.
func (j *Journal) try(ctx context.Context, d secret.Document) (wanted content, written *corev1.Secret, err error) {
	o, write := j.empty(), j.cluster.secrets().create
	if d.Version != "" {
		o, write = j.last().DeepCopy(), j.cluster.secrets().update
	}
	fill(o, d)
	wanted = content{Data: o.Data, Annotations: map[string]*string{}}
	for name, text := range d.Annotations {
		wanted.Annotations[name] = &text
	}
	written, err = write(ctx, o, metav1.DryRunAll)
	return wanted, written, err
}

func (j *Journal) may(ctx context.Context, verb string) error {
	name := j.name
	if verb == "create" { // RBAC cannot limit it to a name
		name = ""
	}
	ok, err := j.cluster.allowed(ctx, authorizationv1.ResourceAttributes{Verb: verb, Resource: "secrets", Name: name})
	if ok || err != nil {
		return err
	}
	hint := j.needs().hint(j.cluster.namespace)
	if verb == "create" {
		hint = "grant `create` on secrets, or create it once:\n" + j.manifest()
	}
	return fail(refused, hint, "write %s: the account may not %s it", j, verb)
}

func (j *Journal) needs() rule {
	return rule{resource: "secrets", name: j.name, verbs: []string{"get", "update"}}
}

// manifest is an empty journal for whoever may create Secrets.
func (j *Journal) manifest() string {
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\n  labels: {%s: %s}\ntype: Opaque\n",
		j.name, j.cluster.namespace, managedBy, manager)
}

// Load returns the journal's own annotations and all its data. Its version is
// empty where there is no journal yet.
func (j *Journal) Load(ctx context.Context) (secret.Document, error) {
	o, err := j.cluster.secrets().get(ctx, j.name)
	if apierrors.IsNotFound(err) {
		return secret.Document{}, nil
	}
	if err != nil {
		return secret.Document{}, j.cluster.failed(fmt.Sprintf("read %s", j), err, j.needs())
	}
	return j.keep(o), nil
}

// Save replaces the annotations "pgrotate.io/..." and all data by those of d, if
// d.Version is still the stored version, and creates the journal where that is
// empty. It returns d with its new version. Class conflict: it is not, or
// somebody else created or deleted the journal. Any error but that and a
// refusal leaves open whether d was stored.
func (j *Journal) Save(ctx context.Context, d secret.Document) (secret.Document, error) {
	if d.Version == "" {
		return j.stored(j.cluster.secrets().create(ctx, fill(j.empty(), d)))
	}
	base, err := j.base(ctx, d.Version)
	if err != nil {
		return secret.Document{}, err
	}
	return j.stored(j.cluster.secrets().update(ctx, fill(base, d)))
}

func (j *Journal) empty() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: j.name, Namespace: j.cluster.namespace}, Type: corev1.SecretTypeOpaque}
}

// base is a copy of the object whose version is the one to replace.
func (j *Journal) base(ctx context.Context, version string) (*corev1.Secret, error) {
	if o := j.last(); o != nil && versionOf(o) == version {
		return o.DeepCopy(), nil
	}
	d, err := j.Load(ctx)
	switch {
	case err != nil:
		return nil, err
	case d.Version != version:
		return nil, fail(conflict, "", "write %s: somebody else wrote it meanwhile", j)
	}
	return j.last().DeepCopy(), nil
}

func (j *Journal) stored(o *corev1.Secret, err error) (secret.Document, error) {
	switch {
	case err == nil:
		return j.keep(o), nil
	case apierrors.IsNotFound(err):
		return secret.Document{}, fail(conflict, "", "write %s: somebody deleted it meanwhile", j)
	case apierrors.IsForbidden(err) && j.last() == nil:
		return secret.Document{}, j.cluster.failed(fmt.Sprintf("create %s", j), err, rule{resource: "secrets", verbs: []string{"create"}})
	}
	return secret.Document{}, j.cluster.failed(fmt.Sprintf("write %s", j), err, j.needs())
}

// keep remembers o and returns its document. The values are not masked here:
// each is a whole record, and whoever takes it apart masks the secrets in it.
func (j *Journal) keep(o *corev1.Secret) secret.Document {
	j.mu.Lock()
	j.seen = o
	j.mu.Unlock()
	d := secret.Document{Version: versionOf(o), Annotations: map[string]string{}, Data: map[string]secret.Value{}}
	for name, text := range o.Annotations {
		if strings.HasPrefix(name, annotationPrefix) {
			d.Annotations[name] = text
		}
	}
	for key, value := range o.Data {
		d.Data[key] = secret.New(string(value))
	}
	return d
}

func (j *Journal) last() *corev1.Secret {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.seen
}

// versionOf includes the uid: a journal that was made anew is not the old one,
// even should its resourceVersion be the same.
func versionOf(o *corev1.Secret) string { return string(o.UID) + "/" + o.ResourceVersion }

// fill puts d into o and leaves the annotations and labels of others.
func fill(o *corev1.Secret, d secret.Document) *corev1.Secret {
	maps.DeleteFunc(o.Annotations, func(name, _ string) bool { return strings.HasPrefix(name, annotationPrefix) })
	if o.Annotations == nil {
		o.Annotations = map[string]string{}
	}
	maps.Copy(o.Annotations, d.Annotations)
	if o.Labels == nil {
		o.Labels = map[string]string{}
	}
	o.Labels[managedBy] = manager
	o.Data = map[string][]byte{}
	for key, value := range d.Data {
		o.Data[key] = []byte(value.Reveal())
	}
	return o
}
