// Package crash proves that nothing is lost: it kills, stops and cuts off the
// real program at each of its requests, against real servers, and looks at what
// is left before and after one resume.
package crash

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/leak"
	"github.com/pgrotate/pgrotate/lab/program"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// limit is how long a run may take before it is given up; a busy machine takes
// its time to start pods.
const limit = 12 * time.Minute

// Bench is a platform whose servers have a proxy before them. One case at a
// time works on it.
type Bench struct {
	*fixture.Platform
	Proxy *proxy.Proxy

	ctx      context.Context
	program  string   // path
	folder   string   // of all runs
	pods     []string // its workloads
	runs     int
	closed   bool
	direct   map[string]string // inputs that lead to the servers
	through  map[string]string // inputs that lead to the proxy
	places   *leak.Places
	journal  *diary
	mu       sync.Mutex // guards what follows
	secrets  leak.Search
	keys     leak.Search // of verifiers
	hits     []string    // leaks so far
	searched int         // texts that were searched
}

// workload is the Deployment of a bench with pods.
const workload = "shop"

// NewBench makes a bench, with a workload or without. Close removes it, also
// after an error.
func NewBench(ctx context.Context, lab labtest.Lab, program, folder string, pods bool) (*Bench, error) {
	p, err := fixture.New(ctx, lab)
	b := &Bench{Platform: p, Proxy: proxy.New(), ctx: ctx, program: program, folder: filepath.Join(folder, p.Name)}
	if err != nil {
		return b, err
	}
	if err := errors.Join(os.Mkdir(b.folder, 0o700), b.makeCopy(), p.OpenCreator()); err != nil {
		return b, err
	}
	if err := b.address(); err != nil {
		return b, err
	}
	b.secrets.Add("the administrator's password", p.Admin)
	b.secrets.Add("GitHub's token", p.Token)
	b.secrets.Add("the token of the kubeconfig", p.Account)
	if b.places, err = leak.Watch(p); err != nil {
		return b, err
	}
	b.journal, b.Proxy.Observe = b.watchJournal(), b.glance
	if pods {
		return b, b.Add(workload, 1, corev1.EnvVar{Name: "EVERY", Value: "500ms"}) // a login costs the server much
	}
	return b, nil
}

// makeCopy makes a copy of the served Secret in a namespace of its own, both with the
// credential as a URL, too, by which the pods log in.
func (b *Bench) makeCopy() error {
	address := &url.URL{Scheme: "postgres", User: url.UserPassword(b.Name, b.Password), Host: "127.0.0.1:" + b.Port(), Path: "/" + b.Name, RawQuery: "sslmode=require"}
	return errors.Join(b.MakeSecret(b.Elsewhere(), fixture.Copy),
		b.AddKey(b.Elsewhere(), fixture.Copy, "DATABASE_URL="+address.String()), b.AddKey(b.Name, fixture.Secret, "DATABASE_URL="+address.String()))
}

// Add adds a workload.
func (b *Bench) Add(name string, replicas int32, environment ...corev1.EnvVar) error {
	b.pods = append(b.pods, name)
	return b.Deploy(name, replicas, environment...)
}

// Close removes all that the bench has made, once.
func (b *Bench) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	var err error
	if b.journal != nil {
		b.journal.stop()
	}
	if b.places != nil {
		err = b.places.Close(context.WithoutCancel(b.ctx))
	}
	return errors.Join(err, b.Proxy.Close(), b.Platform.Close())
}

// address puts the proxy before the three servers.
func (b *Bench) address() (err error) {
	if b.direct, err = b.Inputs(); err != nil {
		return err
	}
	delete(b.direct, "INPUT_POSTGRES_CA")
	b.direct["INPUT_GITHUB_SECRETS"] = fixture.GitHubName + "\n" + fixture.GitHubUser + "=username" // both, so that roles may alternate
	b.direct["INPUT_KUBERNETES_SECRET_COPIES"] = b.Elsewhere() + "/" + fixture.Copy
	b.direct["INPUT_KUBERNETES_SECRET_KEYS"] = "username=username\npassword=password\nDATABASE_URL=url"
	b.direct["INPUT_ROLLOUT_TIMEOUT"], b.direct["INPUT_TIMEOUT"] = "4m", "11m"
	admin, err := url.Parse(b.AdminURL())
	if err != nil {
		return errors.New("read the administrator's address: it is malformed")
	}
	admin.RawQuery = "sslmode=require"
	b.direct["INPUT_POSTGRES_URL"] = admin.String()
	if err := rest.LoadTLSFiles(b.Config); err != nil {
		return err
	}
	b.secrets.Add("the administrator's client key", string(b.Config.KeyData))
	if b.direct["INPUT_KUBECONFIG"], err = kubeconfig(b.Config.Host, b.Config.CAData, b.Name, &api.AuthInfo{Token: b.Account}); err != nil {
		return err
	}
	b.through = maps.Clone(b.direct)
	return b.detour(admin)
}

// detour makes the inputs that lead to the proxy. It speaks plainly with the
// program: what it must understand is not encrypted.
func (b *Bench) detour(admin *url.URL) error {
	postgres, err := b.Proxy.Postgres(admin.Host, strings.NewReplacer(b.Rotator, "rotator", b.Name, "role"))
	if err != nil {
		return err
	}
	admin.Host, admin.RawQuery = postgres, "sslmode=disable"
	b.through["INPUT_POSTGRES_URL"] = admin.String()
	onlyHTTP1 := rest.AnonymousClientConfig(b.Config) // the program's own token goes along
	onlyHTTP1.TLSClientConfig.NextProtos = []string{"http/1.1"}
	transport, err := rest.TransportFor(onlyHTTP1)
	if err != nil {
		return err
	}
	cluster, err := url.Parse(b.Config.Host)
	if err != nil {
		return err
	}
	server, ca := b.Proxy.HTTP("kubernetes", cluster, transport)
	if b.through["INPUT_KUBECONFIG"], err = kubeconfig(server, ca, b.Name, &api.AuthInfo{Token: b.Account}); err != nil {
		return err
	}
	github, err := url.Parse(b.API.URL)
	if err != nil {
		return err
	}
	b.through["GITHUB_API_URL"], _ = b.Proxy.HTTP("github", github, &http.Transport{DisableCompression: true})
	return nil
}

// keyed is a kubeconfig with the administrator's client key, which leads to the
// server.
func (b *Bench) keyed() (string, error) {
	return kubeconfig(b.Config.Host, b.Config.CAData, b.Name, &api.AuthInfo{ClientCertificateData: b.Config.CertData, ClientKeyData: b.Config.KeyData})
}

func kubeconfig(server string, ca []byte, namespace string, user *api.AuthInfo) (string, error) {
	c := api.NewConfig()
	c.Clusters["lab"] = &api.Cluster{Server: server, CertificateAuthorityData: ca}
	c.AuthInfos["pgrotate"] = user
	c.Contexts["lab"] = &api.Context{Cluster: "lab", AuthInfo: "pgrotate", Namespace: namespace}
	c.CurrentContext = "lab"
	text, err := clientcmd.Write(*c)
	return string(text), err
}

// Start starts the program with the inputs of way, changed by more. Every run
// has a request id of its own.
func (b *Bench) Start(way, more map[string]string) (*program.Run, error) {
	b.runs++
	folder := filepath.Join(b.folder, fmt.Sprint(b.runs))
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	inputs := maps.Clone(way)
	inputs["GITHUB_RUN_ID"] = fmt.Sprint(1000 + b.runs)
	if len(b.pods) > 0 {
		inputs["INPUT_HEALTH_COMMAND"] = "/healthcheck"
	} else {
		inputs["INPUT_WORKLOADS"] = "none"
	}
	maps.Copy(inputs, more)
	return program.Start(b.program, folder, inputs)
}

// Ended is how a run ended.
type Ended struct {
	Code int
	Took time.Duration
	Said string
}

// Finish waits for a run, and looks for a panic in what it said and for secrets in
// what it left.
func (b *Bench) Finish(run *program.Run, began time.Time) (Ended, error) {
	code, err := run.Wait(limit)
	e := Ended{Code: code, Took: time.Since(began), Said: run.Said()}
	return e, errors.Join(err, sound(e.Said), b.searchRun(run))
}

// Run runs the program to its end, directly at the servers.
func (b *Bench) Run(more map[string]string) (Ended, error) {
	began := time.Now()
	run, err := b.Start(b.direct, more)
	if err != nil {
		return Ended{}, err
	}
	return b.Finish(run, began)
}
