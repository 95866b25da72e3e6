package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// collisions is how often a write that met a foreign one is tried again.
const collisions = 5

// Set writes c.Keys and the stamp in one merge patch that holds only where the
// Secret is still the one last read; where c.Keys is nil it writes the epoch
// alone. It sends nothing where all is there already. Class conflict: a higher
// epoch is there, the Secret was made anew, or somebody else changed what Set
// writes. A foreign change of anything else is left standing.
func (s *Served) Set(ctx context.Context, c secret.Credential, stamp secret.Stamp) error {
	wanted := contentOf(c, stamp)
	base := s.last()
	if base == nil || wanted.in(base) { // what was read once proves nothing about now
		var err error
		if base, err = s.get(ctx); err != nil {
			return err
		}
	}
	for range collisions {
		if err := s.fenced(base, stamp.Epoch); err != nil {
			return err
		}
		if wanted.in(base) {
			return nil
		}
		written, err := s.write(ctx, base, wanted)
		if err == nil {
			s.remember(written)
			return nil
		}
		if classOf(err) != conflict {
			return err
		}
		met, err := s.get(ctx)
		if err != nil {
			return err
		}
		if err := s.foreign(base, met, wanted); err != nil {
			return err
		}
		base = met
	}
	return fail(conflict, "", "write %s: somebody else keeps writing it", s)
}

// fenced refuses to write over a higher epoch: another run owns the Secret.
func (s *Served) fenced(o *corev1.Secret, epoch int64) error {
	there, err := epochOf(o)
	if err != nil {
		return fail(refused, "", "write %s: %v", s, err)
	}
	if there > epoch {
		return fail(conflict, "", "write %s: a run with epoch %d owns it, this one has %d", s, there, epoch)
	}
	return nil
}

// foreign tells whether the change that a write met touched what it writes.
func (s *Served) foreign(base, met *corev1.Secret, wanted content) error {
	if met.UID != base.UID {
		return fail(conflict, "", "write %s: somebody deleted it and made it anew meanwhile", s)
	}
	if wanted.in(met) {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(wanted.Data)) {
		if !bytes.Equal(base.Data[key], met.Data[key]) {
			return fail(conflict, "", "write %s: somebody else changed its key %q meanwhile", s, key)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(wanted.Annotations)) {
		if name != annotationEpoch && base.Annotations[name] != met.Annotations[name] {
			return fail(conflict, "", "write %s: somebody else changed its annotation %q meanwhile", s, name)
		}
	}
	return nil
}

// content is what a write makes true of a Secret.
type content struct {
	Data        map[string][]byte
	Annotations map[string]*string // nil removes
}

func contentOf(c secret.Credential, stamp secret.Stamp) content {
	epoch := strconv.FormatInt(stamp.Epoch, 10)
	w := dataOf(c)
	w.Annotations = map[string]*string{annotationEpoch: &epoch}
	if c.Keys == nil {
		return w
	}
	w.Annotations[annotationID], w.Annotations[annotationAt] = nil, nil
	if stamp.RotationID != "" {
		w.Annotations[annotationID] = &stamp.RotationID
	}
	if !stamp.RotatedAt.IsZero() {
		at := stamp.RotatedAt.UTC().Format(time.RFC3339Nano)
		w.Annotations[annotationAt] = &at
	}
	return w
}

// dataOf is the content of the keys alone.
func dataOf(c secret.Credential) content {
	w := content{Data: map[string][]byte{}}
	for key, value := range c.Keys {
		w.Data[key] = []byte(value.Reveal())
	}
	return w
}

// without removes an annotation as well.
func (w content) without(annotation string) content {
	annotations := map[string]*string{annotation: nil}
	maps.Copy(annotations, w.Annotations)
	w.Annotations = annotations
	return w
}

// in tells whether o is as wanted.
func (w content) in(o *corev1.Secret) bool { return len(w.misses(o)) == 0 }

// misses lists what of o is not as wanted.
func (w content) misses(o *corev1.Secret) []string {
	var all []string
	for _, key := range w.changes(o) {
		all = append(all, fmt.Sprintf("key %q", key))
	}
	for _, name := range slices.Sorted(maps.Keys(w.Annotations)) {
		there, ok := o.Annotations[name]
		if text := w.Annotations[name]; ok != (text != nil) || ok && there != *text {
			all = append(all, fmt.Sprintf("annotation %q", name))
		}
	}
	return all
}

// changes lists the keys of o that are not as wanted.
func (w content) changes(o *corev1.Secret) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(w.Data)) {
		if there, ok := o.Data[key]; !ok || !bytes.Equal(there, w.Data[key]) {
			keys = append(keys, key)
		}
	}
	return keys
}

// patch is the merge patch (RFC 7386) for the object of that uid and version.
func (w content) patch(uid, version string) ([]byte, error) {
	metadata := map[string]any{"uid": uid}
	if len(w.Annotations) > 0 { // null would remove all there are
		metadata["annotations"] = w.Annotations
	}
	if version != "" {
		metadata["resourceVersion"] = version
	}
	body := map[string]any{"metadata": metadata}
	if len(w.Data) > 0 {
		body["data"] = w.Data
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode a patch of keys %s", quoted(slices.Sorted(maps.Keys(w.Data))))
	}
	return text, nil
}

func quoted(names []string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", name)
	}
	return b.String()
}
