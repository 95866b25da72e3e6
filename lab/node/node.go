// Package node runs a whole Kubernetes cluster on this machine: etcd, the
// control plane, and one node, a kubelet on containerd. Everything listens on
// 127.0.0.1 only.
package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/pgrotate/pgrotate/lab/pki"
	"github.com/pgrotate/pgrotate/lab/process"
	"github.com/pgrotate/pgrotate/lab/site"
)

// Name is the node's name. It must resolve to a loopback address, because the
// API server reaches the kubelet by it.
const Name = "localhost"

// Node is what the parts of the cluster have in common.
type Node struct {
	Site      site.Site
	Authority *pki.Authority
}

// Kubeconfig returns the path of the cluster administrator's kubeconfig.
func (n Node) Kubeconfig() string { return n.kubeconfig("admin") }

// Audit returns the path of the API server's audit log.
func (n Node) Audit() string { return filepath.Join(n.Site.Folder("kube-apiserver"), "audit.log") }

// Client returns a client with the administrator's rights.
func (n Node) Client() (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", n.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	return kubernetes.NewForConfig(config)
}

func (n Node) kubeconfig(user string) string {
	return filepath.Join(n.Authority.Folder, user+".kubeconfig")
}

// process returns the process of a part that listens on ports.
func (n Node) process(name string, ports []int, args ...string) process.Process {
	return process.Process{Name: name, Folder: n.Site.Folder(name), Ports: ports, Args: args}
}

// file writes a configuration file into the part's folder and returns its path.
func (n Node) file(part, name, text string) (string, error) {
	path := filepath.Join(n.Site.Folder(part), name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("make the folder of %s: %w", part, err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("configure %s: %w", part, err)
	}
	return path, nil
}

// identify issues a client certificate for user and writes a kubeconfig with it.
func (n Node) identify(file, user string, groups ...string) error {
	if err := n.Authority.Issue(file, user, groups...); err != nil {
		return err
	}
	var data [3][]byte
	for i, path := range []string{n.Authority.CA(), n.Authority.Cert(file), n.Authority.Key(file)} {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("write the kubeconfig of %q: %w", user, err)
		}
		data[i] = text
	}
	config := api.NewConfig()
	config.Clusters["lab"] = &api.Cluster{Server: url(site.APIServer, ""), CertificateAuthorityData: data[0]}
	config.AuthInfos[user] = &api.AuthInfo{ClientCertificateData: data[1], ClientKeyData: data[2]}
	config.Contexts["lab"] = &api.Context{Cluster: "lab", AuthInfo: user}
	config.CurrentContext = "lab"
	if err := clientcmd.WriteToFile(*config, n.kubeconfig(file)); err != nil {
		return fmt.Errorf("write the kubeconfig of %q: %w", user, err)
	}
	return nil
}

// healthy asks a component's health endpoint over TLS, as the administrator.
func (n Node) healthy(ctx context.Context, port int, path string) error {
	cert, err := tls.LoadX509KeyPair(n.Authority.Cert("admin"), n.Authority.Key("admin"))
	if err != nil {
		return fmt.Errorf("read the administrator's certificate: %w", err)
	}
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(n.Authority.CA())
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		return errors.Join(errors.New("read the authority's certificate"), err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}}}
	defer transport.CloseIdleConnections()
	return get(ctx, &http.Client{Transport: transport}, url(port, path))
}

func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusOK {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
	return fmt.Errorf("get %s: %s: %s", url, response.Status, text)
}

func url(port int, path string) string { return fmt.Sprintf("https://127.0.0.1:%d%s", port, path) }
