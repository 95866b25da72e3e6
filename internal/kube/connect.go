// Package kube is Kubernetes as pgrotate uses it: the served Secret, its copies
// and the journal as compare-and-swap stores, the workloads that read them with
// their restart and its proof, and a tunnel to a pod.
package kube

import (
	"cmp"
	"fmt"
	"net/http"
	"sync"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Config says which cluster, and as whom. The first of Kubeconfig, Path and the
// service account of the pod that this process runs in is used.
type Config struct {
	Kubeconfig secret.Value   // contents, YAML or the base64 of it
	Path       string         // of kubeconfig files, separated as in $PATH: $KUBECONFIG
	Context    string         // empty: the kubeconfig's current one
	Namespace  string         // empty: the context's, else "default"
	Keeper     *secret.Keeper // required: masks what is read, scrubs what is said
}

// Cluster is a connection to one namespace of a Kubernetes cluster.
type Cluster struct {
	config    *rest.Config
	namespace string
	keeper    *secret.Keeper
	codec     runtime.ParameterCodec

	core, apps, batch, authorization group
	commands                         turns // of health commands
}

// Connect reads the credentials and prepares a connection; it sends nothing.
// Tokens, passwords and keys that it reads are masked. Every error is a
// refusal: it says which source of credentials was used and what is wrong with it.
func Connect(cfg Config) (*Cluster, error) {
	quietLibraries()
	config, namespace, err := credentials(cfg)
	if err != nil {
		return nil, err
	}
	if cfg.Namespace != "" {
		namespace = cfg.Namespace
	}
	c := &Cluster{config: config, namespace: namespace, keeper: cfg.Keeper}
	return c, c.dial()
}

// Offline returns a Cluster that reads names and can be asked nothing: with it the
// other inputs are read where Connect has failed.
func Offline(namespace string) *Cluster {
	return &Cluster{namespace: cmp.Or(namespace, "?")} // no other namespace is called so
}

// quietLibraries turns the logging of client-go off, which is global: it writes
// to stderr, past all masks.
var quietLibraries = sync.OnceFunc(func() { klog.SetLogger(logr.Discard()) })

// in is the same connection to another namespace.
func (c *Cluster) in(namespace string) *Cluster {
	other := *c
	other.namespace = namespace
	return &other
}

// dial makes one REST client for each API group, all over one HTTP client.
func (c *Cluster) dial() error {
	scheme, err := newScheme()
	if err != nil {
		return fmt.Errorf("prepare the Kubernetes client: %w", err)
	}
	c.codec, c.commands = runtime.NewParameterCodec(scheme), make(turns, commandsAtMost)
	c.config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.config.ContentType = runtime.ContentTypeProtobuf
	c.config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	c.config.UserAgent = manager
	c.config.QPS = -1 // the server has its own fairness
	c.config.WarningHandler = rest.NoWarnings{}
	transport, err := rest.HTTPClientFor(c.config)
	if err != nil {
		return fail(refused, "", "read the credentials of the kubeconfig: %s", c.keeper.Scrub(err.Error()))
	}
	return c.groups(transport)
}

func (c *Cluster) groups(transport *http.Client) error {
	calls := make(turns, atOnceAtMost)
	for _, g := range []struct {
		version schema.GroupVersion
		path    string
		client  *group
	}{
		{corev1.SchemeGroupVersion, "/api", &c.core},
		{appsv1.SchemeGroupVersion, "/apis", &c.apps},
		{batchv1.SchemeGroupVersion, "/apis", &c.batch},
		{authorizationv1.SchemeGroupVersion, "/apis", &c.authorization},
	} {
		config := rest.CopyConfig(c.config)
		config.GroupVersion, config.APIPath = &g.version, g.path
		client, err := rest.RESTClientForConfigAndClient(config, transport)
		if err != nil {
			return fail(refused, "", "read the server address of the kubeconfig: %s", c.keeper.Scrub(err.Error()))
		}
		*g.client = group{client, calls}
	}
	return nil
}

// newScheme knows only the groups that are used. The full clientset's scheme
// would be most of the program.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	builder := runtime.NewSchemeBuilder(corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, authorizationv1.AddToScheme)
	return scheme, builder.AddToScheme(scheme)
}

func (c *Cluster) secrets() resource[*corev1.Secret, *corev1.SecretList] {
	return resource[*corev1.Secret, *corev1.SecretList]{c.core, c.codec, c.namespace, "secrets",
		func() *corev1.Secret { return &corev1.Secret{} }, func() *corev1.SecretList { return &corev1.SecretList{} }}
}

func (c *Cluster) pods(namespace string) resource[*corev1.Pod, *corev1.PodList] {
	return resource[*corev1.Pod, *corev1.PodList]{c.core, c.codec, namespace, "pods",
		func() *corev1.Pod { return &corev1.Pod{} }, func() *corev1.PodList { return &corev1.PodList{} }}
}
