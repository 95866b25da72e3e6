package kube

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// podsOf reads the pods of the test's namespace.
func podsOf(t *testing.T, c *Cluster) []*corev1.Pod {
	t.Helper()
	var all []*corev1.Pod
	if err := c.pods(c.namespace).each(t.Context(), metav1.ListOptions{}, func(o *corev1.Pod) { all = append(all, o) }); err != nil {
		t.Fatal(err)
	}
	return all
}

// restartAll restarts workloads at once, as a rotation does.
func restartAll(ctx context.Context, all []*Workload, mark string, d *diary) error {
	errs := make([]error, len(all))
	var running sync.WaitGroup
	for i, w := range all {
		running.Go(func() { _, errs[i] = w.Restart(ctx, mark, agreed, nil, d.write) })
	}
	running.Wait()
	return errors.Join(errs...)
}

func TestRestartEachKind(t *testing.T) {
	t.Parallel()
	c := lab(t)
	putSecret(t, c, servedSecret())
	slow := func(template *corev1.PodTemplateSpec) {
		grace := int64(10)
		template.Spec.TerminationGracePeriodSeconds = &grace
		template.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 2}}}
	}
	putDeployment(t, c, "core", 2, func(d *appsv1.Deployment) { slow(&d.Spec.Template) })
	putDeployment(t, c, "idle", 0, nil)
	putStatefulSet(t, c, "store", 2, nil)
	putDaemonSet(t, c, "agent", nil)
	all := settledWorkloads(t, c, Discovery{}, options(nil))

	var d diary
	for _, mark := range []string{"r1", "r1-back"} {
		if err := restartAll(t.Context(), all, mark, &d); err != nil {
			t.Fatal(err)
		}
		alive := 0
		for _, p := range podsOf(t, c) {
			if p.Status.Phase == corev1.PodSucceeded { // its process has ended, the object is about to
				continue
			}
			if alive++; p.Annotations[annotationRestart] != mark || !isReady(p) {
				t.Errorf("pod %q has mark %q, ready %v", p.Name, p.Annotations[annotationRestart], isReady(p))
			}
		}
		if alive != 5 {
			t.Errorf("%d pods are left, want 5", alive)
		}
	}
	for _, want := range []string{"0 of 0 pods ready", "1 of 1 pods ready", "old terminating"} {
		if !strings.Contains(d.String(), want) {
			t.Errorf("the progress never says %q:\n%s", want, d.String())
		}
	}

	uids := func() (all []string) {
		for _, p := range podsOf(t, c) {
			if p.Annotations[annotationRestart] == "r1-back" {
				all = append(all, string(p.UID))
			}
		}
		return all
	}
	before := uids()
	if err := restartAll(t.Context(), all, "r1-back", &d); err != nil {
		t.Fatal(err)
	}
	if after := uids(); !slices.Equal(before, after) {
		t.Errorf("the same mark again replaced pods: %q, %q", before, after)
	}
	if watching := all[0].watcher.mirrors; watching != nil {
		t.Error("somebody still watches")
	}
}

// TestRestartFails breaks the pods of the new revision in ways that waiting
// does not mend. The old pods stay up meanwhile.
func TestRestartFails(t *testing.T) {
	t.Parallel()
	app := func(change func(*corev1.Container)) string {
		c := corev1.Container{Name: "app", Image: pauseImage, ImagePullPolicy: corev1.PullNever}
		change(&c)
		raw, err := jsonOf(c)
		if err != nil {
			t.Fatal(err)
		}
		return `{"spec":{"template":{"spec":{"containers":[` + raw + `]}}}}`
	}
	for _, test := range []struct {
		name, patch string
		change      func(*Options)
		want        []string
	}{
		{"a key that is not there", app(func(c *corev1.Container) {
			c.Env = []corev1.EnvVar{{Name: "X", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: servedName}, Key: "absent"}}}}
		}), nil, []string{`container "app": CreateContainerConfigError`, "absent"}},
		{"no image", app(func(c *corev1.Container) { c.Image = "pgrotate.lab/absent:1" }), nil, []string{`container "app": ErrImageNeverPull`}},
		{"no such program", app(func(c *corev1.Container) { c.Command = []string{"/absent"} }), nil, []string{`container "app": `, "/absent"}},
		{"a crash", app(func(c *corev1.Container) {
			c.Image, c.Env = serviceImage, []corev1.EnvVar{{Name: "DATABASE_URL", Value: "postgres://%zz"}}
			c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/healthcheck"}}}}
		}), func(o *Options) { o.PrintLogs, o.LogLines = PrintOnFailure, 5 }, []string{`container "app": CrashLoopBackOff`}},
		{"never ready", app(func(c *corev1.Container) {
			c.ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/absent"}}}}
		}), func(o *Options) { o.RolloutTimeout = 4e9 }, []string{"not done after 4s", "0 of 1 pods ready", "1 old"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := lab(t)
			putSecret(t, c, servedSecret())
			putDeployment(t, c, "core", 1, nil)
			w := settledWorkloads(t, c, Discovery{}, options(test.change))[0]
			old := podsOf(t, c)[0].UID
			if _, err := w.kind.patch(t.Context(), w.name, []byte(test.patch)); err != nil {
				t.Fatal(err)
			}

			var d diary
			_, err := w.Restart(t.Context(), "r1", agreed, nil, d.write)
			for _, want := range test.want {
				wantFailure(t, err, unhealthy, want)
			}
			if w.options.PrintLogs == PrintOnFailure && !strings.Contains(d.String(), " | read the credential") {
				t.Errorf("the log of the crash is not printed:\n%s", d.String())
			}
			kept := false
			for _, p := range podsOf(t, c) {
				kept = kept || p.UID == old && p.DeletionTimestamp == nil
			}
			if !kept {
				t.Error("the old pod is gone")
			}
		})
	}
}

func TestRestartReverted(t *testing.T) {
	t.Parallel()
	c := lab(t)
	putDeployment(t, c, "core", 1, func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Env = nil
		d.Spec.MinReadySeconds = 500 // the rollout is never done
	})
	found, err := c.Workloads(t.Context(), Discovery{Listed: []string{"deployment/core"}}, options(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ value, class, text string }{
		{`null,"x":"y"`, unhealthy, `the restart was reverted, the last to change the pod template is "argocd"`}, {`"r2"`, conflict, `for another rotation, "r2"`},
	} {
		ready := make(chan struct{}, 100)
		failed := make(chan error)
		go func() {
			_, err := found[0].Restart(t.Context(), "r1", agreed, nil, func(string) { ready <- struct{}{} })
			failed <- err
		}()
		<-ready
		body := `{"spec":{"template":{"metadata":{"annotations":{"pgrotate.io/restart":` + test.value + `}}}}}`
		if err := c.apps.Patch("application/merge-patch+json").Namespace(c.namespace).Resource("deployments").Name("core").
			Param("fieldManager", "argocd").Body([]byte(body)).Do(t.Context()).Error(); err != nil {
			t.Fatal(err)
		}
		wantFailure(t, <-failed, test.class, test.text)
	}
}

func TestRestartDeleted(t *testing.T) {
	t.Parallel()
	c := lab(t)
	putDeployment(t, c, "core", 1, func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Env = nil
		d.Spec.MinReadySeconds = 500
	})
	found, err := c.Workloads(t.Context(), Discovery{Listed: []string{"deployment/core"}}, options(nil))
	if err != nil {
		t.Fatal(err)
	}
	ready, failed := make(chan struct{}, 100), make(chan error)
	go func() {
		_, err := found[0].Restart(t.Context(), "r1", agreed, nil, func(string) { ready <- struct{}{} })
		failed <- err
	}()
	<-ready
	if err := c.apps.Delete().Namespace(c.namespace).Resource("deployments").Name("core").Do(t.Context()).Error(); err != nil {
		t.Fatal(err)
	}
	wantFailure(t, <-failed, unhealthy, "somebody deleted it")
	_, err = found[0].Restart(t.Context(), "r1", agreed, nil, func(string) {})
	wantFailure(t, err, missing, "not found")
}

func TestRestartStopped(t *testing.T) {
	t.Parallel()
	c := lab(t)
	putSecret(t, c, servedSecret())
	putDeployment(t, c, "core", 1, func(d *appsv1.Deployment) { d.Spec.MinReadySeconds = 500 })
	found, err := c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}}, options(nil))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	_, err = found[0].Restart(ctx, "r1", agreed, nil, func(string) { stop(errors.New("told to stop")) })
	wantFailure(t, err, unavailable, "not seen to its end: told to stop")
}

// databaseURL is the URL by which pods log in to one of the lab's servers.
func databaseURL(t *testing.T, server, user, password string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("the lab's URL is none")
	}
	u.User, u.RawQuery = url.UserPassword(user, password), "sslmode=disable"
	return u.String()
}

func service(t *testing.T, server string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		app := &d.Spec.Template.Spec.Containers[0]
		app.Image = serviceImage
		app.ReadinessProbe = &corev1.Probe{PeriodSeconds: 1, TimeoutSeconds: 5, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/healthcheck", "begun"}}}}
		app.Env = append(app.Env, corev1.EnvVar{Name: "DATABASE_URL", Value: databaseURL(t, server, "postgres", "not-the-password")})
	}
}

func TestRestartProven(t *testing.T) {
	t.Parallel()
	where := labtest.Open(t)
	for _, test := range []struct {
		name    string
		server  string
		change  func(*Options)
		texts   []string // of the error, of class unhealthy
		written []string
		silent  string // never written
	}{
		{name: "health command agrees", server: where.PostgresTrustURL, change: func(o *Options) { o.HealthCommand = []string{"/healthcheck"} }},
		{name: "health command says no", server: where.PostgresURL, change: func(o *Options) { o.HealthCommand = []string{"/healthcheck"} },
			texts: []string{"the health command exits with 1: unhealthy: "}},
		{name: "health command missing", server: where.PostgresTrustURL, change: func(o *Options) { o.HealthCommand = []string{"curl", "-f", "localhost"} },
			written: []string{`cannot check pod "core-`, `the health command "curl" does not start in container "app"`}},
		{name: "refused login in the log", server: where.PostgresURL, change: func(o *Options) { o.LogLines = 50 },
			texts: []string{"lines of its log tell of a refused login"}, silent: "password authentication failed"},
		{name: "printed on failure", server: where.PostgresURL, change: func(o *Options) { o.LogLines, o.PrintLogs = 50, PrintOnFailure },
			texts: []string{"tell of a refused login"}, written: []string{"core-", " | ", "28P01", "for user \"***\""}, silent: "postgres"},
		{name: "log is clean", server: where.PostgresTrustURL, change: func(o *Options) { o.LogLines, o.PrintLogs = 50, PrintOnFailure }, silent: " | "},
		{name: "printed always", server: "postgres://127.0.0.1:1/nowhere", change: func(o *Options) { o.LogLines, o.PrintLogs = 50, PrintAlways }, written: []string{" | "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := lab(t)
			c.keeper.Keep("postgres") // a secret that the log is known to hold
			putSecret(t, c, servedSecret())
			putDeployment(t, c, "core", 1, service(t, test.server))
			w := settledWorkloads(t, c, Discovery{}, options(test.change))[0]
			var d diary
			_, err := w.Restart(t.Context(), "r1", agreed, nil, d.write)
			if err != nil && test.texts == nil {
				t.Fatal(err)
			}
			for _, text := range test.texts {
				wantFailure(t, err, unhealthy, text)
			}
			for _, want := range test.written {
				if !strings.Contains(d.String(), want) {
					t.Errorf("never written: %q\n%s", want, d.String())
				}
			}
			if test.silent != "" && (strings.Contains(d.String(), test.silent) || err != nil && strings.Contains(err.Error(), test.silent)) {
				t.Errorf("written: %q\n%v\n%s", test.silent, err, d.String())
			}
		})
	}
}

// stranger deploys a service whose role the database does not know; sql is run by
// the superuser, who may make it.
func stranger(t *testing.T) (admin *Cluster, role string, sql func(string)) {
	t.Helper()
	where := labtest.Open(t)
	admin = lab(t)
	role = admin.namespace
	putSecret(t, admin, servedSecret())
	putDeployment(t, admin, "core", 1, func(d *appsv1.Deployment) {
		service(t, where.PostgresURL)(d)
		env := d.Spec.Template.Spec.Containers[0].Env
		env[len(env)-1].Value = databaseURL(t, where.PostgresURL, role, "not-the-password")
	})
	settledWorkloads(t, admin, Discovery{}, options(nil))
	sql = superuser(t, where.PostgresURL)
	t.Cleanup(func() { sql(fmt.Sprintf("DROP ROLE IF EXISTS %q", role)) })
	return admin, role, sql
}

// TestHealthCommandMayFailOnce makes the role that a pod logs in with when the
// pod has said no once.
func TestHealthCommandMayFailOnce(t *testing.T) {
	t.Parallel()
	admin, role, sql := stranger(t)
	asked := 0
	c, _ := throughProxy(t, admin, func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/exec") {
			if asked++; asked == 3 { // once early, and the second try at the end
				sql(fmt.Sprintf("CREATE ROLE %q LOGIN PASSWORD 'not-the-password'", role))
				time.Sleep(time.Second) // its next login
			}
		}
		return 0
	})
	w := settledWorkloads(t, c, Discovery{}, options(func(o *Options) { o.HealthCommand = []string{"/healthcheck"} }))[0]
	var d diary
	if _, err := w.Restart(t.Context(), "r1", agreed, nil, d.write); err != nil || asked < 3 || strings.Contains(d.String(), "replaced") {
		t.Errorf("asked %d times: %v\n%s", asked, err, d.String())
	}
}

// TestAHealthyPodIsAskedOnce restarts a pod that is well as soon as it is ready.
func TestAHealthyPodIsAskedOnce(t *testing.T) {
	t.Parallel()
	admin := lab(t)
	putSecret(t, admin, servedSecret())
	putDeployment(t, admin, "core", 1, service(t, labtest.Open(t).PostgresTrustURL))
	var asked atomic.Int32
	c, _ := throughProxy(t, admin, func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/exec") {
			asked.Add(1)
		}
		return 0
	})
	w := settledWorkloads(t, c, Discovery{}, options(func(o *Options) { o.HealthCommand = []string{"/healthcheck"} }))[0]
	proofs, err := w.Restart(t.Context(), "r1", agreed, nil, (&diary{}).write)
	if err != nil || asked.Load() != 1 || len(proofs) != 1 || proofs[0].Evidence != secret.ByHealthCommand {
		t.Errorf("asked %d times: %+v, %v", asked.Load(), proofs, err)
	}
}

func superuser(t *testing.T, server string) func(string) {
	conn, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return func(statement string) {
		if _, err := conn.Exec(context.Background(), statement); err != nil {
			t.Error(err)
		}
	}
}

func TestWorkloadsLeavesDatabaseAlone(t *testing.T) {
	t.Parallel()
	c := lab(t)
	putSecret(t, c, servedSecret())
	putStatefulSet(t, c, "db", 1, nil)
	putDeployment(t, c, "core", 1, nil)
	settledWorkloads(t, c, Discovery{}, options(nil))
	all := settledWorkloads(t, c, Discovery{DatabasePod: "db-0:5432"}, options(nil))
	if names := stringsOf(all); len(all) != 2 || names[0] != "deployment/core" || names[1] != "statefulset/db" {
		t.Fatalf("found %q", names)
	}
	if all[0].Unnamed() == nil || all[1].Unnamed() != nil {
		t.Errorf("without the user name: of the reader %q, of the database %q", all[0].Unnamed(), all[1].Unnamed())
	}
	if change, _, err := all[0].Plan(t.Context()); err != nil || !strings.HasPrefix(change, "restarts 1 pods") {
		t.Errorf("the reader: %q, %v", change, err)
	}
	change, warnings, err := all[1].Plan(t.Context())
	if change != "" || err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "is the database") {
		t.Errorf("the database: %q, %q, %v", change, warnings, err)
	}
	before, err := c.pods(c.namespace).get(t.Context(), "db-0")
	if err != nil {
		t.Fatal(err)
	}
	if err := restartAll(t.Context(), all, "r1", &diary{}); err != nil {
		t.Fatal(err)
	}
	if after, err := c.pods(c.namespace).get(t.Context(), "db-0"); err != nil || after.UID != before.UID || after.Annotations[annotationRestart] != "" {
		t.Errorf("the database's pod was touched: %v", err)
	}

	// Pods on the node's network share its address: none of them is the database by that.
	shared := settledWorkloads(t, c, Discovery{DatabaseAddress: says(before.Status.PodIP)}, options(nil))
	for _, w := range shared {
		if w.aside != nil {
			t.Errorf("%s is taken for the database by the node's address", w)
		}
	}
	_, err = c.Workloads(t.Context(), Discovery{Secrets: []string{servedName}, DatabasePod: "db-9"}, options(nil))
	wantFailure(t, err, missing, `read the database's pod "db-9"`)
}
