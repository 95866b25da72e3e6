package crash

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
)

// The ways in which a case fails.
var (
	errLost      = errors.New("LOST: the database accepts a password that is neither in the Secret nor in the journal")
	errRefused   = errors.New("REFUSED: roles alternate, and the database refuses a served password")
	errLockedOut = errors.New("LOCKED OUT: the database refuses the served password after the resume")
	errKeeps     = errors.New("KEPT: the journal of an emergency holds a previous password")
	errOpen      = errors.New("OPEN: an emergency has switched roles, and the former one has a password")
	errReopened  = errors.New("OPEN: the database accepts a password that an emergency has replaced")
	errPanic     = errors.New("PANIC: the program has stopped by a fault of its own")
	errUnhealthy = errors.New("it is not healthy")
	errDiffering = errors.New("DIFFERING: the places do not agree after the resume")
)

// sound tells whether the program has not panicked: its exit code is then one that
// a refusal has, or an open rotation.
func sound(said string) error {
	lines := "\n" + said
	fell := strings.Contains(lines, "\npanic:") || strings.Contains(lines, "\nfatal error:")
	if fell && strings.Contains(said, "goroutine ") || strings.Contains(said, "pgrotate stopped by a fault of its own") {
		return errPanic
	}
	return nil
}

// Kept tells whether the password that the database accepts is in the Secret or
// in the journal, and remembers all that are there as secrets. While a rotation
// that switches roles is open the served one has to log in, too.
func (b *Bench) Kept() error {
	s, err := b.Look()
	if err != nil {
		return err
	}
	known := b.passwords(s)
	if a := s.Journal.Annotations; a["pgrotate.io/mode"] == "emergency" && len(s.Journal.Data["previous"]) > 0 {
		return errKeeps
	}
	if turning(s) && !fixture.Opens(s.Verifier, s.Served()) {
		return errRefused
	}
	for _, password := range known {
		if fixture.Opens(s.Verifier, password) {
			return nil
		}
	}
	return errLost
}

// turning tells whether a planned rotation between two roles is open.
func turning(s *fixture.State) bool {
	a := s.Journal.Annotations
	return phaseOf(s) != "idle" && a["pgrotate.io/mode"] == "planned" && alternates(s)
}

// phaseOf is where the journal's rotation stands.
func phaseOf(s *fixture.State) string { return s.Journal.Annotations["pgrotate.io/phase"] }

// idOf is the journal's rotation, while it is idle the last one.
func idOf(s *fixture.State) string { return s.Journal.Annotations["pgrotate.io/rotation-id"] }

// goesForward tells whether a rotation has begun since before, and does not go back.
func goesForward(before, now *fixture.State) bool {
	return idOf(now) != idOf(before) && phaseOf(now) != "back"
}

// shutOut tells whether the database refuses what was served then.
func (b *Bench) shutOut(then *fixture.State) error {
	ok, err := b.Accepts(then.User(), then.Served())
	if ok {
		err = errReopened
	}
	return err
}

// alternates tells whether the journal's rotation is between two roles.
func alternates(s *fixture.State) bool {
	return strings.Contains(s.Journal.Annotations["pgrotate.io/record"], `"strategy":"alternate"`)
}

// leftClosed tells whether the role that an emergency has left has no password.
func (b *Bench) leftClosed(s *fixture.State) error {
	if s.Journal.Annotations["pgrotate.io/mode"] != "emergency" || !alternates(s) {
		return nil
	}
	other := b.Twin()
	if s.User() == other {
		other = b.Name
	}
	verifier, err := b.Verifier(other)
	if err == nil && verifier != "" {
		err = errOpen
	}
	return err
}

// passwords are all that the Secret and the journal hold. They are secrets from
// then on, as the verifiers are.
func (b *Bench) passwords(s *fixture.State) []string {
	return b.learn(append(journaled(s.Journal), credential{s.Served(), s.Verifier}))
}

// journaled are the credentials that a journal holds.
func journaled(journal *corev1.Secret) (all []credential) {
	for _, key := range []string{"pending", "previous", "superseded"} {
		all = append(all, credentials(journal.Data[key])...)
	}
	return all
}

func (b *Bench) learn(all []credential) (found []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range all {
		found = append(found, c.Password)
		b.secrets.Add("a password of the role", c.Password)
		for _, key := range strings.Split(keys(c.Verifier), ":") {
			b.keys.Add("a verifier of the role", key)
		}
	}
	return found
}

// keys are what a SCRAM verifier must not tell, see
// https://www.postgresql.org/docs/current/catalog-pg-authid.html; its salt is told to whoever asks.
func keys(verifier string) string { return verifier[strings.LastIndexByte(verifier, '$')+1:] }

type credential struct {
	Password string `json:"password"`
	Verifier string `json:"verifier"`
}

// credentials reads a credential, or a list of them.
func credentials(text []byte) (all []credential) {
	var one credential
	if json.Unmarshal(text, &one) == nil {
		return []credential{one}
	}
	_ = json.Unmarshal(text, &all) // what is no list is empty
	return all
}

// Settled tells whether all is as after a rotation: the served password logs
// in, all places hold it, the journal is closed, and every pod works.
func (b *Bench) Settled() error {
	if err := b.Kept(); err != nil {
		return err
	}
	s, err := b.Look()
	if err != nil {
		return err
	}
	switch ok, err := b.Accepts(s.User(), s.Served()); {
	case err != nil:
		return err
	case !ok:
		return errLockedOut
	}
	if err := b.leftClosed(s); err != nil {
		return err
	}
	if err := errors.Join(b.Consistent(), b.podsWork(s)); err != nil {
		return fmt.Errorf("%w: %w", errDiffering, err)
	}
	if violations := b.GitHub.Violations(); len(violations) > 0 {
		return fmt.Errorf("requests that GitHub does not describe: %v", violations)
	}
	return nil
}

// podsWork tells whether the pods carry the mark of the last rotation and log in.
func (b *Bench) podsWork(s *fixture.State) error {
	if len(b.pods) == 0 {
		return nil
	}
	for _, name := range b.pods {
		if err := b.Ready(name); err != nil {
			return err
		}
	}
	list, err := b.Cluster.CoreV1().Pods(b.Name).List(b.ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	id := idOf(s)
	working := 0
	for _, pod := range list.Items {
		if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		working++
		if mark := pod.Annotations["pgrotate.io/restart"]; id != "" && mark != id && mark != id+"-back" && !b.untouched(s) {
			return fmt.Errorf("pod %q has the mark %q, the last rotation is %q", pod.Name, mark, id)
		}
		if err := b.logsIn(pod.Name); err != nil {
			return err
		}
		if b.untouched(s) { // no mark tells what it was started with
			if err := b.logsInAnew(pod.Name); err != nil {
				return err
			}
		}
	}
	if working == 0 {
		return errors.New("no pod is left")
	}
	return nil
}

// untouched tells whether the journal's rotation was turned back before any pod
// could have read its password.
func (b *Bench) untouched(s *fixture.State) bool {
	return strings.Contains(s.Journal.Annotations["pgrotate.io/record"], `"restart":"none"`)
}

// logsIn tells whether a pod logs in. It is asked again for half a minute where a
// busy machine keeps it, or the database, from answering: one that has another
// password never will.
func (b *Bench) logsIn(pod string) (err error) {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		var said string
		if said, err = b.ask(pod); err == nil && strings.HasPrefix(said, "healthy:") {
			return nil
		}
		err = fmt.Errorf("pod %q says %q: %w", pod, strings.TrimSpace(said), cmp.Or(err, errUnhealthy))
	}
	return err
}

// logsInAnew tells whether the next login of a pod goes well, too.
func (b *Bench) logsInAnew(pod string) error {
	var first string
	for range 30 {
		switch said, err := b.ask(pod); {
		case err != nil: // busy
		case first == "":
			first = said
		case said != first: // it counts its logins
			return b.logsIn(pod)
		}
		time.Sleep(500 * time.Millisecond)
	}
	return fmt.Errorf("no further login of pod %q has gone well: %w", pod, errUnhealthy)
}

// ask asks a pod how its last login went.
func (b *Bench) ask(pod string) (string, error) {
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	address := b.Cluster.CoreV1().RESTClient().Get().Namespace(b.Name).Resource("pods").Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: []string{"/healthcheck"}, Stdout: true}, scheme.ParameterCodec).URL()
	executor, err := remotecommand.NewWebSocketExecutor(b.Config, "GET", address.String())
	if err != nil {
		return "", err
	}
	var said bytes.Buffer
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: &said})
	return said.String(), err
}
