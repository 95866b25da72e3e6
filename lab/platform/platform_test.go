package platform

import (
	"testing"
	"time"

	core "k8s.io/client-go/applyconfigurations/core/v1"
)

func platform() Platform { return Platform{SSLMode: "disable", Logins: "/logins", Port: 25434} }

func TestDeploymentsReadTheSecret(t *testing.T) {
	for _, name := range Deployments() {
		d, err := platform().deployment(name, address{"127.0.0.1", 25432}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if *d.Name != name || *d.Namespace != Namespace || *d.Spec.Replicas != Replicas {
			t.Errorf("%s is %s/%s with %d replicas", name, *d.Namespace, *d.Name, *d.Spec.Replicas)
		}
		if d.Spec.Template.Labels["tier"] != "backend" {
			t.Errorf("%s: labels %v", name, d.Spec.Template.Labels)
		}
		if strategy := d.Spec.Strategy.RollingUpdate; strategy.MaxUnavailable.IntValue() != 0 {
			t.Errorf("%s ends pods before new ones run", name)
		}
		if !reads(d.Spec.Template.Spec.Containers[0], "password") {
			t.Errorf("%s does not read the Secret", name)
		}
	}
}

func TestPostgresReadsTheSecret(t *testing.T) {
	s, err := platform().statefulSet(address{"127.0.0.1", 25432})
	if err != nil {
		t.Fatal(err)
	}
	container := s.Spec.Template.Spec.Containers[0]
	if !reads(container, "password") {
		t.Error("does not read the Secret")
	}
	if args := container.Args; len(args) != 2 || args[0] != "127.0.0.1:25434" || args[1] != "127.0.0.1:25432" {
		t.Errorf("arguments %q", args)
	}
}

// reads tells whether the container gets the key of the Secret, by name or with all.
func reads(c core.ContainerApplyConfiguration, key string) bool {
	for _, from := range c.EnvFrom {
		if from.SecretRef != nil && *from.SecretRef.Name == Secret {
			return true
		}
	}
	for _, env := range c.Env {
		if env.ValueFrom != nil && env.ValueFrom.SecretKeyRef != nil &&
			*env.ValueFrom.SecretKeyRef.Name == Secret && *env.ValueFrom.SecretKeyRef.Key == key {
			return true
		}
	}
	return false
}

func TestDecodeRefuses(t *testing.T) {
	var into map[string]string
	for name, text := range map[string]string{"missing value": "a: {{.Nothing}}", "no YAML": "a: [", "no template": "{{"} {
		if decode(text, map[string]any{}, &into) == nil {
			t.Errorf("%s went unnoticed", name)
		}
	}
}
