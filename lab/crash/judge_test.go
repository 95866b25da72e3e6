package crash

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pgrotate/pgrotate/internal/labtest/fixture"
	"github.com/pgrotate/pgrotate/lab/proxy"
)

// judge breaks what the proofs look at: a judge that sees nothing proves nothing.
func (s *suite) judge(t *testing.T) {
	b := s.bench(t, false)
	if b == nil {
		t.FailNow()
	}
	before, err := b.Look()
	if err != nil {
		t.Fatal(err)
	}
	set := func(password string) {
		if err := b.SQL(b.Superuser, `ALTER ROLE "`+b.Name+`" PASSWORD '`+password+`'`); err != nil {
			t.Fatal(err)
		}
	}
	set("of-a-stranger")
	if err := b.Kept(); !errors.Is(err, errLost) {
		t.Errorf("a password that is stored nowhere: %v", err)
	}
	set(before.Verifier)
	b.GitHub.Store(fixture.Repository, fixture.GitHubName, "of-a-stranger", time.Now())
	if err := b.Settled(); !errors.Is(err, errDiffering) {
		t.Errorf("GitHub holds another password: %v", err)
	}
	b.GitHub.Store(fixture.Repository, fixture.GitHubName, before.Served(), time.Now())
	if err := b.SQL(b.Superuser, `ALTER ROLE "`+b.Name+`" NOLOGIN`); err != nil {
		t.Fatal(err)
	}
	if err := b.Settled(); err == nil {
		t.Error("a role that may not log in passes for one that does")
	}
	b.search("a text", "the token is "+b.Token)
	if len(b.hits) != 1 {
		t.Errorf("a token in a text: %q", b.hits)
	}
	for _, part := range strings.Split(keys(before.Verifier), ":") {
		b.hits = nil
		b.search("a text", part)
		if len(b.hits) == 0 {
			t.Errorf("a part of the verifier in a text is not found")
		}
	}
	judgeEmergency(t, b)
	judgePods(t, s)
}

func TestAPanicIsSeen(t *testing.T) {
	for said, seen := range map[string]bool{
		"✓ lock\npanic: runtime error: invalid memory address\n\ngoroutine 1 [running]:\n": true,
		"fatal error: concurrent map writes\n\ngoroutine 7 [running]:\n":                   true,
		"error: pgrotate stopped by a fault of its own: index out of range\n":              true,
		"pod \"shop\" says: panic: no database, goroutine 1\n":                             false,
		"panic: is what a reason may say\n":                                                false,
	} {
		if err := sound(said); (err != nil) != seen {
			t.Errorf("%q: %v", said, err)
		}
	}
}

func TestAStoppedRunThatHasNotRotatedIsSeen(t *testing.T) {
	journal := func(phase, id string) *fixture.State {
		return &fixture.State{Journal: &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"pgrotate.io/phase": phase, "pgrotate.io/rotation-id": id}}}}
	}
	before := journal("idle", "former")
	for _, c := range []struct {
		name  string
		found *fixture.State
		end   told
		code  int
		right bool
	}{
		{"it was over", journal("idle", "own"), told{Status: "rotated", RotationID: "own"}, 0, true},
		{"another one ended it", journal("forward", "own"), told{Status: "rotated", RotationID: "own"}, 0, false},
		{"it was not begun", before, told{Status: "rotated", RotationID: "own"}, 0, false},
		{"it calls the former one its own", before, told{Status: "rotated", RotationID: "former"}, 0, false},
		{"it has found nothing to do", before, told{Status: "unchanged", RotationID: "others"}, 0, true},
		{"it was overtaken", journal("forward", "own"), told{Status: "unfinished", RotationID: "own", ExitCode: 3}, 3, true},
		{"it says otherwise than it exits", journal("forward", "own"), told{Status: "unfinished", RotationID: "own", ExitCode: 3}, 2, false},
	} {
		if err := rightly(before, c.found, c.code, c.end); (err == nil) != c.right {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// judgePods breaks what the proofs look at in pods, and between two roles.
func judgePods(t *testing.T, s *suite) {
	b := s.bench(t, true)
	if b == nil {
		t.FailNow()
	}
	stale := []byte(`{"metadata":{"annotations":{"pgrotate.io/restart":"of-a-former-rotation"}}}`)
	pods, err := b.Cluster.CoreV1().Pods(b.Name).List(b.ctx, metav1.ListOptions{})
	if err != nil || len(pods.Items) == 0 {
		t.Fatal(len(pods.Items), err)
	}
	for _, pod := range pods.Items {
		if _, err := b.Cluster.CoreV1().Pods(b.Name).Patch(b.ctx, pod.Name, types.MergePatchType, stale, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Settled(); !errors.Is(err, errDiffering) {
		t.Errorf("a pod has the mark of another rotation: %v", err)
	}
	if err := cutShort(b, at{modes()[1], "kubernetes PATCH secrets/postgres-credentials #2", proxy.Before}).err; err != nil {
		t.Fatal(err)
	}
	if err := b.SQL(b.Superuser, `ALTER ROLE "`+b.Name+`" PASSWORD 'of-a-stranger'`); err != nil {
		t.Fatal(err)
	}
	if err := b.Kept(); !errors.Is(err, errRefused) {
		t.Errorf("the served role's password was changed while roles alternate: %v", err)
	}
}

// judgeEmergency breaks what must hold after an emergency.
func judgeEmergency(t *testing.T, b *Bench) {
	if err := b.SQL(b.Superuser, `ALTER ROLE "`+b.Name+`" LOGIN`); err != nil {
		t.Fatal(err)
	}
	if ended, err := b.Run(switchingAlarm().inputs); err != nil || ended.Code != 0 {
		t.Fatalf("the emergency ended with %d: %v\n%s", ended.Code, err, ended.Said)
	}
	if err := b.Settled(); err != nil {
		t.Errorf("after an emergency: %v", err)
	}
	if now, err := b.Look(); err != nil || !errors.Is(b.shutOut(now), errReopened) {
		t.Errorf("a served password passes for one that is refused: %v", err)
	}
	if err := b.SQL(b.Superuser, `ALTER ROLE "`+b.Name+`" PASSWORD 'of-a-stranger'`); err != nil {
		t.Fatal(err)
	}
	if err := b.Settled(); !errors.Is(err, errOpen) {
		t.Errorf("the former role has a password after an emergency: %v", err)
	}
	if err := b.SQL(b.Superuser, `ALTER ROLE "`+b.Name+`" PASSWORD NULL`); err != nil {
		t.Fatal(err)
	}
	if err := b.AddKey(b.Name, fixture.Journal, `previous={"user":"u","password":"of-a-stranger"}`); err != nil {
		t.Fatal(err)
	}
	if err := b.Settled(); !errors.Is(err, errKeeps) {
		t.Errorf("the journal keeps a password after an emergency: %v", err)
	}
}
