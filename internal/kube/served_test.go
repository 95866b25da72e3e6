package kube

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

const servedName = "postgres-credentials"

var urlMapping = Mapping{"username": Username, "password": Password, "DATABASE_URL": URL}

func servedSecret() *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: servedName, Labels: map[string]string{"team": "alfred"}, Annotations: map[string]string{"note": "hands off"}},
		Data: map[string][]byte{
			"username": []byte("alfred_user"), "password": []byte("former-password"), "database": []byte("alfred_db"),
			"DATABASE_URL": []byte("postgres://alfred_user:former-password@db:5432/alfred_db?sslmode=require\n"), "binary": {0, 255, 1, 10},
		},
	}
}

// rendered is the new credential as the runbook would carry it.
func rendered(t *testing.T, s *Served) secret.Credential {
	t.Helper()
	snapshot, err := s.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Render(snapshot.Credential.Keys, secret.Credential{User: "alfred_user", Password: secret.New("brand-new-password")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestServedRotates(t *testing.T) {
	c := lab(t)
	before := putSecret(t, c, servedSecret())
	s := c.Served(servedName, urlMapping, Refuse)
	credential := rendered(t, s)

	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.FixedZone("CET", 3600))
	stamp := secret.Stamp{RotationID: "r1", RotatedAt: at, Epoch: 7}
	if err := s.Set(t.Context(), credential, stamp); err != nil {
		t.Fatal(err)
	}
	after := readSecret(t, c, servedName)
	want := before.DeepCopy()
	want.Data["password"] = []byte("brand-new-password")
	want.Data["DATABASE_URL"] = []byte("postgres://alfred_user:brand-new-password@db:5432/alfred_db?sslmode=require\n")
	want.Annotations = map[string]string{"note": "hands off", annotationID: "r1", annotationAt: "2026-03-01T11:00:00.123456789Z", annotationEpoch: "7"}
	if !reflect.DeepEqual(after.Data, want.Data) || !reflect.DeepEqual(after.Annotations, want.Annotations) || !reflect.DeepEqual(after.Labels, want.Labels) {
		t.Errorf("the Secret is %v %v, want %v %v", after.Annotations, after.Data, want.Annotations, want.Data)
	}
	if !slices.ContainsFunc(after.ManagedFields, func(f metav1.ManagedFieldsEntry) bool { return f.Manager == manager }) {
		t.Errorf("no field manager %q: %v", manager, after.ManagedFields)
	}
	snapshot, err := s.Look(t.Context())
	if err != nil || snapshot.RotationID != "r1" || !snapshot.RotatedAt.Equal(at) || snapshot.Epoch != 7 ||
		snapshot.UID != string(before.UID) || !snapshot.Created.Equal(before.CreationTimestamp.Time) || snapshot.Credential.Password.Reveal() != "brand-new-password" {
		t.Errorf("look: %+v, %v", snapshot, err)
	}

	// The same again sends nothing, from this process or another.
	for _, again := range []*Served{s, c.Served(servedName, urlMapping, Refuse)} {
		if err := again.Set(t.Context(), credential, stamp); err != nil {
			t.Fatal(err)
		}
	}
	if o := readSecret(t, c, servedName); o.ResourceVersion != after.ResourceVersion {
		t.Errorf("writing the same again made version %s of %s", o.ResourceVersion, after.ResourceVersion)
	}

	// And back: the former bytes, no stamp but the epoch.
	former := secret.Credential{Keys: map[string]secret.Value{}}
	for key := range urlMapping {
		former.Keys[key] = secret.New(string(before.Data[key]))
	}
	if err := s.Set(t.Context(), former, secret.Stamp{Epoch: 8}); err != nil {
		t.Fatal(err)
	}
	back := readSecret(t, c, servedName)
	if !reflect.DeepEqual(back.Data, before.Data) || !reflect.DeepEqual(back.Annotations, map[string]string{"note": "hands off", annotationEpoch: "8"}) {
		t.Errorf("after the way back: %v %v", back.Annotations, back.Data)
	}
}

func TestServedFenceWritesOnlyEpoch(t *testing.T) {
	c := lab(t)
	o := servedSecret()
	o.Annotations[annotationID], o.Annotations[annotationAt] = "r0", "2026-01-01T00:00:00Z"
	before := putSecret(t, c, o)
	s := c.Served(servedName, nil, Refuse)
	if err := s.Set(t.Context(), secret.Credential{}, secret.Stamp{Epoch: 3}); err != nil {
		t.Fatal(err)
	}
	after := readSecret(t, c, servedName)
	before.Annotations[annotationEpoch] = "3"
	if !reflect.DeepEqual(after.Annotations, before.Annotations) || !reflect.DeepEqual(after.Data, before.Data) {
		t.Errorf("the fence wrote more than the epoch: %v", after.Annotations)
	}
	err := s.Set(t.Context(), secret.Credential{}, secret.Stamp{Epoch: 2})
	wantFailure(t, err, conflict, "a run with epoch 3 owns it, this one has 2")
}

func TestServedMeetsForeignWrites(t *testing.T) {
	for _, test := range []struct {
		name, patch string
		text        string // empty: the write goes through
		keeps       func(*corev1.Secret) bool
	}{
		{"another key", `{"data":{"database":"b3RoZXI="}}`, "", func(o *corev1.Secret) bool { return string(o.Data["database"]) == "other" }},
		{"a label", `{"metadata":{"labels":{"x":"y"}}}`, "", func(o *corev1.Secret) bool { return o.Labels["x"] == "y" }},
		{"a lower epoch", `{"metadata":{"annotations":{"pgrotate.io/epoch":"4"}}}`, "", nil},
		{"a higher epoch", `{"metadata":{"annotations":{"pgrotate.io/epoch":"6"}}}`, "a run with epoch 6 owns it, this one has 5", nil},
		{"a mapped key", `{"data":{"password":"b3RoZXI="}}`, `somebody else changed its key "password"`, nil},
		{"the rotation id", `{"metadata":{"annotations":{"pgrotate.io/rotation-id":"x"}}}`, `somebody else changed its annotation "pgrotate.io/rotation-id"`, nil},
		{"our own value", `{"metadata":{"annotations":{"pgrotate.io/epoch":"5","pgrotate.io/rotation-id":"r1"}},"data":{` +
			`"password":"YnJhbmQtbmV3LXBhc3N3b3Jk"}}`, "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := lab(t)
			putSecret(t, c, servedSecret())
			s := c.Served(servedName, nil, Refuse)
			credential := rendered(t, s)
			mergePatch(t, c, servedName, test.patch)
			met := readSecret(t, c, servedName)

			err := s.Set(t.Context(), credential, secret.Stamp{RotationID: "r1", Epoch: 5})
			after := readSecret(t, c, servedName)
			if test.text != "" {
				wantFailure(t, err, conflict, test.text)
				if after.ResourceVersion != met.ResourceVersion {
					t.Error("a refused write changed the Secret")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(after.Data["password"]) != "brand-new-password" || after.Annotations[annotationEpoch] != "5" || test.keeps != nil && !test.keeps(after) {
				t.Errorf("after the write: %v %v %q", after.Annotations, after.Labels, after.Data)
			}
		})
	}
}

func TestServedWritesAgainWhatSomebodyChanged(t *testing.T) {
	c := lab(t)
	putSecret(t, c, servedSecret())
	s := c.Served(servedName, nil, Refuse)
	credential, stamp := rendered(t, s), secret.Stamp{RotationID: "r1", Epoch: 5}
	for range 2 {
		if err := s.Set(t.Context(), credential, stamp); err != nil {
			t.Fatal(err)
		}
		if o := readSecret(t, c, servedName); string(o.Data["password"]) != "brand-new-password" {
			t.Fatal("the Secret does not hold the new password")
		}
		mergePatch(t, c, servedName, `{"data":{"password":"b3RoZXI="}}`)
	}
}

// TestServedEndsLastApplied removes what `kubectl apply` remembers of the
// password, once that is not served any more.
func TestServedEndsLastApplied(t *testing.T) {
	for _, test := range []struct {
		applied string
		ends    bool
	}{
		{`{"data":{"password":"Zm9ybWVyLXBhc3N3b3Jk"}}`, true}, {`{"stringData":{"DATABASE_URL":"postgres://alfred_user:former-password@db"}}`, true},
		{`{"metadata":{"labels":{"team":"alfred"}}}`, false},
	} {
		c := lab(t)
		o := servedSecret()
		o.Annotations[lastApplied] = test.applied
		putSecret(t, c, o)
		s := c.Served(servedName, urlMapping, Refuse)
		credential := rendered(t, s)
		for _, stamp := range []struct {
			credential secret.Credential
			stays      bool
		}{{secret.Credential{}, true}, {credential, !test.ends}} {
			if err := s.Set(t.Context(), stamp.credential, secret.Stamp{RotationID: "r1", Epoch: 5}); err != nil {
				t.Fatal(err)
			}
			if after := readSecret(t, c, servedName); (after.Annotations[lastApplied] == test.applied) != stamp.stays || after.Annotations["note"] != "hands off" {
				t.Errorf("%s: annotations %v after a write", test.applied, after.Annotations)
			}
		}
	}
}

func TestContentPatch(t *testing.T) {
	credential := secret.Credential{Keys: map[string]secret.Value{"password": secret.New("new")}}
	body, err := contentOf(credential, secret.Stamp{RotationID: "r1", Epoch: 2}).patch("u-1", "77")
	want := `{"data":{"password":"bmV3"},"metadata":{"annotations":{"pgrotate.io/epoch":"2","pgrotate.io/rotated-at":null,` +
		`"pgrotate.io/rotation-id":"r1"},"resourceVersion":"77","uid":"u-1"}}`
	if err != nil || string(body) != want {
		t.Errorf("patch %s, %v; want %s", body, err, want)
	}
}

func TestServedMadeAnew(t *testing.T) {
	c := lab(t)
	putSecret(t, c, servedSecret())
	s := c.Served(servedName, nil, Refuse)
	credential := rendered(t, s)
	erase(t, c, "secrets", c.namespace, servedName)
	err := s.Set(t.Context(), credential, secret.Stamp{Epoch: 1})
	wantFailure(t, err, missing, "there is no such Secret")

	s = c.Served(servedName, nil, Refuse)
	putSecret(t, c, servedSecret())
	credential = rendered(t, s)
	erase(t, c, "secrets", c.namespace, servedName)
	anew := putSecret(t, c, servedSecret())
	err = s.Set(t.Context(), credential, secret.Stamp{Epoch: 1})
	wantFailure(t, err, conflict, "made it anew")
	if o := readSecret(t, c, servedName); o.ResourceVersion != anew.ResourceVersion {
		t.Error("the new Secret was written")
	}
}

func TestServedForbidden(t *testing.T) {
	admin := lab(t)
	putSecret(t, admin, servedSecret())
	s := as(t, admin, `{"apiGroups":[""],"resources":["secrets"],"resourceNames":["`+servedName+`"],"verbs":["get"]}`).Served(servedName, urlMapping, Refuse)
	credential := rendered(t, s)
	_, _, err := s.Plan(t.Context(), credential)
	for _, err := range []error{err, s.Set(t.Context(), credential, secret.Stamp{Epoch: 1})} {
		f := wantFailure(t, err, refused, "forbidden")
		if want := `resources: ["secrets"], resourceNames: ["postgres-credentials"], verbs: ["get", "patch"]`; !strings.Contains(f.Hint(), want) {
			t.Errorf("hint %q, want %q", f.Hint(), want)
		}
	}
}

func TestServedMissing(t *testing.T) {
	_, err := lab(t).Served("absent", nil, Refuse).Look(t.Context())
	f := wantFailure(t, err, missing, "there is no such Secret")
	if !strings.Contains(f.Hint(), "`resume` fills in the credential") {
		t.Errorf("hint %q", f.Hint())
	}
}

func TestServedRefusesForgedAnnotations(t *testing.T) {
	for name, text := range map[string]string{annotationEpoch: "-1", annotationAt: "yesterday"} {
		c := lab(t)
		o := servedSecret()
		o.Annotations[name] = text
		putSecret(t, c, o)
		_, err := c.Served(servedName, nil, Refuse).Look(t.Context())
		wantFailure(t, err, refused, text)
	}
}

func TestServedPlan(t *testing.T) {
	for _, test := range []struct {
		name          string
		mapping       Mapping
		change        func(*corev1.Secret)
		wantChange    string
		class, text   string
		hint, warning string
	}{
		{name: "mapped", mapping: urlMapping, wantChange: `writes "DATABASE_URL", "password"`},
		{name: "unmapped url", class: refused, text: `key "DATABASE_URL" holds the current password and is not mapped`,
			hint: "`password=password`, `username=username`, `DATABASE_URL=url`"},
		{name: "unmapped in base64", mapping: urlMapping, change: func(o *corev1.Secret) { o.Data["conf"] = []byte(`{"auth":"Zm9ybWVyLXBhc3N3b3Jk"}`) },
			class: refused, text: `key "conf" holds the current password`, hint: "keys of its own"},
		{name: "annotation", mapping: urlMapping, change: func(o *corev1.Secret) { o.Annotations["backup"] = "former-password" },
			class: refused, text: `annotation "backup" holds the current password`},
		{name: "kubectl apply", mapping: urlMapping, change: func(o *corev1.Secret) { o.Annotations[lastApplied] = `{"stringData":{"password":"former-password"}}` },
			wantChange: `writes "DATABASE_URL", "password"`, warning: "puts the password back"},
		{name: "guessable password", mapping: nil, change: func(o *corev1.Secret) {
			o.Data = bytesOf(map[string]string{"username": "app", "password": "alfred", "database": "alfred"})
		}, wantChange: `writes "password", "username"`, warning: `key "database" may hold the current password`},
		{name: "guessable password in a url", mapping: nil, change: func(o *corev1.Secret) {
			o.Data = bytesOf(map[string]string{"username": "app", "password": "alfred", "DATABASE_URL": "postgres://app:%61lfred@db/alfred", "database": "alfred"})
		}, class: refused, text: `key "DATABASE_URL" holds the current password and is not mapped`, hint: "`username=username`, `DATABASE_URL=url`",
			warning: `key "database" may hold the current password`},
		{name: "short password in a dsn", mapping: nil, change: func(o *corev1.Secret) {
			o.Data = bytesOf(map[string]string{"username": "app", "password": "b", "PGDSN": "host=db user=app password='b'", "host": "db"})
		}, class: refused, text: `key "PGDSN" holds the current password and is not mapped`, hint: "`PGDSN=dsn`", warning: `key "host" may hold`},
		{name: "password that is the user name, in an annotation", mapping: nil, change: func(o *corev1.Secret) {
			o.Data = bytesOf(map[string]string{"username": "alfred_user", "password": "alfred_user"})
			o.Annotations = map[string]string{"connection": "postgres://alfred_user:alfred_user@db/alfred"}
		}, class: refused, text: `annotation "connection" holds the current password and is not mapped`, hint: "remove it from there"},
		{name: "guessable password of another user", mapping: nil, change: func(o *corev1.Secret) {
			o.Data = bytesOf(map[string]string{"username": "app", "password": "alfred", "ADMIN_URL": "postgres://postgres:alfred@db/alfred"})
		}, wantChange: `writes "password", "username"`, warning: `key "ADMIN_URL" may hold the current password`},
		{name: "missing key", mapping: Mapping{"username": Username, "PW": Password}, class: refused, text: `key "PW", mapped to "password": the Secret has no such key`},
		{name: "unparsable", mapping: Mapping{"DATABASE_URL": DSN}, class: refused, text: `key "DATABASE_URL", mapped to "dsn"`},
		{name: "immutable", mapping: urlMapping, change: func(o *corev1.Secret) { yes := true; o.Immutable = &yes }, class: refused, text: "it is immutable", hint: "a new name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := lab(t)
			o := servedSecret()
			if test.change != nil {
				test.change(o)
			}
			before := putSecret(t, c, o)
			change, warnings, err := c.Served(servedName, test.mapping, Refuse).
				Plan(t.Context(), secret.Credential{User: "alfred_user", Password: secret.New("brand-new-password")})
			if test.class != "" {
				if f := wantFailure(t, err, test.class, test.text); !strings.Contains(f.Hint(), test.hint) {
					t.Errorf("hint %q, want %q", f.Hint(), test.hint)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if change != test.wantChange || !strings.Contains(strings.Join(warnings, "\n"), test.warning) || (test.warning == "") != (len(warnings) == 0) {
				t.Errorf("change %q, warnings %q; want %q, %q", change, warnings, test.wantChange, test.warning)
			}
			if after := readSecret(t, c, servedName); after.ResourceVersion != before.ResourceVersion {
				t.Error("the plan changed the Secret")
			}
			if err != nil && strings.Contains(err.Error(), "former-password") {
				t.Errorf("the error holds the password: %v", err)
			}
		})
	}
}
