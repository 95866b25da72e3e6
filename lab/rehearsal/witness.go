package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pgrotate/pgrotate/internal/github/githubtest"
	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/platform"
)

// witness looks at all places by itself, not through the program.
type witness struct {
	lab     labtest.Lab
	cluster *kubernetes.Clientset
}

// sight is how things stood at one moment.
type sight struct {
	user, password string
	rotation       string // annotation of the served Secret
	works          bool   // the served password logs in
	github         map[string]string
	updated        map[string]time.Time
	pods           []string    // names of the ready pods of the Deployments
	refused        []time.Time // logins that the services have recorded so far
}

func newWitness(lab labtest.Lab) (*witness, error) {
	cluster, err := platform.Connect(lab.Kubeconfig)
	if err != nil {
		return nil, err
	}
	return &witness{lab: lab, cluster: cluster}, nil
}

func (w *witness) look(ctx context.Context) (sight, error) {
	s := sight{github: map[string]string{}, updated: map[string]time.Time{}}
	secret, err := w.cluster.CoreV1().Secrets(w.lab.Namespace).Get(ctx, platform.Secret, metav1.GetOptions{})
	if err != nil {
		return s, err
	}
	s.user, s.password = string(secret.Data["username"]), string(secret.Data["password"])
	s.rotation = secret.Annotations["pgrotate.io/rotation-id"]
	if s.works, err = w.accepts(ctx, s.user, s.password); err != nil {
		return s, err
	}
	for _, target := range []string{repository, repository + "@production"} {
		value, at, _, err := githubtest.Remote{URL: w.lab.GitHubURL}.Secret(target, name)
		if err != nil {
			return s, err
		}
		s.github[target], s.updated[target] = value, at
	}
	if s.pods, err = w.pods(ctx); err != nil {
		return s, err
	}
	s.refused, err = labtest.Refused(w.lab.Logins)
	return s, err
}

func (s sight) describe() []string {
	facts := []string{
		fmt.Sprintf("Secret %s serves role %q, rotation id %q", platform.Secret, s.user, s.rotation),
		fmt.Sprintf("the served password logs in: %t", s.works),
		"ready pods: " + strings.Join(s.pods, " "),
	}
	for _, target := range []string{repository, repository + "@production"} {
		state := "not there"
		if !s.updated[target].IsZero() {
			state = fmt.Sprintf("updated %s, holds the served password: %t", s.updated[target].Format(time.RFC3339), s.github[target] == s.password)
		}
		facts = append(facts, fmt.Sprintf("GitHub secret %s %s: %s", target, name, state))
	}
	return facts
}

// compare demands what a rotation promises.
func (w *witness) compare(ctx context.Context, before, after sight, switched bool) error {
	var errs []error
	demand := func(ok bool, promise string) {
		if !ok {
			errs = append(errs, errors.New(promise+": not so"))
		}
	}
	old, err := w.accepts(ctx, before.user, before.password)
	errs = append(errs, err)
	demand(before.works && after.works, "the served password logs in, before and after")
	demand(!old, "the former password is refused")
	demand((before.user != after.user) == switched, "the user name is another one where roles alternate, and only there")
	demand(!switched || len(before.refused) == len(after.refused), "no login is refused where roles alternate")
	demand(before.password != after.password && before.rotation != after.rotation, "the Secret holds another password")
	for target, value := range after.github {
		demand(value == after.password, "GitHub secret "+target+" holds the new password")
	}
	demand(len(after.pods) == len(platform.Deployments())*platform.Replicas, "every pod is ready")
	demand(!slices.ContainsFunc(after.pods, func(pod string) bool { return slices.Contains(before.pods, pod) }), "no older pod is left")
	violations, err := githubtest.Remote{URL: w.lab.GitHubURL}.Violations()
	errs = append(errs, err)
	demand(len(violations) == 0, "GitHub describes every request that was made")
	return errors.Join(errs...)
}

func (w *witness) accepts(ctx context.Context, user, password string) (bool, error) {
	config, err := pgx.ParseConfig(w.lab.PostgresURL)
	if err != nil {
		return false, errors.New("read the address of the server: it is malformed")
	}
	config.User, config.Password, config.Database = user, password, platform.Database
	conn, err := pgx.ConnectConfig(ctx, config)
	if err == nil {
		return true, conn.Close(ctx)
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "28P01" {
		return false, nil
	}
	return false, fmt.Errorf("log in as %q: %w", user, err)
}

func (w *witness) pods(ctx context.Context) ([]string, error) {
	list, err := w.cluster.CoreV1().Pods(w.lab.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "tier=backend"})
	if err != nil {
		return nil, err
	}
	var ready []string
	for _, pod := range list.Items {
		if slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}) {
			ready = append(ready, pod.Name)
		}
	}
	slices.Sort(ready)
	return ready, nil
}

// administrator takes the superuser out of the lab's URL: the action gets the
// password as an input of its own.
func administrator(address string) (user, password string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		return "", "", errors.New("read the address of the server: it is malformed")
	}
	password, _ = u.User.Password()
	return u.User.Username(), password, nil
}
