package kube

import (
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestParseMapping(t *testing.T) {
	m, err := ParseMapping([]string{"DATABASE_URL = url", "PGUSER=username", "READ_URL=url"})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Keys(URL); !slices.Equal(got, []string{"DATABASE_URL", "READ_URL"}) {
		t.Errorf("keys mapped to url: %q", got)
	}
	if m, err := ParseMapping(nil); m != nil || err != nil {
		t.Errorf("no lines: %v, %v", m, err)
	}
}

func TestParseMappingRefuses(t *testing.T) {
	for _, test := range []struct {
		lines []string
		want  []string
	}{
		{[]string{"password", "X=uri", "a b=password", "P=password", "P=url", "U=username"}, []string{
			`line 1: want KEY=property`, `line 2: key "X" has an unknown property`, `line 3: what stands before the = cannot be a key`, `line 5: key "P" is mapped twice`}},
		{[]string{"Secret1Password", "password=Secret1Password", "Secret1Password =password"}, []string{`line 1: want`, `line 2: key "password"`}},
		{[]string{"USER=username"}, []string{`no key is mapped to "password"`}},
		{[]string{"V=verifier", "P=password"}, []string{`no key is mapped to "username"`}},
	} {
		m, err := ParseMapping(test.lines)
		if err == nil {
			t.Errorf("%q: no error, %v", test.lines, m)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: error lacks %q:\n%v", test.lines, want, err)
			}
		}
		if strings.Contains(err.Error(), "Secret1Password") {
			t.Errorf("%q: the error shows it: %v", test.lines, err)
		}
	}
}

func TestReadCredential(t *testing.T) {
	for _, test := range []struct {
		name           string
		mapping        Mapping
		data           map[string]string
		user, password string
		keys           []string
	}{
		{"default", nil, map[string]string{"username": "app", "password": "hunter2", "database": "d"}, "app", "hunter2", []string{"password", "username"}},
		{"default without a user", nil, map[string]string{"password": "hunter2"}, "", "hunter2", []string{"password"}},
		{"made anew", nil, map[string]string{"database": "d"}, "", "", nil},
		{"from a url", Mapping{"U": URL}, map[string]string{"U": "postgres://app:hunter2@h/d"}, "app", "hunter2", []string{"U"}},
		{"user from the dsn", Mapping{"D": DSN, "P": Password}, map[string]string{"D": "user=app password=other", "P": "hunter2"}, "app", "hunter2", []string{"D", "P"}},
		{"unreadable url", Mapping{"U": URL, "P": Password}, map[string]string{"U": "?", "P": "hunter2"}, "", "hunter2", []string{"P", "U"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			keeper := secret.NewKeeper(nil)
			c := test.mapping.read(bytesOf(test.data), keeper.Keep)
			if c.User != test.user || c.Password.Reveal() != test.password {
				t.Errorf("read user %q, password %q", c.User, c.Password.Reveal())
			}
			keys := slices.Sorted(maps.Keys(c.Keys))
			if !slices.Equal(keys, test.keys) {
				t.Errorf("keys %q, want %q", keys, test.keys)
			}
			for _, key := range keys {
				if got := c.Keys[key].Reveal(); got != test.data[key] {
					t.Errorf("key %q is %q", key, got)
				}
			}
			if got := keeper.Scrub("user app"); got != "user app" {
				t.Errorf("the user name is masked: %q", got)
			}
		})
	}
}

func TestRender(t *testing.T) {
	keys := map[string]secret.Value{
		"URL": secret.New("postgres://app:old@h/d?x=1"), "DSN": secret.New("user=app password=old"), "PW": secret.New("old"), "VER": secret.New("v"),
	}
	m := Mapping{"URL": URL, "DSN": DSN, "PW": Password, "VER": Verifier, "NAME": Username}
	c := secret.Credential{User: "app", Password: secret.New("new"), Verifier: secret.New("verifier")}
	got, errs := m.render(keys, c, secret.NewKeeper(nil).Keep)
	if errs != nil {
		t.Fatal(errs)
	}
	for key, want := range map[string]string{
		"URL": "postgres://app:new@h/d?x=1", "DSN": "user=app password=new", "PW": "new", "VER": "verifier", "NAME": "app",
	} {
		if got[key].Reveal() != want {
			t.Errorf("key %q is %q, want %q", key, got[key].Reveal(), want)
		}
	}
}

func TestRenderNamesKeysNotValues(t *testing.T) {
	m := Mapping{"A": URL, "B": DSN, "C": URL, "V": Verifier, "P": Password}
	keys := map[string]secret.Value{"A": secret.New("mysql://u:hunter2@h"), "B": secret.New("password='hunter2")}
	_, errs := m.render(keys, secret.Credential{User: "app", Password: secret.New("hunter3")}, secret.NewKeeper(nil).Keep)
	var text string
	for _, err := range errs {
		text += err.Error() + "\n"
	}
	want := `key "A", mapped to "url": it is no postgres:// or postgresql:// URL
key "B", mapped to "dsn": it has a quote that is not closed
key "C", mapped to "url": the Secret has no such key
key "V", mapped to "verifier": no verifier is known
`
	if text != want {
		t.Errorf("errors:\n%s\nwant:\n%s", text, want)
	}
}

func TestRenderSecretMadeAnew(t *testing.T) {
	got, errs := Mapping(nil).render(nil, secret.Credential{User: "app", Password: secret.New("new")}, secret.NewKeeper(nil).Keep)
	if len(errs) > 0 || got["username"].Reveal() != "app" || got["password"].Reveal() != "new" {
		t.Errorf("render: %v, %v", got, errs)
	}
}

func TestMappingCheck(t *testing.T) {
	for _, test := range []struct {
		name    string
		mapping Mapping
		data    map[string]string
		want    string
	}{
		{"agree", Mapping{"P": Password, "N": Username, "U": URL}, map[string]string{"P": "p", "N": "app", "U": "postgres://app:p@h"}, ""},
		{"missing", Mapping{"P": Password, "U": URL}, map[string]string{"P": "p"}, `key "U", mapped to "url": the Secret has no such key`},
		{"passwords differ", Mapping{"P": Password, "U": URL}, map[string]string{"P": "p", "U": "postgres://app:q@h"}, `keys "P" and "U" hold different passwords`},
		{"users differ", Mapping{"N": Username, "D": DSN}, map[string]string{"N": "bpp", "D": "user=app password=p"}, `keys "D" and "N" hold different user names`},
		{"empty", Mapping{"P": Password, "U": URL}, map[string]string{"P": "", "U": "postgres://app:q@h"}, `key "P" is empty`},
		{"default, no password", nil, map[string]string{"username": "app"}, `key "password", mapped to "password": the Secret has no such key`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, err := range test.mapping.check(bytesOf(test.data)) {
				got = append(got, err.Error())
			}
			if strings.Join(got, "\n") != test.want {
				t.Errorf("check: %q, want %q", got, test.want)
			}
		})
	}
}

func bytesOf(data map[string]string) map[string][]byte {
	raw := map[string][]byte{}
	for key, text := range data {
		raw[key] = []byte(text)
	}
	return raw
}

func TestNamelessTakesThePasswordWithoutTheUserName(t *testing.T) {
	both := map[string][]byte{"username": []byte("app"), "password": []byte("hunter2")}
	for _, test := range []struct {
		name         string
		mapping      Mapping
		data         map[string][]byte
		served, next string
		key          string // that is named; empty: nothing speaks against it
	}{
		{"both keys", nil, both, "app", "app_alt", ""},
		{"no user name", nil, map[string][]byte{"password": []byte("hunter2")}, "app", "app_alt", "password"},
		{"no user name, and the same user", nil, map[string][]byte{"password": []byte("hunter2")}, "app", "app", ""},
		{"a url alone", Mapping{"U": URL}, nil, "app", "app_alt", ""},
		{"a password beside a url", Mapping{"U": URL, "P": Password}, nil, "app", "app_alt", "P"},
		{"a verifier beside a dsn", Mapping{"D": DSN, "V": Verifier}, nil, "app", "app_alt", "V"},
		{"a served user that is not known", Mapping{"U": URL, "P": Password}, nil, "", "app_alt", ""},
	} {
		h := &holder{cluster: &Cluster{namespace: "prod"}, name: "credentials", mapping: test.mapping}
		_, err := h.names(&corev1.Secret{Data: test.data}, test.served, test.next)
		if (err != nil) != (test.key != "") || err != nil && (classOf(err) != refused || !strings.Contains(err.Error(), `"`+test.key+`"`)) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
