package kube

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// serviceAccountNamespace is where a pod finds its own namespace.
// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
const serviceAccountNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// credentials finds the kubeconfig, chooses the context and masks its secrets.
func credentials(cfg Config) (*rest.Config, string, error) {
	source := "the kubeconfig"
	var loaded *api.Config
	var err error
	switch {
	case !cfg.Kubeconfig.IsZero():
		loaded, err = parse(cfg.Kubeconfig.Reveal())
	case holdsContents(cfg.Path):
		return nil, "", fail(refused, "give the contents as the input `kubeconfig`, or write them into a file and set $KUBECONFIG to its path",
			"read the kubeconfig of $KUBECONFIG: it holds no path")
	case cfg.Path != "":
		source = fmt.Sprintf("the kubeconfig %q of $KUBECONFIG", cfg.Path)
		loaded, err = load(cfg.Path)
	default:
		return inCluster(cfg)
	}
	if err != nil {
		return nil, "", fail(refused, "", "read %s: %v", source, err)
	}
	return choose(loaded, cfg, source)
}

// yamlLine finds the line number in an error of the YAML parser; the rest of
// such an error may quote the text.
var yamlLine = regexp.MustCompile(`\bline \d+\b`)

func parse(text string) (*api.Config, error) {
	raw := []byte(text)
	plain := strings.Contains(text, ":") // base64 has none, a kubeconfig always
	if !plain {
		decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			return nil, errors.New("neither YAML nor base64")
		}
		raw = decoded
	}
	loaded, err := clientcmd.Load(raw)
	switch {
	case err != nil && !plain:
		return nil, fmt.Errorf("base64 of something that is not a kubeconfig%s", at(err))
	case err != nil:
		return nil, fmt.Errorf("not the YAML of a kubeconfig%s", at(err))
	case len(loaded.Contexts) == 0:
		return nil, errors.New("it has no contexts: not a kubeconfig, or one that was cut off")
	}
	return loaded, nil
}

func at(err error) string {
	if line := yamlLine.FindString(err.Error()); line != "" {
		return " (" + line + ")"
	}
	return ""
}

// load merges the files of $KUBECONFIG as kubectl does; one that is not there
// is passed over as long as another is.
func load(path string) (*api.Config, error) {
	files := slices.DeleteFunc(filepath.SplitList(path), func(f string) bool { return f == "" })
	found := false
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("file %q cannot be read: %w", file, errors.Unwrap(err))
		}
		if _, err := clientcmd.Load(text); err != nil {
			return nil, fmt.Errorf("file %q is not the YAML of a kubeconfig%s", file, at(err))
		}
		found = true
	}
	if !found {
		return nil, errors.New("there is no such file")
	}
	return (&clientcmd.ClientConfigLoadingRules{Precedence: files}).Load()
}

// longestPath is more than anybody's path has, and less than any kubeconfig.
const longestPath = 512

// holdsContents tells a kubeconfig, whatever its form, from the paths of some. It
// may not be shown.
func holdsContents(path string) bool {
	if strings.ContainsAny(path, "\n{") {
		return true
	}
	return slices.ContainsFunc(filepath.SplitList(path), func(file string) bool {
		_, err := os.Stat(file)
		return len(file) > longestPath && err != nil
	})
}

func inCluster(cfg Config) (*rest.Config, string, error) {
	if cfg.Context != "" {
		return nil, "", fail(refused, "", "choose context %q: there is no kubeconfig", cfg.Context)
	}
	config, err := rest.InClusterConfig()
	if errors.Is(err, rest.ErrNotInCluster) {
		return nil, "", fail(refused, "give the contents of a kubeconfig, or set $KUBECONFIG to the path of one",
			"find the Kubernetes cluster: no kubeconfig was given, $KUBECONFIG is not set, and this is not a pod with a service account")
	}
	if err != nil {
		return nil, "", fail(refused, "", "read the service account of this pod: %v", err)
	}
	cfg.Keeper.Keep(config.BearerToken)
	namespace, err := os.ReadFile(serviceAccountNamespace)
	if err != nil {
		namespace = []byte("default")
	}
	return config, strings.TrimSpace(string(namespace)), nil
}

// choose takes the context out of the kubeconfig and checks that it can be used.
func choose(loaded *api.Config, cfg Config, source string) (*rest.Config, string, error) {
	name := cfg.Context
	if name == "" {
		name = loaded.CurrentContext
	}
	context, ok := loaded.Contexts[name]
	switch {
	case name == "":
		return nil, "", fail(refused, "", "choose the context of %s: it has no current one, and none was named; it has %s", source, names(loaded.Contexts))
	case !ok:
		return nil, "", fail(refused, "", "choose context %q of %s: it is not there; there are %s", name, source, names(loaded.Contexts))
	case loaded.Clusters[context.Cluster] == nil:
		return nil, "", fail(refused, "", "read %s: context %q names cluster %q, which is not in it", source, name, context.Cluster)
	case context.AuthInfo != "" && loaded.AuthInfos[context.AuthInfo] == nil:
		return nil, "", fail(refused, "", "read %s: context %q names user %q, which is not in it", source, name, context.AuthInfo)
	}
	if err := usable(loaded.AuthInfos[context.AuthInfo], context.AuthInfo, source); err != nil {
		return nil, "", err
	}
	keepAll(loaded, cfg.Keeper)
	client := clientcmd.NewNonInteractiveClientConfig(*loaded, name, &clientcmd.ConfigOverrides{}, nil)
	config, err := client.ClientConfig()
	if err != nil {
		return nil, "", fail(refused, "", "read %s: context %q: %s", source, name, cfg.Keeper.Scrub(err.Error()))
	}
	cfg.Keeper.Keep(config.BearerToken)
	namespace, _, err := client.Namespace()
	if err != nil {
		return nil, "", fail(refused, "", "read the namespace of context %q: %s", name, cfg.Keeper.Scrub(err.Error()))
	}
	return config, namespace, nil
}

// keepAll masks the secrets of every user of the kubeconfig.
func keepAll(loaded *api.Config, keeper *secret.Keeper) {
	for _, user := range loaded.AuthInfos {
		keeper.Keep(user.Token)
		keeper.Keep(user.Password)
		keeper.Keep(string(user.ClientKeyData))
	}
}

func names(contexts map[string]*api.Context) string {
	var quoted []string
	for name := range contexts {
		quoted = append(quoted, fmt.Sprintf("%q", name))
	}
	slices.Sort(quoted)
	return strings.Join(quoted, ", ")
}
