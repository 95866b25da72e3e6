package kube

import (
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// FuzzRender gives the keys of a Secret any bytes. Where they can be rendered,
// what is rendered reads back as the new credential, no other key appears, and
// rendering the former credential again gives the former meaning; of a url or
// dsn every byte outside of user and password stays.
func FuzzRender(f *testing.F) {
	f.Add("url", "postgres://app:old@db:5432/app?sslmode=require&x=old\n", "app", "new")
	f.Add("dsn", `host=db user='a\'b' password = c options='password=no'`, "app", "it's")
	f.Add("password", "old\n", "app", "new")
	f.Add("username", "", "", "")
	f.Add("verifier", "SCRAM-SHA-256$4096:c2FsdA==$a:b", "app", "\xff")
	f.Add("url", "postgres:///app?user=a&password=%70&user=b", "%", "@:/?#")
	f.Fuzz(func(t *testing.T, property, text, user, password string) {
		m, err := ParseMapping([]string{"username=username", "password=password", "KEY=" + property})
		if err != nil || user == "" || password == "" {
			return
		}
		keep := secret.New
		before := map[string]secret.Value{"username": keep("app"), "password": keep("old"), "KEY": keep(text)}
		c := secret.Credential{User: user, Password: keep(password), Verifier: keep("SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy")}
		after, errs := m.render(before, c, keep)
		if len(errs) > 0 {
			return
		}
		if len(after) != len(m) {
			t.Fatalf("%d keys for a mapping of %d", len(after), len(m))
		}
		data := map[string][]byte{}
		for key, value := range after {
			data[key] = []byte(value.Reveal())
		}
		if got := m.read(data, keep); got.User != user || !got.Password.Equal(c.Password) {
			t.Fatalf("%q became %q, which does not read as the credential", text, data["KEY"])
		}
		wantOtherBytes(t, Property(property), text, string(data["KEY"]))
	})
}

// wantOtherBytes compares what stands between the user names and passwords.
func wantOtherBytes(t *testing.T, p Property, before, after string) {
	t.Helper()
	form, ok := forms(p)
	if !ok {
		return
	}
	if a, b := form.others(t, before), form.others(t, after); a != b {
		t.Errorf("other bytes changed: %q became %q", a, b)
	}
}

// others is text with every user name and password taken out.
func (f form) others(t *testing.T, text string) string {
	t.Helper()
	at, err := f.find(text)
	if err != nil {
		t.Fatalf("find in %q: %v", text, err)
	}
	var b strings.Builder
	rest := 0
	for len(at.users)+len(at.passwords) > 0 {
		next := &at.users
		if len(at.users) == 0 || len(at.passwords) > 0 && at.passwords[0].start < at.users[0].start {
			next = &at.passwords
		}
		b.WriteString(text[rest:(*next)[0].start] + "\x00")
		rest = (*next)[0].end
		*next = (*next)[1:]
	}
	return b.String() + text[rest:]
}
