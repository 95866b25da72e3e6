package node

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestVersionIsTheOneThatIsBuilt(t *testing.T) {
	text, err := os.ReadFile("../kubernetes/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\tk8s.io/kubernetes "+Version+"\n") {
		t.Errorf("lab/kubernetes/go.mod does not require k8s.io/kubernetes %s", Version)
	}
	if flags := ldflags(); !strings.Contains(flags, "version.gitMinor=34") {
		t.Errorf("flags %q", flags)
	}
	source, err := os.ReadFile("../kubernetes/main.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range components {
		if !strings.Contains(string(source), "case \""+name+"\":") {
			t.Errorf("lab/kubernetes does not know %s", name)
		}
	}
}

func TestMountPoint(t *testing.T) {
	const line = `36 35 98:0 /mnt1 /var/lib/a\040b rw,noatime master:1 - ext3 /dev/root rw`
	if point, ok := mountPoint(line); !ok || point != "/var/lib/a b" {
		t.Errorf("got %q, %v", point, ok)
	}
	if _, ok := mountPoint("36 35"); ok {
		t.Error("a torn line was taken for a mount")
	}
	if below("/var/lib/abc", "/var/lib/ab") || !below("/var/lib/ab/c", "/var/lib/ab") || !below("/a", "/a") {
		t.Error("below does not compare whole names")
	}
}

func TestMountsFindsTheRoot(t *testing.T) {
	points, err := Mounts("/proc")
	if err != nil || len(points) == 0 || points[0] != "/proc" {
		t.Errorf("mounts %q, %v", points, err)
	}
}

func TestConfigurationsAreWhole(t *testing.T) {
	if _, err := fill(kubeletConfig, map[string]any{}); err == nil {
		t.Error("a missing value went unnoticed")
	}
	values := map[string]any{
		"Port": 1, "HealthPort": 2, "Socket": "s", "CA": "a", "Cert": "b", "Key": "c", "CgroupRoot": pods,
	}
	text, err := fill(kubeletConfig, values)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"address", "healthzBindAddress"} {
		if config[key] != "127.0.0.1" {
			t.Errorf("%s is %v", key, config[key])
		}
	}
}
