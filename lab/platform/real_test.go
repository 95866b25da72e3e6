package platform

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/lab/image"
)

// real is the lab that runs.
type real struct {
	labtest.Lab
	config *rest.Config
	client *kubernetes.Clientset
}

func open(t *testing.T) real {
	t.Helper()
	lab := labtest.Open(t)
	config, err := clientcmd.BuildConfigFromFlags("", lab.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return real{lab, config, client}
}

// healthcheck runs /healthcheck in the pod as an operator would.
func (r real) healthcheck(ctx context.Context, namespace, pod string) (code int, line string, err error) {
	request := r.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: []string{"/healthcheck"}, Stdout: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(r.config, http.MethodGet, request.URL().String())
	if err != nil {
		return 0, "", err
	}
	var out bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &out})
	var exit exec.CodeExitError
	if errors.As(err, &exit) {
		return exit.Code, out.String(), nil
	}
	return 0, out.String(), err
}

// services returns the names of the platform's pods that are not on their way out.
func (r real) services(t *testing.T) []string {
	t.Helper()
	pods, err := r.client.CoreV1().Pods(r.Namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "tier=backend"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp == nil {
			names = append(names, pod.Name)
		}
	}
	return names
}

func TestEveryServiceLogsInAllTheTime(t *testing.T) {
	r := open(t)
	r.Platform(t)
	if err := (Platform{Client: func() (*kubernetes.Clientset, error) { return r.client, nil }}).Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	pods := r.services(t)
	if len(pods) != len(Deployments())*Replicas {
		t.Fatalf("pods %q", pods)
	}
	for _, pod := range pods {
		before := r.accepted(t, pod)
		eventually(t, pod+" to log in again", func() bool { return r.accepted(t, pod) > before })
	}
}

// accepted returns how many logins of the healthy pod were accepted so far.
func (r real) accepted(t *testing.T, pod string) int {
	t.Helper()
	code, line, err := r.healthcheck(t.Context(), r.Namespace, pod)
	if err != nil || code != 0 {
		t.Fatalf("%s: exit code %d, %q, %v", pod, code, line, err)
	}
	count, _, _ := strings.Cut(strings.TrimPrefix(line, "healthy: "), " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		t.Fatalf("%s says %q", pod, line)
	}
	return n
}

func TestAWrongPasswordShows(t *testing.T) {
	r := open(t)
	namespace, err := r.client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "wrong-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.client.CoreV1().Namespaces().Delete(context.Background(), namespace.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	name := namespace.Name // also of the pod: its record must not be another's
	eventually(t, "the pod to be taken", func() bool {
		_, err = r.client.CoreV1().Pods(name).Create(t.Context(), r.wrong(t, name), metav1.CreateOptions{})
		return err == nil // not before the namespace has its service account
	})
	eventually(t, "a refused login in the record", func() bool { return r.refused(t, name) > 0 })
	eventually(t, "the health check to fail", func() bool {
		code, line, err := r.healthcheck(t.Context(), name, name)
		return err == nil && code == 1 && strings.Contains(line, "28P01")
	})
}

// wrong is a service of the platform with another password.
func (r real) wrong(t *testing.T, name string) *corev1.Pod {
	t.Helper()
	config, err := pgconn.ParseConfig(r.PostgresURL)
	if err != nil {
		t.Fatal("the lab's URL is none")
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{
		HostNetwork: true,
		Containers: []corev1.Container{{
			Name: "service", Image: image.Service, ImagePullPolicy: corev1.PullNever,
			Env: []corev1.EnvVar{
				{Name: "POSTGRES_HOST", Value: config.Host}, {Name: "POSTGRES_PORT", Value: fmt.Sprint(config.Port)},
				{Name: "username", Value: Role}, {Name: "password", Value: "wrong"}, {Name: "database", Value: Database},
				{Name: "POD", Value: name}, {Name: "LOGINS", Value: "/logins"},
			},
			VolumeMounts: []corev1.VolumeMount{{Name: "logins", MountPath: "/logins"}},
		}},
		Volumes: []corev1.Volume{{Name: "logins", VolumeSource: corev1.VolumeSource{
			HostPath: &corev1.HostPathVolumeSource{Path: r.Logins},
		}}},
	}}
}

// refused counts the logins in the pod's record that failed for their password.
func (r real) refused(t *testing.T, pod string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.Logins, pod+".jsonl"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(text)) {
		var refusal struct{ Pod, SQLState string }
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &refusal) != nil {
			t.Fatalf("record %q", line)
		}
		if refusal.Pod == pod && refusal.SQLState == "28P01" {
			count++
		}
	}
	return count
}

func TestTheTunnelLeadsToTheServer(t *testing.T) {
	r := open(t)
	r.Platform(t) // a restart would cut the tunnel
	pod, port, _ := strings.Cut(r.PostgresPod, ":")
	namespace, name, _ := strings.Cut(pod, "/")
	local := r.forward(t, namespace, name, port)
	config, err := pgx.ParseConfig(r.PostgresURL)
	if err != nil {
		t.Fatal("the lab's URL is none")
	}
	direct := system(t, config)
	config.Port = local
	if through := system(t, config); through != direct {
		t.Errorf("the tunnel leads to system %d, not %d", through, direct)
	}
}

// forward opens a tunnel into the pod and returns its local port.
func (r real) forward(t *testing.T, namespace, pod, port string) uint16 {
	t.Helper()
	transport, upgrader, err := spdy.RoundTripperFor(r.config)
	if err != nil {
		t.Fatal(err)
	}
	address := r.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(namespace).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, address)
	ready := make(chan struct{})
	tunnel, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{":" + port},
		t.Context().Done(), ready, io.Discard, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- tunnel.ForwardPorts() }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal("the tunnel ended: ", err)
	}
	ports, err := tunnel.GetPorts()
	if err != nil {
		t.Fatal(err)
	}
	return ports[0].Local
}

// system logs in and returns what tells the server from all others.
func system(t *testing.T, config *pgx.ConnConfig) (id int64) {
	t.Helper()
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal("log in: ", err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), "SELECT system_identifier FROM pg_control_system()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestOneServerAsksForThePasswordAndOneDoesNot(t *testing.T) {
	r := open(t)
	for address, want := range map[string]string{r.PostgresURL: "28P01", r.PostgresTrustURL: ""} {
		if address == "" {
			continue // an existing server is one
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal("the lab's URL is none")
		}
		u.User, u.Path = url.UserPassword(Role, "wrong"), Database
		conn, err := pgconn.Connect(t.Context(), u.String())
		if err == nil {
			conn.Close(t.Context())
		}
		got := ""
		if refusal := (*pgconn.PgError)(nil); errors.As(err, &refusal) {
			got = refusal.Code
		} else if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("port %s answers a wrong password with %q, want %q", u.Port(), got, want)
		}
	}
}

func TestNoLogHoldsThePassword(t *testing.T) {
	r := open(t)
	r.Platform(t)
	served, err := r.client.CoreV1().Secrets(r.Namespace).Get(t.Context(), Secret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for name, log := range map[string]string{"API server": r.Audit, "PostgreSQL": r.PostgresLog} {
		if log == "" {
			continue // an existing one shows none
		}
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(text, []byte(map[string]string{"API server": `"` + Secret + `"`, "PostgreSQL": "LOG:  statement:"}[name])) {
			t.Errorf("the log of %s does not tell what it should", name)
		}
		if bytes.Contains(text, served.Data["password"]) {
			t.Errorf("the log of %s holds the password", name)
		}
	}
}

// eventually asks until yes, which takes the time of an answer each, for at most
// a minute.
func eventually(t *testing.T, what string, yes func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !yes() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
