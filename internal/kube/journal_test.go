package kube

import (
	"io"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestJournal(t *testing.T) {
	c := lab(t)
	j := c.Journal(servedName)
	empty, err := j.Load(t.Context())
	if err != nil || empty.Version != "" || len(empty.Annotations)+len(empty.Data) > 0 {
		t.Fatalf("a journal that is not there: %+v, %v", empty, err)
	}
	first := save(t, j, document(empty.Version, "phase=forward", "epoch=1"), "pending=one", "previous=two")
	if o := readSecret(t, c, servedName+"-rotation"); o.Labels[managedBy] != "pgrotate" || string(o.Type) != "Opaque" {
		t.Errorf("labels %v, type %q", o.Labels, o.Type)
	}
	mergePatch(t, c, servedName+"-rotation", `{"metadata":{"labels":{"team":"dba"},"annotations":{"note":"theirs"}}}`)

	_, err = j.Save(t.Context(), first)
	wantFailure(t, err, conflict, "write Secret")

	loaded, err := c.Journal(servedName).Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Annotations["pgrotate.io/epoch"] != "1" || loaded.Data["pending"].Reveal() != "one" || len(loaded.Annotations) != 2 {
		t.Errorf("loaded %+v", loaded)
	}
	// Another process that knows the version from elsewhere may write too.
	second := save(t, c.Journal(servedName), document(loaded.Version, "phase=idle"), "previous=two")
	o := readSecret(t, c, servedName+"-rotation")
	if want := map[string]string{"note": "theirs", "pgrotate.io/phase": "idle"}; !reflect.DeepEqual(o.Annotations, want) {
		t.Errorf("annotations %v, want %v", o.Annotations, want)
	}
	if o.Labels["team"] != "dba" || len(o.Data) != 1 || string(o.Data["previous"]) != "two" {
		t.Errorf("labels %v, data %q", o.Labels, o.Data)
	}
	for _, stale := range []string{first.Version, loaded.Version} {
		for _, writer := range []*Journal{j, c.Journal(servedName)} {
			_, err := writer.Save(t.Context(), document(stale, "phase=forward"))
			wantFailure(t, err, conflict, "")
		}
	}
	save(t, j, document(second.Version, "phase=forward"))
}

func TestJournalCreatedTwice(t *testing.T) {
	c := lab(t)
	save(t, c.Journal(servedName), document("", "phase=idle"))
	_, err := c.Journal(servedName).Save(t.Context(), document("", "phase=idle"))
	wantFailure(t, err, conflict, "already exists")
}

func TestJournalDeletedOrMadeAnew(t *testing.T) {
	c := lab(t)
	j := c.Journal(servedName)
	d := save(t, j, document("", "phase=idle"))
	erase(t, c, "secrets", c.namespace, servedName+"-rotation")
	_, err := j.Save(t.Context(), d)
	wantFailure(t, err, conflict, "deleted")

	anew := save(t, c.Journal(servedName), document("", "phase=idle"))
	if o := readSecret(t, c, servedName+"-rotation"); !strings.HasPrefix(anew.Version, string(o.UID)) {
		t.Errorf("version %q does not tell which object it is of", anew.Version)
	}
	_, err = j.Save(t.Context(), d)
	wantFailure(t, err, conflict, "")
}

func TestJournalPlan(t *testing.T) {
	admin := lab(t)
	name := servedName + "-rotation"
	get := `{"apiGroups":[""],"resources":["secrets"],"resourceNames":["` + name + `"],"verbs":["get"]}`
	update := strings.Replace(get, "get", "update", 1)
	create := `{"apiGroups":[""],"resources":["secrets"],"verbs":["create"]}`

	if err := admin.Journal(servedName).Plan(t.Context()); err != nil {
		t.Errorf("as administrator: %v", err)
	}
	f := wantFailure(t, as(t, lab(t)).Journal(servedName).Plan(t.Context()), refused, "forbidden")
	if !strings.Contains(f.Hint(), `resourceNames: ["postgres-credentials-rotation"], verbs: ["get", "update"]`) {
		t.Errorf("hint %q", f.Hint())
	}
	wantFailure(t, as(t, lab(t), get).Journal(servedName).Plan(t.Context()), refused, "may not update it")
	f = wantFailure(t, as(t, lab(t), get, update).Journal(servedName).Plan(t.Context()), refused, "may not create it")
	if !strings.Contains(f.Hint(), "name: "+name+"\n") {
		t.Errorf("the hint has no manifest: %q", f.Hint())
	}
	if err := as(t, lab(t), get, update, create).Journal(servedName).Plan(t.Context()); err != nil {
		t.Errorf("with all rights: %v", err)
	}

	c := lab(t)
	save(t, c.Journal(servedName), document("", "phase=idle"))
	if err := as(t, c, get, update).Journal(servedName).Plan(t.Context()); err != nil {
		t.Errorf("a journal that is there needs no right to create: %v", err)
	}
}

// TestJournalPlanTriesWhatSaveWrites: what admission does to a Secret that is not
// changed says nothing.
func TestJournalPlanTriesWhatSaveWrites(t *testing.T) {
	for _, test := range []struct {
		name       string
		stored     *corev1.Secret       // nil: there is none
		changes    func(*corev1.Secret) // on its way
		status     int                  // of the write; 0: it goes well
		text, hint string               // of the refusal; empty: there is none
	}{
		{name: "as it was sent", stored: storedJournal()},
		{name: "a new one as it was sent"},
		{name: "immutable", stored: func() *corev1.Secret { o := storedJournal(); o.Immutable = new(true); return o }(), text: "it is immutable", hint: "without `immutable: true`"},
		{name: "without annotations", stored: storedJournal(), changes: func(o *corev1.Secret) { o.Annotations = nil },
			text: `the API server would store something else in annotation "pgrotate.io/epoch", annotation "pgrotate.io/phase"`, hint: "to leave this Secret alone"},
		{name: "without the new key", stored: storedJournal(), changes: func(o *corev1.Secret) { delete(o.Data, "pending") }, text: `would store something else in key "pending"`},
		{name: "with another previous", stored: storedJournal(), changes: func(o *corev1.Secret) { o.Data["previous"] = []byte("sealed") }, text: `would store something else in key "previous"`},
		{name: "a new one without the key", changes: func(o *corev1.Secret) { o.Data = nil }, text: `would store something else in key "pending"`},
		{name: "somebody else writes it", stored: storedJournal(), status: http.StatusConflict},
		{name: "somebody else makes it", status: http.StatusConflict},
		{name: "no longer there", stored: storedJournal(), status: http.StatusNotFound, text: "not found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			api := &journalAPI{stored: test.stored, changes: test.changes, status: test.status}
			j := answering(t, api.serve).Journal(servedName)
			err := j.Plan(t.Context())
			if test.text == "" && err != nil {
				t.Error(err)
			}
			if test.text != "" {
				class := refused
				if test.status == http.StatusNotFound {
					class = missing
				}
				if f := wantFailure(t, err, class, test.text); !strings.Contains(f.Hint(), test.hint) {
					t.Errorf("hint %q, want %q", f.Hint(), test.hint)
				}
			}
			if api.wet > 0 {
				t.Error("the plan wrote")
			}
			seen, stored := j.last(), test.stored
			if (seen == nil) != (stored == nil) || seen != nil && (!reflect.DeepEqual(seen.Annotations, stored.Annotations) || !reflect.DeepEqual(seen.Data, stored.Data)) {
				t.Errorf("the plan is remembered as the journal: %+v", seen)
			}
		})
	}
}

func storedJournal() *corev1.Secret {
	return &corev1.Secret{TypeMeta: metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: servedName + journalSuffix, Namespace: "alfred", UID: "1", ResourceVersion: "7",
		Annotations: map[string]string{"note": "theirs", annotationPrefix + "phase": "idle", annotationPrefix + "epoch": "3"}},
		Data: map[string][]byte{"previous": []byte("two")}}
}

// journalAPI answers to the plan of a journal.
type journalAPI struct {
	stored  *corev1.Secret
	changes func(*corev1.Secret)
	status  int
	wet     int // writes that were no dry run
}

func (a *journalAPI) serve(w http.ResponseWriter, r *http.Request) {
	failed := func(code int) {
		reason := map[int]metav1.StatusReason{http.StatusNotFound: metav1.StatusReasonNotFound, http.StatusConflict: metav1.StatusReasonConflict}[code]
		reply(w, code, metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(code), Reason: reason, Message: strings.ToLower(http.StatusText(code))})
	}
	switch {
	case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
		reply(w, http.StatusCreated, authorizationv1.SelfSubjectAccessReview{TypeMeta: metav1.TypeMeta{Kind: "SelfSubjectAccessReview", APIVersion: "authorization.k8s.io/v1"},
			Status: authorizationv1.SubjectAccessReviewStatus{Allowed: true}})
	case r.Method == http.MethodGet && a.stored == nil:
		failed(http.StatusNotFound)
	case r.Method == http.MethodGet:
		reply(w, http.StatusOK, a.stored)
	case a.status != 0:
		failed(a.status)
	default:
		a.write(w, r)
	}
}

func (a *journalAPI) write(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("dryRun") != metav1.DryRunAll {
		a.wet++
	}
	o, err := sent(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if a.changes != nil {
		a.changes(o)
	}
	reply(w, http.StatusOK, o)
}

// sent is the Secret in a request.
func sent(r *http.Request) (*corev1.Secret, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	o := &corev1.Secret{}
	_, _, err = serializer.NewCodecFactory(scheme).UniversalDeserializer().Decode(body, nil, o)
	o.TypeMeta = metav1.TypeMeta{Kind: "Secret", APIVersion: "v1"}
	return o, err
}

func document(version string, annotations ...string) secret.Document {
	d := secret.Document{Version: version, Annotations: map[string]string{}, Data: map[string]secret.Value{}}
	for _, pair := range annotations {
		name, text, _ := strings.Cut(pair, "=")
		d.Annotations[annotationPrefix+name] = text
	}
	return d
}

func save(t *testing.T, j *Journal, d secret.Document, data ...string) secret.Document {
	t.Helper()
	for _, pair := range data {
		key, text, _ := strings.Cut(pair, "=")
		d.Data[key] = secret.New(text)
	}
	stored, err := j.Save(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if stored.Version == d.Version || !maps.Equal(stored.Annotations, d.Annotations) {
		t.Fatalf("stored %+v, want %+v with a new version", stored, d)
	}
	return stored
}
