package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/lab/boot"
	"github.com/pgrotate/pgrotate/lab/site"
)

func labOf(env map[string]string) *lab {
	return newLab(site.Site{State: "/state", Cache: "/cache", Source: "."}, func(name string) string { return env[name] })
}

func TestWhatIsThereIsNotBooted(t *testing.T) {
	const url = "postgres://postgres@db/postgres"
	own := labOf(nil).node.Kubeconfig()
	for name, test := range map[string]struct {
		env             map[string]string
		server, cluster bool // the lab boots its own
	}{
		"nothing":               {nil, true, true},
		"server and cluster":    {map[string]string{"PGROTATE_LAB_POSTGRES_URL": url, "KUBECONFIG": "/k"}, false, false},
		"server":                {map[string]string{"PGROTATE_LAB_POSTGRES_URL": url}, false, true},
		"a stray kubeconfig":    {map[string]string{"KUBECONFIG": "/production"}, true, true},
		"the lab's kubeconfig":  {map[string]string{"KUBECONFIG": own}, true, true},
		"server, lab's cluster": {map[string]string{"PGROTATE_LAB_POSTGRES_URL": url, "KUBECONFIG": own}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := labOf(test.env)
			have := names(l.steps())
			if got := slices.Contains(have, "postgres"); got != test.server {
				t.Errorf("boots a server: %v", got)
			}
			if got := slices.Contains(have, "kubelet"); got != test.cluster {
				t.Errorf("boots a cluster: %v", got)
			}
			for _, always := range []string{"github", "platform"} {
				if !slices.Contains(have, always) {
					t.Errorf("does not boot %s", always)
				}
			}
			if want := map[bool]string{true: own, false: "/k"}[test.cluster]; l.kubeconfig() != want {
				t.Errorf("kubeconfig %q, want %q", l.kubeconfig(), want)
			}
		})
	}
}

func TestStepsComeAfterStepsThatExist(t *testing.T) {
	for _, env := range []map[string]string{
		nil,
		{"PGROTATE_LAB_POSTGRES_URL": "postgres://x"},
		{"PGROTATE_LAB_POSTGRES_URL": "postgres://x", "KUBECONFIG": "/k"},
	} {
		var seen []string
		for _, s := range labOf(env).steps() {
			for _, name := range s.After {
				if !slices.Contains(seen, name) {
					t.Errorf("%v: %s comes after %s, which does not stand before it", env, s.Name, name)
				}
			}
			if slices.Contains(seen, s.Name) {
				t.Errorf("%v: two steps %s", env, s.Name)
			}
			seen = append(seen, s.Name)
		}
	}
}

func TestTellsWhatIsMissingInOneSentence(t *testing.T) {
	existing := labOf(map[string]string{"PGROTATE_LAB_POSTGRES_URL": "postgres://x", "KUBECONFIG": "/k"})
	if err := existing.usable("root is missing"); err != nil {
		t.Errorf("an existing cluster and server are not enough: %v", err)
	}
	if err := labOf(nil).usable(""); err != nil {
		t.Errorf("root on Debian is not enough: %v", err)
	}
	err := labOf(nil).usable("root is missing")
	if err == nil {
		t.Fatal("boots without root")
	}
	for _, word := range []string{"root is missing", "KUBECONFIG", "PGROTATE_LAB_POSTGRES_URL", "pgrotate.lab/service:1"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is more than one line", err)
	}
}

func TestPortsLieBelowTheEphemeralRange(t *testing.T) {
	ports := []int{
		site.Etcd, site.EtcdPeer, site.APIServer, site.ControllerManager, site.Scheduler, site.Kubelet,
		site.KubeletHealth, site.ContainerdStream, site.Postgres, site.PostgresTrust, site.PostgresPod, site.GitHub,
		site.PostgresVersion, site.PostgresVersionTrust,
	}
	slices.Sort(ports)
	if len(slices.Compact(slices.Clone(ports))) != len(ports) {
		t.Errorf("one port twice: %v", ports)
	}
	if last := ports[len(ports)-1]; last >= 32768 {
		t.Errorf("port %d is ephemeral", last)
	}
}

func names(steps []boot.Step) []string {
	all := make([]string, len(steps))
	for i, s := range steps {
		all[i] = s.Name
	}
	return all
}
