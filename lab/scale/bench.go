// Package scale measures the real program on platforms of many sizes and over
// long ways, against the real servers of the lab.
package scale

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/road"
)

// The servers of a rotation.
const (
	Postgres   = "PostgreSQL"
	Kubernetes = "Kubernetes"
	GitHub     = "GitHub"
)

// Bench is a platform that grows, with a road to each of its servers. GitHub
// keeps its limits. One measurement at a time works on it.
type Bench struct {
	*fixture.Platform
	Roads map[string]*road.Road

	ctx       context.Context
	folder    string // of all runs
	runs      int
	pods      int32 // of each workload
	workloads int
	inputs    map[string]string
	secrets   []string // of GitHub
	copies    []string
}

// NewBench makes a platform without workloads; those that it gets have so many
// pods. Close removes it, also after an error.
func NewBench(ctx context.Context, lab labtest.Lab, folder string, pods int32) (*Bench, error) {
	p, err := fixture.New(ctx, lab)
	b := &Bench{Platform: p, Roads: map[string]*road.Road{}, ctx: ctx, folder: folder, pods: pods, secrets: []string{fixture.GitHubName}}
	if err != nil {
		return b, err
	}
	p.GitHub.LimitRates()
	return b, errors.Join(p.OpenCreator(), b.mayCopy(), b.address())
}

// Close removes all that the bench has made.
func (b *Bench) Close() error {
	var errs []error
	for _, way := range b.Roads {
		errs = append(errs, way.Close())
	}
	return errors.Join(append(errs, b.Platform.Close())...)
}

// mayCopy grants the account the Secrets that a platform with copies has.
func (b *Bench) mayCopy() error {
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "copies"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get", "patch"}}}}
	if _, err := b.Cluster.RbacV1().Roles(b.Name).Create(b.ctx, role, metav1.CreateOptions{}); err != nil {
		return err
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: b.Name, Name: "pgrotate"}}}
	_, err := b.Cluster.RbacV1().RoleBindings(b.Name).Create(b.ctx, binding, metav1.CreateOptions{})
	return err
}

// address lets the inputs lead over the roads.
func (b *Bench) address() (err error) {
	if b.inputs, err = b.Inputs(); err != nil {
		return err
	}
	b.inputs["INPUT_TIMEOUT"], b.inputs["INPUT_ROLLOUT_TIMEOUT"] = "170m", "80m" // of 5,000 pods, on a small machine
	if err := rest.LoadTLSFiles(b.Config); err != nil {
		return err
	}
	over := map[string]*url.URL{}
	for server, address := range map[string]string{Postgres: b.AdminURL(), Kubernetes: b.Config.Host, GitHub: b.API.URL} {
		u, err := url.Parse(address)
		if err != nil {
			return fmt.Errorf("read the address of %s: it is malformed", server)
		}
		if b.Roads[server], err = road.New(u.Host); err != nil {
			return err
		}
		u.Host, over[server] = b.Roads[server].Address, u
	}
	b.inputs["INPUT_POSTGRES_URL"], b.inputs["GITHUB_API_URL"] = over[Postgres].String(), over[GitHub].String()
	b.inputs["INPUT_KUBECONFIG"], err = b.kubeconfig(over[Kubernetes].String())
	return err
}

// kubeconfig has the token of the service account.
func (b *Bench) kubeconfig(server string) (string, error) {
	c := api.NewConfig()
	c.Clusters["lab"] = &api.Cluster{Server: server, CertificateAuthorityData: b.Config.CAData}
	c.AuthInfos["pgrotate"] = &api.AuthInfo{Token: b.Account}
	c.Contexts["lab"] = &api.Context{Cluster: "lab", AuthInfo: "pgrotate", Namespace: b.Name}
	c.CurrentContext = "lab"
	text, err := clientcmd.Write(*c)
	return string(text), err
}

// Secrets makes the rotation write count GitHub secrets.
func (b *Bench) Secrets(count int) {
	b.secrets = nil
	for i := range count {
		b.secrets = append(b.secrets, fmt.Sprintf("%s_%d", fixture.GitHubName, i))
	}
}

// Copies makes the rotation write count copies of the Secret.
func (b *Bench) Copies(count int) error {
	for i := len(b.copies); i < count; i++ {
		name := fmt.Sprintf("copy-%d", i)
		if err := b.copy(name); err != nil {
			return err
		}
		b.copies = append(b.copies, name)
	}
	b.copies = b.copies[:count]
	return nil
}

// copy puts what the Secret holds now into another one.
func (b *Bench) copy(name string) error {
	secrets := b.Cluster.CoreV1().Secrets(b.Name)
	served, err := secrets.Get(b.ctx, fixture.Secret, metav1.GetOptions{})
	if err != nil {
		return err
	}
	served.ObjectMeta = metav1.ObjectMeta{Name: name}
	_, err = secrets.Create(b.ctx, served, metav1.CreateOptions{})
	return err
}

// prepare makes the environment and the folder of the next run.
func (b *Bench) prepare() (inputs map[string]string, folder string, err error) {
	inputs = maps.Clone(b.inputs)
	inputs["INPUT_GITHUB_SECRETS"], inputs["INPUT_KUBERNETES_SECRET_COPIES"] = strings.Join(b.secrets, "\n"), strings.Join(b.copies, "\n")
	for _, name := range b.secrets { // as of yesterday: a secret of this second would have to wait for the next
		b.GitHub.Store(fixture.Repository, name, b.Password, time.Now().Add(-24*time.Hour))
	}
	b.runs++
	inputs["GITHUB_RUN_ID"] = fmt.Sprint(b.runs)
	folder = filepath.Join(b.folder, fmt.Sprint(b.runs))
	return inputs, folder, os.MkdirAll(folder, 0o700)
}

// Far makes the way to some servers long, and that to all others short.
func (b *Bench) Far(roundTrip time.Duration, servers ...string) {
	for _, way := range b.Roads {
		way.Lengthen(0)
	}
	for _, server := range servers {
		b.Roads[server].Lengthen(roundTrip)
	}
}
