package kube

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// readers tells by which ways the pods of spec read one of the Secrets; nil:
// they do not. The ways are those of the PodSpec that hand a Secret's content
// to a container: env, envFrom and volumes.
// https://kubernetes.io/docs/concepts/configuration/secret/#using-a-secret
func readers(spec *corev1.PodSpec, secrets []string) []string {
	wanted := func(name string) bool { return slices.Contains(secrets, name) }
	volumes := readingVolumes(spec, wanted)
	var ways []string
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		var by []string
		if vars := readingVariables(c.Env, wanted); len(vars) > 0 {
			by = append(by, "env "+strings.Join(vars, ", "))
		}
		if slices.ContainsFunc(c.EnvFrom, func(e corev1.EnvFromSource) bool { return e.SecretRef != nil && wanted(e.SecretRef.Name) }) {
			by = append(by, "envFrom")
		}
		for _, mount := range c.VolumeMounts {
			if slices.Contains(volumes, mount.Name) {
				by = append(by, fmt.Sprintf("volume %q", mount.Name))
			}
		}
		if len(by) > 0 {
			ways = append(ways, fmt.Sprintf("container %q: %s", c.Name, strings.Join(by, ", ")))
		}
	}
	return ways
}

func readingVariables(env []corev1.EnvVar, wanted func(string) bool) []string {
	var names []string
	for _, v := range env {
		if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil && wanted(v.ValueFrom.SecretKeyRef.Name) {
			names = append(names, v.Name)
		}
	}
	return names
}

func readingVolumes(spec *corev1.PodSpec, wanted func(string) bool) []string {
	var names []string
	for _, v := range spec.Volumes {
		if v.Secret != nil && wanted(v.Secret.SecretName) || v.Projected != nil && slices.ContainsFunc(v.Projected.Sources,
			func(s corev1.VolumeProjection) bool { return s.Secret != nil && wanted(s.Secret.Name) }) {
			names = append(names, v.Name)
		}
	}
	return names
}
