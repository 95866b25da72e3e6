package kube

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestOwnerOf(t *testing.T) {
	controller := func(kind, name string) []metav1.OwnerReference {
		return []metav1.OwnerReference{{Kind: "Other", Name: "x"}, {Kind: kind, Name: name, Controller: new(true)}}
	}
	hash := map[string]string{"pod-template-hash": "5d4f"}
	for _, test := range []struct {
		name string
		pod  metav1.ObjectMeta
		want string
	}{
		{"deployment", metav1.ObjectMeta{OwnerReferences: controller("ReplicaSet", "my-app-5d4f"), Labels: hash}, "deployment/my-app"},
		{"replicaset of nobody", metav1.ObjectMeta{OwnerReferences: controller("ReplicaSet", "my-app"), Labels: hash}, "replicaset/my-app"},
		{"replicaset without a hash", metav1.ObjectMeta{OwnerReferences: controller("ReplicaSet", "my-app-")}, "replicaset/my-app-"},
		{"statefulset", metav1.ObjectMeta{OwnerReferences: controller("StatefulSet", "db")}, "statefulset/db"},
		{"daemonset", metav1.ObjectMeta{OwnerReferences: controller("DaemonSet", "agent")}, "daemonset/agent"},
		{"job", metav1.ObjectMeta{OwnerReferences: controller("Job", "once")}, "job/once"},
		{"argo rollout", metav1.ObjectMeta{OwnerReferences: controller("ReplicaSet", "my-app-77c"), Labels: map[string]string{"rollouts-pod-template-hash": "77c"}}, "rollout/my-app"},
		{"another's statefulset", metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps.kruise.io/v1", Kind: "StatefulSet", Name: "db", Controller: new(true)}}},
			"statefulset.apps.kruise.io/db"},
		{"bare", metav1.ObjectMeta{Name: "alone"}, "pod/alone"},
	} {
		if got := ownerOf(&corev1.Pod{ObjectMeta: test.pod}); got != test.want {
			t.Errorf("%s: owner %q, want %q", test.name, got, test.want)
		}
	}
}

// TestRestartsOfAPod counts those of every container: each reads the Secret when it starts.
func TestRestartsOfAPod(t *testing.T) {
	p, _ := ofPod(&corev1.Pod{Status: corev1.PodStatus{
		InitContainerStatuses: []corev1.ContainerStatus{{Name: "sidecar", RestartCount: 1}},
		ContainerStatuses:     []corev1.ContainerStatus{{Name: "app", RestartCount: 2}, {Name: "proxy", RestartCount: 4}}}})
	if p.restarts != 7 {
		t.Errorf("%d restarts", p.restarts)
	}
}

func TestOfPod(t *testing.T) {
	waiting := func(reason, message string) []corev1.ContainerStatus {
		return []corev1.ContainerStatus{{Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}}}
	}
	spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "proxy"}, {Name: "app"}}}
	for _, test := range []struct {
		name string
		pod  corev1.Pod
		want pod
	}{
		{"marked and ready", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Annotations: map[string]string{annotationRestart: "r1"}}, Spec: spec,
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}},
			pod{name: "p", mark: "r1", ready: true, container: "proxy"}},
		{"named container", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"kubectl.kubernetes.io/default-container": "app"}}, Spec: spec},
			pod{container: "app"}},
		{"named container that is not there", corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"kubectl.kubernetes.io/default-container": "x"}}, Spec: spec},
			pod{container: "proxy"}},
		{"terminating", corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}}, Spec: spec}, pod{terminating: true, container: "proxy"}},
		{"evicted", corev1.Pod{Spec: spec, Status: corev1.PodStatus{Phase: corev1.PodFailed}}, pod{ended: true, container: "proxy"}},
		{"crashing", corev1.Pod{Spec: spec, Status: corev1.PodStatus{ContainerStatuses: waiting("CrashLoopBackOff", "back-off 10s\nrestarting")}},
			pod{trouble: `container "app": CrashLoopBackOff: back-off 10s restarting`, reason: `container "app": CrashLoopBackOff`, crashed: true, container: "app"}},
		{"crashing before it starts", corev1.Pod{Spec: spec, Status: corev1.PodStatus{InitContainerStatuses: waiting("ImagePullBackOff", "")}},
			pod{trouble: `container "app": ImagePullBackOff`, reason: `container "app": ImagePullBackOff`, container: "app"}},
		{"starting", corev1.Pod{Spec: spec, Status: corev1.PodStatus{ContainerStatuses: waiting("ContainerCreating", "")}},
			pod{reason: `container "app": ContainerCreating`, container: "proxy"}},
		{"unscheduled", corev1.Pod{Spec: spec, Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no node"}}}},
			pod{reason: "Unschedulable: no node", container: "proxy"}},
		{"probe", corev1.Pod{Spec: spec, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "app", Started: new(true), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}},
			pod{reason: `container "app" runs, its readiness probe does not agree`, container: "proxy"}},
		{"startup probe", corev1.Pod{Spec: spec, Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "app", Started: new(false), State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}},
			pod{reason: `container "app" runs, its startup probe does not agree`, container: "proxy"}},
		{"with addresses", corev1.Pod{Spec: spec, Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}}}, pod{addresses: []string{"10.0.0.1"}, container: "proxy"}},
		{"on the network of its node", corev1.Pod{Spec: corev1.PodSpec{HostNetwork: true, Containers: spec.Containers}, Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}}},
			pod{container: "proxy"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, owner := ofPod(&test.pod)
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
			trimmed := test.pod.DeepCopy()
			trimPod(trimmed)
			if got, of := ofPod(trimmed); !reflect.DeepEqual(got, test.want) || of != owner {
				t.Errorf("trimmed: got %+v of %q, want %+v of %q", got, of, test.want, owner)
			}
		})
	}
}

func TestHopelessReasons(t *testing.T) {
	for reason, want := range map[string]bool{
		"CrashLoopBackOff": true, "CreateContainerConfigError": true, "ImagePullBackOff": true, "InvalidImageName": true, "RunContainerError": true,
		"ErrImageNeverPull": true, "ContainerCreating": false, "PodInitializing": false, "ErrImagePull": false,
	} {
		if hopeless(&corev1.ContainerStateWaiting{Reason: reason}) != want {
			t.Errorf("hopeless(%q) = %v", reason, !want)
		}
	}
	for message, want := range map[string]bool{`secret "absent" not found`: true, "failed to sync secret cache: timed out waiting for the condition": false,
		"failed to sync configmap cache: timed out waiting for the condition": false} {
		if hopeless(&corev1.ContainerStateWaiting{Reason: "CreateContainerConfigError", Message: message}) != want {
			t.Errorf("%s: hopeless %v", message, !want)
		}
	}
}

func TestOneLine(t *testing.T) {
	if got := oneLine("  a\r\n\x1b[31mb\u0085 ü\n"); got != "a   [31mb  ü" {
		t.Errorf("oneLine = %q", got)
	}
	if got := oneLine(strings.Repeat("ü", longestLine+1)); got != strings.Repeat("ü", longestLine)+"…" {
		t.Errorf("a long line becomes %d bytes", len(got))
	}
}

func TestReaders(t *testing.T) {
	var (
		ref  = corev1.LocalObjectReference{Name: "creds"}
		env  = corev1.EnvVar{Name: "PGPASSWORD", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref, Key: "password"}}}
		from = corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}
	)
	volume := func(name string, source corev1.VolumeSource) corev1.Volume {
		return corev1.Volume{Name: name, VolumeSource: source}
	}
	volumes := []corev1.Volume{
		volume("plain", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "creds"}}),
		volume("mixed", corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ConfigMap: &corev1.ConfigMapProjection{}}, {Secret: &corev1.SecretProjection{LocalObjectReference: ref}}}}}),
		volume("chosen", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "creds", Items: []corev1.KeyToPath{{Key: "password", Path: "db/pass"}, {Key: "username", Path: "user"}}}}),
		volume("other", corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "tls"}}),
		volume("empty", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}),
	}
	for _, test := range []struct {
		name string
		spec corev1.PodSpec
		want string
	}{
		{"env", corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Env: []corev1.EnvVar{{Name: "X", Value: "creds"}, env}}}}, `container "app": env PGPASSWORD from key "password"`},
		{"envFrom", corev1.PodSpec{Containers: []corev1.Container{{Name: "app", EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{}}, from}}}},
			`container "app": envFrom`},
		{"volumes", corev1.PodSpec{Volumes: volumes, Containers: []corev1.Container{{Name: "app", VolumeMounts: []corev1.VolumeMount{{Name: "plain"}, {Name: "mixed"}, {Name: "other"}, {Name: "empty"}}}}},
			`container "app": volume "plain", volume "mixed"`},
		{"chosen keys", corev1.PodSpec{Volumes: volumes, Containers: []corev1.Container{{Name: "app", VolumeMounts: []corev1.VolumeMount{{Name: "chosen"}}}}},
			`container "app": volume "chosen" with key "password", "username"`},
		{"a file of a volume", corev1.PodSpec{Volumes: volumes, Containers: []corev1.Container{{Name: "app", VolumeMounts: []corev1.VolumeMount{
			{Name: "chosen", SubPath: "db"}, {Name: "plain", SubPath: "username"}, {Name: "chosen", SubPath: "absent"}}}}},
			`container "app": volume "chosen" with key "password", volume "plain" with key "username"`},
		{"ephemeral container", corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}, EphemeralContainers: []corev1.EphemeralContainer{
			{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Env: []corev1.EnvVar{env}}}}}, `container "debug": env PGPASSWORD from key "password"`},
		{"init container", corev1.PodSpec{InitContainers: []corev1.Container{{Name: "migrate", Env: []corev1.EnvVar{env}}}, Containers: []corev1.Container{{Name: "app"}}},
			`container "migrate": env PGPASSWORD from key "password"`},
		{"a volume that nobody mounts", corev1.PodSpec{Volumes: volumes, Containers: []corev1.Container{{Name: "app"}}}, ""},
		{"pull secret", corev1.PodSpec{ImagePullSecrets: []corev1.LocalObjectReference{ref}, Containers: []corev1.Container{{Name: "app"}}}, ""},
		{"another Secret", corev1.PodSpec{Containers: []corev1.Container{{Name: "app", EnvFrom: []corev1.EnvFromSource{
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "creds2"}}}}}}}, ""},
	} {
		if got := strings.Join(readersOf(&test.spec, []string{"copy", "creds"}).ways(), "; "); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestUnnamed finds the containers that log in by a user name from elsewhere.
func TestUnnamed(t *testing.T) {
	names := Mapping{"PGUSER": Username, "PGPASSWORD": Password, "DATABASE_URL": URL, "VERIFIER": Verifier}
	for _, test := range []struct {
		name    string
		mapping Mapping
		reader  reader
		unnamed bool
	}{
		{"password alone", nil, reader{keys: []string{"database", "password"}}, true},
		{"both", nil, reader{keys: []string{"password", "username"}}, false},
		{"user name alone", nil, reader{keys: []string{"username"}}, false},
		{"neither", nil, reader{keys: []string{"database"}}, false},
		{"all keys", nil, reader{whole: true}, false},
		{"password by itself beside all keys", nil, reader{keys: []string{"password"}, whole: true}, false},
		{"mapped password alone", names, reader{keys: []string{"PGPASSWORD"}}, true},
		{"a user name that stays", names, reader{keys: []string{"PGPASSWORD", "username"}}, true},
		{"mapped, both", names, reader{keys: []string{"PGPASSWORD", "PGUSER"}}, false},
		{"url", names, reader{keys: []string{"DATABASE_URL"}}, false},
		{"url and password", names, reader{keys: []string{"DATABASE_URL", "PGPASSWORD"}}, false},
		{"verifier alone", names, reader{keys: []string{"VERIFIER"}}, true},
	} {
		test.reader.container = "app"
		if got := (readers{test.reader}).unnamed(test.mapping); (len(got) > 0) != test.unnamed {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

// TestAPodHasALogOnceItHasStarted: the API server has nothing to show of a container
// that waits for its image, or for the one before it.
func TestAPodHasALogOnceItHasStarted(t *testing.T) {
	running, ended := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
	creating := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
	crashing := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}
	for name, c := range map[string]struct {
		migrate, core []corev1.ContainerStatus
		want          bool
	}{
		"nothing is known yet":     {nil, nil, false},
		"it is being created":      {nil, []corev1.ContainerStatus{{Name: "core", State: creating}}, false},
		"it runs":                  {nil, []corev1.ContainerStatus{{Name: "core", State: running}}, true},
		"it has ended":             {nil, []corev1.ContainerStatus{{Name: "core", State: ended}}, true},
		"it starts again":          {nil, []corev1.ContainerStatus{{Name: "core", State: creating, LastTerminationState: ended}}, true},
		"another one runs":         {[]corev1.ContainerStatus{{Name: "migrate", State: running}}, []corev1.ContainerStatus{{Name: "core", State: creating}}, false},
		"another one keeps ending": {[]corev1.ContainerStatus{{Name: "migrate", State: crashing, LastTerminationState: ended}}, []corev1.ContainerStatus{{Name: "core", State: creating}}, true},
	} {
		o := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "core"}}}, Status: corev1.PodStatus{InitContainerStatuses: c.migrate, ContainerStatuses: c.core}}
		if p, _ := ofPod(o); p.started != c.want {
			t.Errorf("%s: it has a log: %t", name, p.started)
		}
	}
}
