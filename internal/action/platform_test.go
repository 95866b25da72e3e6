package action_test

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/pgrotate/pgrotate/internal/github/githubtest"
	"github.com/pgrotate/pgrotate/internal/labtest"
)

const (
	served     = "postgres-credentials"
	copied     = "reports-credentials"
	repository = "acme/shop"
	gitHubName = "DATABASE_PASSWORD"
	token      = "github_pat_scenario_0123456789"
)

// platform is what one scenario rotates: a role and a database of its own, a
// namespace with the served Secret, and a GitHub.
type platform struct {
	lab       labtest.Lab
	ctx       context.Context
	name      string // of the namespace, the role and the database
	password  string // at the start
	superuser string // URL of the server that the role is on
	config    *rest.Config
	cluster   *kubernetes.Clientset
	github    *githubtest.Server
	api       *httptest.Server
	before    *state          // what `remember` saw
	release   func() *process // lets the held run go on, and waits for it
}

// state is everything that a rotation could change.
type state struct {
	Secret, Journal *corev1.Secret
	Copy            *corev1.Secret // empty: there is none
	Verifier        string
	GitHub          string
	Templates       map[string]int64 // generation of each Deployment
}

func newPlatform(ctx context.Context, lab labtest.Lab) (p *platform, err error) {
	p = &platform{lab: lab, ctx: ctx, name: "scenario-" + strings.ToLower(rand.Text()[:10]), password: rand.Text(), superuser: lab.PostgresURL}
	if p.config, err = clientcmd.BuildConfigFromFlags("", lab.Kubeconfig); err != nil {
		return nil, err
	}
	if p.cluster, err = kubernetes.NewForConfig(p.config); err != nil {
		return nil, err
	}
	if p.github, err = githubtest.NewServer(); err != nil {
		return nil, err
	}
	p.github.Setup(githubtest.Setup{Repositories: []string{repository}, Environments: []string{repository + "@production"},
		Tokens: []githubtest.Token{{Value: token, Permissions: githubtest.AllPermissions()}}})
	p.github.Store(repository, gitHubName, p.password, time.Now().Add(-24*time.Hour))
	p.api = httptest.NewServer(p.github)
	return p, errors.Join(p.makeRole(p.superuser), p.makeNamespace())
}

func (p *platform) close() {
	for _, namespace := range []string{p.name, p.elsewhere()} {
		_ = p.cluster.CoreV1().Namespaces().Delete(p.ctx, namespace, metav1.DeleteOptions{})
	}
	_ = p.sql(p.superuser, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ('`+p.name+`', '`+p.rotator()+`')`,
		`DROP DATABASE "`+p.name+`" WITH (FORCE)`, `DROP ROLE "`+p.name+`"`, `DROP ROLE "`+p.rotator()+`"`)
	p.api.Close()
}

func (p *platform) rotator() string { return p.name + "-rotator" }

// makeRole makes the role and the one that may change its password.
func (p *platform) makeRole(superuser string) error {
	return p.sql(superuser,
		`CREATE ROLE "`+p.name+`" LOGIN PASSWORD '`+p.password+`'`,
		`CREATE DATABASE "`+p.name+`" OWNER "`+p.name+`"`,
		`CREATE ROLE "`+p.rotator()+`" LOGIN CREATEROLE PASSWORD '`+p.password+`-rotator'`,
		`GRANT "`+p.name+`" TO "`+p.rotator()+`" WITH ADMIN OPTION`)
}

func (p *platform) makeNamespace() error { return p.makeSecret(p.name, served) }

// elsewhere is the namespace that a scenario with a copy has besides its own.
func (p *platform) elsewhere() string { return p.name + "-copy" }

// makeSecret makes a namespace with the credential in it.
func (p *platform) makeSecret(namespace, name string) error {
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := p.cluster.CoreV1().Namespaces().Create(p.ctx, space, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := p.cluster.CoreV1().Secrets(namespace).Create(p.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name},
		StringData: map[string]string{"username": p.name, "password": p.password, "database": p.name}}, metav1.CreateOptions{})
	return err
}

// inputs are the action's, as a workflow would set them.
func (p *platform) inputs() map[string]string {
	ca, _ := os.ReadFile(p.lab.PostgresCA)
	kubeconfig, _ := os.ReadFile(p.lab.Kubeconfig)
	return map[string]string{
		"INPUT_POSTGRES_URL": p.adminURL(), "INPUT_POSTGRES_CA": string(ca), "INPUT_KUBECONFIG": string(kubeconfig),
		"INPUT_NAMESPACE": p.name, "INPUT_GITHUB_TOKEN": token, "INPUT_GITHUB_SECRETS": gitHubName,
		"GITHUB_API_URL": p.api.URL, "GITHUB_REPOSITORY": repository, "INPUT_TIMEOUT": "5m", "INPUT_ROLLOUT_TIMEOUT": "1m",
	}
}

func (p *platform) adminURL() string {
	u, _ := url.Parse(p.superuser)
	u.User, u.Path = url.UserPassword(p.rotator(), p.password+"-rotator"), "/"+p.name
	query := u.Query()
	query.Del("sslrootcert")
	u.RawQuery = query.Encode()
	return u.String()
}

func (p *platform) port() string {
	u, _ := url.Parse(p.superuser)
	return u.Port()
}

func (p *platform) sql(address string, statements ...string) error {
	conn, err := pgx.Connect(p.ctx, address)
	if err != nil {
		return err
	}
	defer conn.Close(p.ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(p.ctx, statement); err != nil {
			return fmt.Errorf("%.40s: %w", statement, err)
		}
	}
	return nil
}

// accepts tells whether the database takes the password: by a login, or by what
// is stored where the server asks nobody for one.
func (p *platform) accepts(password string) (bool, error) {
	if p.superuser == p.lab.PostgresTrustURL {
		now, err := p.look()
		return err == nil && opens(now.Verifier, password), err
	}
	config, err := pgx.ParseConfig(p.superuser)
	if err != nil {
		return false, err
	}
	config.User, config.Password, config.Database = p.name, password, p.name
	config.RequireAuth = "scram-sha-256"
	conn, err := pgx.ConnectConfig(p.ctx, config)
	if err == nil {
		return true, conn.Close(p.ctx)
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "28P01" {
		return false, nil
	}
	return false, err
}

func (p *platform) look() (*state, error) {
	s := &state{Templates: map[string]int64{}}
	var err error
	if s.Secret, err = p.cluster.CoreV1().Secrets(p.name).Get(p.ctx, served, metav1.GetOptions{}); err != nil {
		return nil, err
	}
	if s.Journal, err = p.cluster.CoreV1().Secrets(p.name).Get(p.ctx, served+"-rotation", metav1.GetOptions{}); err != nil {
		s.Journal = &corev1.Secret{}
	}
	if s.Copy, err = p.cluster.CoreV1().Secrets(p.elsewhere()).Get(p.ctx, copied, metav1.GetOptions{}); err != nil {
		s.Copy = &corev1.Secret{}
	}
	for _, namespace := range []string{p.name, p.elsewhere()} {
		deployments, err := p.cluster.AppsV1().Deployments(namespace).List(p.ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		for _, d := range deployments.Items {
			s.Templates[d.Namespace+"/"+d.Name] = d.Generation
		}
	}
	s.GitHub, _ = p.github.Secret(repository, gitHubName)
	conn, err := pgx.Connect(p.ctx, p.superuser)
	if err != nil {
		return nil, err
	}
	defer conn.Close(p.ctx)
	err = conn.QueryRow(p.ctx, `SELECT rolpassword FROM pg_authid WHERE rolname = $1`, p.name).Scan(&s.Verifier)
	return s, err
}

// unchanged tells what differs from what `remember` saw.
func (p *platform) unchanged() error {
	now, err := p.look()
	if err != nil {
		return err
	}
	switch {
	case now.Secret.ResourceVersion != p.before.Secret.ResourceVersion:
		return errors.New("the served Secret was written")
	case now.Copy.ResourceVersion != p.before.Copy.ResourceVersion:
		return errors.New("the copy was written")
	case now.Journal.ResourceVersion != p.before.Journal.ResourceVersion:
		return errors.New("the journal was written")
	case now.Verifier != p.before.Verifier:
		return errors.New("the role's password was changed")
	case now.GitHub != p.before.GitHub:
		return errors.New("the GitHub secret was written")
	case !maps.Equal(now.Templates, p.before.Templates):
		return errors.New("a workload was restarted")
	}
	return nil
}

// consistent tells whether all places hold one password, and the journal nothing.
func (p *platform) consistent() error {
	now, err := p.look()
	if err != nil {
		return err
	}
	password := string(now.Secret.Data["password"])
	ok, err := p.accepts(password)
	switch {
	case err != nil:
		return err
	case !ok:
		return errors.New("the database refuses the served password")
	case now.GitHub != password:
		return errors.New("the GitHub secret holds another password")
	case now.Copy.Name != "" && (string(now.Copy.Data["password"]) != password || !strings.Contains(string(now.Copy.Data["DATABASE_URL"]), ":"+password+"@")):
		return errors.New("the copy holds another password")
	case now.Journal.Annotations["pgrotate.io/phase"] != "idle" || now.Journal.Data["pending"] != nil:
		return errors.New("the journal is open")
	case string(now.Secret.Data["database"]) != p.name:
		return errors.New("a key that is nobody's business was changed")
	}
	return nil
}

// restored tells whether everything is back to the bytes that `remember` saw.
func (p *platform) restored() error {
	now, err := p.look()
	if err != nil {
		return err
	}
	switch {
	case keep(p.before.Copy) != keep(now.Copy):
		return errors.New("the copy is not as it was")
	case keep(p.before.Secret) != keep(now.Secret):
		return fmt.Errorf("the served Secret is not as it was: annotations now %v", now.Secret.Annotations)
	case now.GitHub != p.before.GitHub:
		return errors.New("the GitHub secret is not as it was")
	}
	return p.consistent()
}

// keep is what must be the same again after a way back: all but the epoch.
func keep(s *corev1.Secret) string {
	annotations := maps.Clone(s.Annotations)
	delete(annotations, "pgrotate.io/epoch")
	if len(annotations) == 0 {
		annotations = nil
	}
	text, _ := json.Marshal([]any{s.Data, annotations})
	return string(text)
}

// place is the namespace and name of "[elsewhere/]name", and the Secret that is
// read there.
func (p *platform) place(text string) (namespace, name, secret string) {
	if name, ok := strings.CutPrefix(text, p.elsewhere()+"/"); ok {
		return p.elsewhere(), name, copied
	}
	return p.name, text, served
}

// deploy runs the lab's service as a Deployment that reads the Secret of its
// namespace, and waits until its pods are ready. extra are more variables of
// its environment.
func (p *platform) deploy(text string, extra ...corev1.EnvVar) error {
	namespace, name, secret := p.place(text)
	env := append([]corev1.EnvVar{
		{Name: "POSTGRES_HOST", Value: "127.0.0.1"}, {Name: "POSTGRES_PORT", Value: p.port()}, {Name: "POSTGRES_SSLMODE", Value: "require"},
	}, extra...)
	labels, replicas, grace, one := map[string]string{"app": name}, int32(2), int64(1), int32(1)
	probe := &corev1.Probe{PeriodSeconds: 1, TimeoutSeconds: 5, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/healthcheck"}}}}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{
		Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels}, RevisionHistoryLimit: &one,
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			HostNetwork: true, TerminationGracePeriodSeconds: &grace,
			Containers: []corev1.Container{{
				Name: "service", Image: "pgrotate.lab/service:1", ImagePullPolicy: corev1.PullNever, Env: env, ReadinessProbe: probe,
				EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: secret}}}},
			}},
		}},
	}}
	if _, err := p.cluster.AppsV1().Deployments(namespace).Create(p.ctx, d, metav1.CreateOptions{}); err != nil {
		return err
	}
	return p.ready(text)
}

// ready waits until every pod of a Deployment is a ready one of its newest template.
func (p *platform) ready(text string) error {
	namespace, name, _ := p.place(text)
	ctx, cancel := context.WithTimeout(p.ctx, 2*time.Minute)
	defer cancel()
	var last appsv1.DeploymentStatus
	for ctx.Err() == nil { // a server may end a watch at any time
		watch, err := p.cluster.AppsV1().Deployments(namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
		if err != nil {
			return err
		}
		for event := range watch.ResultChan() {
			d, ok := event.Object.(*appsv1.Deployment)
			if !ok {
				continue
			}
			if last = d.Status; complete(d) {
				watch.Stop()
				return nil
			}
		}
	}
	return fmt.Errorf("deployment %q does not become ready: %+v", name, last)
}

func complete(d *appsv1.Deployment) bool {
	s, want := d.Status, *d.Spec.Replicas
	return s.ObservedGeneration == d.Generation && s.Replicas == want && s.UpdatedReplicas == want && s.AvailableReplicas == want
}

// opens computes a SCRAM-SHA-256 verifier's stored key again, RFC 5802 section 3.
func opens(verifier, password string) bool {
	var rounds int
	var salt64, stored64 string
	fields := strings.NewReplacer("$", " ", ":", " ").Replace(verifier)
	if _, err := fmt.Sscanf(fields, "SCRAM-SHA-256 %d %s %s", &rounds, &salt64, &stored64); err != nil {
		return false
	}
	salt, _ := base64.StdEncoding.DecodeString(salt64)
	salted, _ := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	client := hmac.New(sha256.New, salted)
	client.Write([]byte("Client Key"))
	stored := sha256.Sum256(client.Sum(nil))
	return base64.StdEncoding.EncodeToString(stored[:]) == stored64
}
