package kube

import (
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// TestDeviates tells what one key holds of another credential, in any spelling.
func TestDeviates(t *testing.T) {
	served := secret.Credential{User: "alfred_user", Password: secret.New("for-mer"), Verifier: secret.New("SCRAM-SHA-256$1")}
	h := &holder{cluster: &Cluster{keeper: secret.NewKeeper(nil)}}
	for _, test := range []struct {
		property Property
		held     string
		want     string
	}{
		{Username, "alfred_user", ""},
		{Username, "other", "another user name"},
		{Password, "for-mer", ""},
		{Password, "", "another password"},
		{Password, "stale", "another password"},
		{Verifier, "SCRAM-SHA-256$1", ""},
		{Verifier, "SCRAM-SHA-256$2", "another verifier"},
		{URL, "postgres://alfred_user:for-mer@db/alfred", ""},
		{URL, "postgres://alfred_user:for%2Dmer@db/alfred", ""},
		{URL, "postgres://alfred_user:stale@db/alfred", "another password"},
		{URL, "postgres://other:for-mer@db/alfred", "another user name"},
		{URL, "no URL at all", "another user name, or none"},
		{DSN, "host=db user='alfred_user' password='for-mer'", ""},
		{DSN, "host=db user=alfred_user", "another user name, or none"},
	} {
		got := h.deviates(test.property, map[string][]byte{"KEY": []byte(test.held)}, "KEY", served)
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s %q: %q, want %q", test.property, test.held, got, test.want)
		}
	}
	if got := h.deviates(Password, nil, "KEY", served); got != "is missing" {
		t.Errorf("a key that is not there: %q", got)
	}
}

// TestDiffersAndMarksForbidden names the rule for each.
func TestDiffersAndMarksForbidden(t *testing.T) {
	c := lab(t)
	putSecret(t, c, servedSecret())
	putDeployment(t, c, "shop", 0, nil)
	all := settledWorkloads(t, c, Discovery{}, options(nil))
	nobody := as(t, c)
	_, err := nobody.Served(servedName, nil, Refuse).Differs(t.Context(), secret.Credential{})
	wantFailure(t, err, refused, "forbidden")
	all[0].cluster = nobody
	_, err = all[0].Marks(t.Context())
	if f := wantFailure(t, err, refused, "list the pods of deployment/shop"); !strings.Contains(f.Hint(), `resources: ["pods"], verbs: ["list"]`) {
		t.Errorf("hint %q", f.Hint())
	}
}
