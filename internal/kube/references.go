package kube

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// reader is a container that is given content of one of the Secrets.
type reader struct {
	container string
	ways      []string // by which it is given that
	keys      []string // that it is given one by one
	whole     bool     // it is given all keys
}

// readers are the containers of a pod that read one of the Secrets.
type readers []reader

// readersOf finds those of spec. The ways are those of the PodSpec that hand a
// Secret's content to a container: env, envFrom and volumes.
// https://kubernetes.io/docs/concepts/configuration/secret/#using-a-secret
func readersOf(spec *corev1.PodSpec, secrets []string) readers {
	wanted := func(name string) bool { return slices.Contains(secrets, name) }
	volumes := readingVolumes(spec, wanted)
	containers := slices.Concat(spec.InitContainers, spec.Containers)
	for _, c := range spec.EphemeralContainers {
		containers = append(containers, corev1.Container(c.EphemeralContainerCommon))
	}
	var found readers
	for _, c := range containers {
		r := reader{container: c.Name}
		r.variables(c.Env, wanted)
		if slices.ContainsFunc(c.EnvFrom, func(e corev1.EnvFromSource) bool { return e.SecretRef != nil && wanted(e.SecretRef.Name) }) {
			r.ways, r.whole = append(r.ways, "envFrom"), true
		}
		for _, mount := range c.VolumeMounts {
			r.mount(mount, volumes[mount.Name])
		}
		if len(r.ways) > 0 {
			found = append(found, r)
		}
	}
	return found
}

func (r *reader) variables(env []corev1.EnvVar, wanted func(string) bool) {
	var names []string
	for _, v := range env {
		if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil && wanted(v.ValueFrom.SecretKeyRef.Name) {
			key := v.ValueFrom.SecretKeyRef.Key
			names, r.keys = append(names, fmt.Sprintf("%s from key %q", v.Name, key)), append(r.keys, key)
		}
	}
	if len(names) > 0 {
		r.ways = append(r.ways, "env "+strings.Join(names, ", "))
	}
}

func (r *reader) mount(m corev1.VolumeMount, v volume) {
	keys, whole := v.at(m.SubPath)
	switch {
	case whole:
		r.ways, r.whole = append(r.ways, fmt.Sprintf("volume %q", m.Name)), true
	case len(keys) > 0:
		r.ways, r.keys = append(r.ways, fmt.Sprintf("volume %q with key %s", m.Name, quoted(keys))), append(r.keys, keys...)
	}
}

// volume is what a volume has of the Secrets.
type volume struct {
	items []corev1.KeyToPath
	whole bool // all keys, each in a file of its name
}

// at tells which keys, or whether all, are in the file or folder at path; empty:
// in the volume.
func (v volume) at(path string) (keys []string, whole bool) {
	for _, item := range v.items {
		if path == "" || item.Path == path || strings.HasPrefix(item.Path, path+"/") {
			keys = append(keys, item.Key)
		}
	}
	if v.whole && path != "" {
		keys = append(keys, path)
	}
	return keys, v.whole && path == ""
}

func readingVolumes(spec *corev1.PodSpec, wanted func(string) bool) map[string]volume {
	found := map[string]volume{}
	add := func(name, secret string, items []corev1.KeyToPath) {
		if v := found[name]; wanted(secret) {
			found[name] = volume{append(v.items, items...), v.whole || len(items) == 0}
		}
	}
	for _, v := range spec.Volumes {
		if v.Secret != nil {
			add(v.Name, v.Secret.SecretName, v.Secret.Items)
		}
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if source.Secret != nil {
				add(v.Name, source.Secret.Name, source.Secret.Items)
			}
		}
	}
	return found
}

// ways tells people how each container reads; nil: none does.
func (all readers) ways() (ways []string) {
	for _, r := range all {
		ways = append(ways, fmt.Sprintf("container %q: %s", r.container, strings.Join(r.ways, ", ")))
	}
	return ways
}

// unnamed are the containers that are given a key with the password, and none
// that has the user name with it.
func (all readers) unnamed(m Mapping) (names []string) {
	m = m.resolve(func(string) bool { return true })
	for _, r := range all {
		takes := func(properties ...Property) bool {
			return slices.ContainsFunc(r.keys, func(key string) bool { return slices.Contains(properties, m[key]) })
		}
		if !r.whole && takes(Password, Verifier) && !takes(Username, URL, DSN) {
			names = append(names, r.container)
		}
	}
	return names
}
