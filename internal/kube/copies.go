package kube

import (
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Copies returns the Secrets that lines name, "[namespace/]name" each, in the
// namespace of s where they name none. The error tells of every line that is
// wrong: no name of a Secret, named twice, s itself.
func (s *Served) Copies(lines []string) ([]*Copy, error) {
	var copies []*Copy
	var errs []error
	seen := map[string]bool{}
	for _, line := range lines {
		c, err := s.copy(line)
		switch {
		case err != nil:
			errs = append(errs, err)
			continue
		case seen[c.Name()]:
			errs = append(errs, fail(refused, "", "%q: %s is named twice", line, c))
		}
		seen[c.Name()] = true
		copies = append(copies, c)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return copies, nil
}

func (s *Served) copy(line string) (*Copy, error) {
	namespace, name := s.cluster.qualify(line)
	c := &Copy{served: s, holder: holder{cluster: s.cluster.in(namespace), name: name, mapping: s.mapping, managed: s.managed,
		absent: "recreate it with its other keys, or take it out of the copies"}}
	switch {
	case len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0:
		return nil, fail(refused, "", "%q: want [namespace/]name of a Secret", line)
	case c.Name() == s.Name():
		return nil, fail(refused, "", "%q: %s is the served Secret itself", line, c)
	case c.Name() == s.Name()+journalSuffix:
		return nil, fail(refused, "", "%q: %s is the journal", line, c)
	}
	return c, nil
}

// Name is "namespace/name".
func (h *holder) Name() string { return h.cluster.namespace + "/" + h.name }

// qualify takes "[namespace/]name" apart; the namespace is c's unless it is named.
func (c *Cluster) qualify(text string) (namespace, name string) {
	if namespace, name, ok := strings.Cut(text, "/"); ok {
		return namespace, name
	}
	return c.namespace, text
}
