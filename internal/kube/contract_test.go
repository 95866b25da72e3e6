package kube_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pgrotate/pgrotate/internal/kube"
	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/rotation/rotationtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// contract is a namespace of the lab's cluster, seen by the cluster's own client.
type contract struct {
	t          *testing.T
	kubeconfig string
	client     *kubernetes.Clientset
	namespace  string
}

// newContract makes a namespace that lives as long as t.
func newContract(t *testing.T) *contract {
	text, err := os.ReadFile(labtest.Open(t).Kubeconfig)
	must(t, err)
	config, err := clientcmd.RESTConfigFromKubeConfig(text)
	must(t, err)
	config.QPS = -1 // else the test waits for its own five requests a second
	client, err := kubernetes.NewForConfig(config)
	must(t, err)
	c := &contract{t: t, kubeconfig: string(text), client: client, namespace: "contract-" + unique()}
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}
	_, err = client.CoreV1().Namespaces().Create(t.Context(), space, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		must(t, client.CoreV1().Namespaces().Delete(context.Background(), c.namespace, metav1.DeleteOptions{}))
	})
	return c
}

func unique() string { return strings.ToLower(rand.Text()[:10]) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// in returns the namespace for a subtest.
func (c *contract) in(t *testing.T) *contract {
	inner := *c
	inner.t = t
	return &inner
}

// process connects anew, as another run would.
func (c *contract) process() (*kube.Cluster, *secret.Keeper) {
	c.t.Helper()
	keeper := secret.NewKeeper(nil)
	cluster, err := kube.Connect(kube.Config{Kubeconfig: secret.New(c.kubeconfig), Namespace: c.namespace, Keeper: keeper})
	must(c.t, err)
	return cluster, keeper
}

func (c *contract) secret(name string) *corev1.Secret {
	c.t.Helper()
	o, err := c.client.CoreV1().Secrets(c.namespace).Get(c.t.Context(), name, metav1.GetOptions{})
	must(c.t, err)
	return o
}

func (c *contract) delete(name string) {
	c.t.Helper()
	must(c.t, c.client.CoreV1().Secrets(c.namespace).Delete(c.t.Context(), name, metav1.DeleteOptions{}))
}

func TestContractServed(t *testing.T) {
	t.Parallel()
	c := newContract(t)
	for _, test := range []struct {
		name  string
		lines []string
	}{
		{"UserAndPassword", nil},
		{"EveryProperty", []string{"username=username", "password=password", "DATABASE_URL=url", "dsn=dsn", "verifier=verifier"}},
		{"URLAlone", []string{"DATABASE_URL=url"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rotationtest.TestServed(t, func(t *testing.T) rotationtest.Served { return c.in(t).served(test.lines) })
		})
	}
}

// served is a Secret with more in it than the credential.
func (c *contract) served(lines []string) rotationtest.Served {
	c.t.Helper()
	name := "served-" + unique()
	mapping, err := kube.ParseMapping(lines)
	must(c.t, err)
	data := map[string]string{"database": "alfred_db", "binary": "\x00\xff\n",
		"username": "alfred_user", "password": "Former1Password",
		"DATABASE_URL": "postgresql://alfred_user:Former1Password@db:5432/alfred_db?sslmode=require&application_name=a%20b\n",
		"dsn":          "host=db user='alfred_user'  password=Former1Password dbname=alfred_db", "verifier": "SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy"}
	owned := map[string]bool{}
	for key := range mapping {
		owned[key] = true
	}
	if mapping == nil {
		owned["username"], owned["password"] = true, true
	}
	for _, key := range []string{"username", "password", "DATABASE_URL", "dsn", "verifier"} {
		if !owned[key] { // it would hold the former password for ever
			delete(data, key)
		}
	}
	_, err = c.client.CoreV1().Secrets(c.namespace).Create(c.t.Context(), &corev1.Secret{StringData: data, ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{"team": "alfred"}, Annotations: map[string]string{"note": "hands off"}}}, metav1.CreateOptions{})
	must(c.t, err)
	cluster, keeper := c.process()
	return rotationtest.Served{Served: cluster.Served(name, mapping, kube.Refuse), Keep: keeper.Keep,
		Current: secret.Credential{User: "alfred_user", Password: secret.New("Former1Password")},
		Version: func() string { return c.secret(name).ResourceVersion },
		Others:  func() string { return c.others(name, owned) },
		Touch:   func() { c.touch(name) },
		Delete:  func() { c.delete(name) },
	}
}

// TestContractCopy holds another Secret, in another namespace, to the contract.
// As in a rotation the served Secret is written before its copy.
func TestContractCopy(t *testing.T) {
	t.Parallel()
	home, there := newContract(t), newContract(t)
	all := []string{"username=username", "password=password", "DATABASE_URL=url", "dsn=dsn", "verifier=verifier"}
	for _, test := range []struct {
		name, key string
		lines     []string
	}{{"UserAndPassword", "password", nil}, {"URL", "DATABASE_URL", all}, {"DSN", "dsn", all}, {"Verifier", "verifier", all}} {
		t.Run(test.name, func(t *testing.T) {
			rotationtest.TestCopy(t, func(t *testing.T, check func(*testing.T, rotationtest.Copy)) {
				check(t, home.in(t).copied(there.in(t), test.lines, test.key))
			})
		})
	}
}

func (c *contract) copied(there *contract, lines []string, key string) rotationtest.Copy {
	c.t.Helper()
	original := c.served(lines)
	snapshot, err := original.Served.Look(c.t.Context())
	must(c.t, err)
	mapping, err := kube.ParseMapping(lines)
	must(c.t, err)
	name := "copy-" + unique()
	copied := map[string]string{"region": "eu"}
	for key, value := range snapshot.Credential.Keys {
		copied[key] = strings.Replace(value.Reveal(), "@db:", "@replica.example:", 1)
	}
	_, err = there.client.CoreV1().Secrets(there.namespace).Create(c.t.Context(), &corev1.Secret{StringData: copied, ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	must(c.t, err)
	served := original.Served.(*kube.Served)
	copies, err := served.Copies([]string{there.namespace + "/" + name})
	must(c.t, err)
	render := func(password string) secret.Credential {
		cred, err := served.Render(snapshot.Credential.Keys, secret.Credential{User: "alfred_user", Password: secret.New(password), Verifier: secret.New("SCRAM-SHA-256$4096:" + password)})
		must(c.t, err)
		return cred
	}
	return rotationtest.Copy{
		Copy:  follower{copies[0], served},
		First: render("First1Password"), Second: render("Second2Password"),
		Held: func() secret.Value { return secret.New(string(there.secret(name).Data[key])) },
		Want: func(cred secret.Credential) secret.Value {
			if _, mapped := mapping[key]; !mapped {
				return cred.Password
			}
			return secret.New(strings.Replace(cred.Keys[key].Reveal(), "@db:", "@replica.example:", 1))
		},
	}
}

// follower writes the served Secret first.
type follower struct {
	*kube.Copy
	served *kube.Served
}

func (f follower) Set(ctx context.Context, c secret.Credential, held func(context.Context) error) error {
	if err := f.served.Set(context.WithoutCancel(ctx), c, secret.Stamp{Epoch: 1}); err != nil {
		return err
	}
	return f.Copy.Set(ctx, c, held)
}

// others is all that a person could have written into the Secret.
func (c *contract) others(name string, owned map[string]bool) string {
	c.t.Helper()
	o := c.secret(name)
	maps.DeleteFunc(o.Data, func(key string, _ []byte) bool { return owned[key] })
	maps.DeleteFunc(o.Annotations, func(key, _ string) bool { return strings.HasPrefix(key, "pgrotate.io/") })
	text, err := json.Marshal([]any{o.UID, o.Type, o.Immutable, o.Labels, o.Annotations, o.OwnerReferences, o.Finalizers, o.Data})
	must(c.t, err)
	return string(text)
}

// touch writes a label, an annotation and a key, as somebody else.
func (c *contract) touch(name string) {
	c.t.Helper()
	body := `{"metadata":{"labels":{"touched":"yes"},"annotations":{"note":"by hand"}},"data":{"database":"b3RoZXI="}}`
	_, err := c.client.CoreV1().Secrets(c.namespace).Patch(c.t.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{})
	must(c.t, err)
}

func TestContractJournal(t *testing.T) {
	t.Parallel()
	c := newContract(t)
	rotationtest.TestJournal(t, func(t *testing.T) rotationtest.Journal {
		c, name := c.in(t), "journal-"+unique()
		one, _ := c.process()
		other, _ := c.process()
		return rotationtest.Journal{Journal: one.Journal(name), Other: other.Journal(name), Delete: func() { c.delete(name + "-rotation") }}
	})
}

// TestContractWorkload restarts one pod of each kind. A kind runs its tests one
// after the other, the kinds run side by side.
func TestContractWorkload(t *testing.T) {
	for _, kind := range []string{"deployment", "statefulset", "daemonset"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := newContract(t)
			rotationtest.TestWorkload(t, func(t *testing.T) rotationtest.Workload { return c.in(t).workload(kind) })
		})
	}
}

// workload is one pod that cannot start without the key of a Secret.
func (c *contract) workload(kind string) rotationtest.Workload {
	c.t.Helper()
	name := "app-" + unique()
	_, err := c.client.CoreV1().Secrets(c.namespace).Create(c.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name},
		StringData: map[string]string{"username": "alfred_user", "password": "Former1Password"}}, metav1.CreateOptions{})
	must(c.t, err)
	c.put(kind, name)
	c.awaitReady(name)
	cluster, _ := c.process()
	found, err := cluster.Workloads(c.t.Context(), kube.Discovery{Secrets: []string{name}, Listed: []string{kind + "/" + name}},
		kube.Options{RolloutTimeout: time.Minute, LogLines: 10})
	must(c.t, err)
	return rotationtest.Workload{Workload: found[0], Pods: func() map[string]string { return c.marks(name) }, Break: func() { c.delete(name) }}
}

// put creates the workload and takes it away after the test: a node has room
// for few pods.
func (c *contract) put(kind, name string) {
	c.t.Helper()
	meta, one, ctx := metav1.ObjectMeta{Name: name}, int32(1), c.t.Context()
	chosen, pods, apps := &metav1.LabelSelector{MatchLabels: map[string]string{"app": name}}, template(name), c.client.AppsV1()
	var err error
	remove := apps.Deployments(c.namespace).Delete
	switch kind {
	case "deployment":
		_, err = apps.Deployments(c.namespace).Create(ctx, &appsv1.Deployment{ObjectMeta: meta,
			Spec: appsv1.DeploymentSpec{Replicas: &one, Selector: chosen, Template: pods}}, metav1.CreateOptions{})
	case "statefulset":
		remove = apps.StatefulSets(c.namespace).Delete
		_, err = apps.StatefulSets(c.namespace).Create(ctx, &appsv1.StatefulSet{ObjectMeta: meta,
			Spec: appsv1.StatefulSetSpec{Replicas: &one, Selector: chosen, Template: pods}}, metav1.CreateOptions{})
	case "daemonset":
		remove = apps.DaemonSets(c.namespace).Delete
		_, err = apps.DaemonSets(c.namespace).Create(ctx, &appsv1.DaemonSet{ObjectMeta: meta,
			Spec: appsv1.DaemonSetSpec{Selector: chosen, Template: pods}}, metav1.CreateOptions{})
	}
	must(c.t, err)
	c.t.Cleanup(func() { must(c.t, remove(context.Background(), name, metav1.DeleteOptions{})) })
}

func template(name string) corev1.PodTemplateSpec {
	grace, no := int64(1), false
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": name}}, Spec: corev1.PodSpec{
		HostNetwork: true, AutomountServiceAccountToken: &no, TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{{
			Name: "app", Image: "pgrotate.lab/pause:1", ImagePullPolicy: corev1.PullNever, Env: []corev1.EnvVar{{Name: "PGPASSWORD",
				ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: "password"}}}},
		}}}}
}

// pods are those whose processes run or are to run: one that has ended may still
// be listed.
func (c *contract) pods(ctx context.Context, name string) ([]corev1.Pod, error) {
	list, err := c.client.CoreV1().Pods(c.namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return nil, err
	}
	var alive []corev1.Pod
	for _, p := range list.Items {
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			alive = append(alive, p)
		}
	}
	return alive, nil
}

func ready(p corev1.Pod) bool {
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (c *contract) awaitReady(name string) {
	c.t.Helper()
	must(c.t, wait.PollUntilContextTimeout(c.t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		pods, err := c.pods(ctx, name)
		return len(pods) == 1 && ready(pods[0]), err
	}))
}

// marks tells the pods apart by their uid: those of a StatefulSet keep their names.
func (c *contract) marks(name string) map[string]string {
	c.t.Helper()
	pods, err := c.pods(c.t.Context(), name)
	must(c.t, err)
	marks := map[string]string{}
	for _, p := range pods {
		marks[p.Name+" "+string(p.UID)] = p.Annotations["pgrotate.io/restart"]
	}
	return marks
}

// TestContractAddresses asks for the address of a pod, which here is its node's,
// and for one that is reserved for documentation.
func TestContractAddresses(t *testing.T) {
	c := newContract(t)
	name, pod := c.one(t)
	cluster, _ := c.process()
	rotationtest.TestAddresses(t, rotationtest.Addresses{Addresses: cluster.Addresses([]string{name}), Has: pod.Status.PodIP,
		Pod: c.namespace + "/" + pod.Name, Unknown: "192.0.2.1"})
}

func TestContractHealth(t *testing.T) {
	c := newContract(t)
	name, _ := c.one(t)
	cluster, _ := c.process()
	health, err := cluster.Health("app=" + name)
	must(t, err)
	rotationtest.TestHealth(t, rotationtest.Health{Health: health, Want: map[string]secret.Readiness{"deployment/" + name: {Ready: 1, Pods: 1}},
		Sicken: func(string) { c.empty(name) }})
}

// empty scales a Deployment down and waits until its pods have to go.
func (c *contract) empty(name string) {
	c.t.Helper()
	_, err := c.client.AppsV1().Deployments(c.namespace).Patch(c.t.Context(), name, types.MergePatchType, []byte(`{"spec":{"replicas":0}}`), metav1.PatchOptions{})
	must(c.t, err)
	must(c.t, wait.PollUntilContextTimeout(c.t.Context(), 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		pods, err := c.pods(ctx, name)
		return !slices.ContainsFunc(pods, func(p corev1.Pod) bool { return p.DeletionTimestamp == nil }), err
	}))
}

// one deploys a pod.
func (c *contract) one(t *testing.T) (name string, pod corev1.Pod) {
	name = "app-" + unique()
	_, err := c.client.CoreV1().Secrets(c.namespace).Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name},
		StringData: map[string]string{"username": "alfred_user", "password": "Former1Password"}}, metav1.CreateOptions{})
	must(t, err)
	c.put("deployment", name)
	c.awaitReady(name)
	pods, err := c.pods(t.Context(), name)
	must(t, err)
	return name, pods[0]
}
