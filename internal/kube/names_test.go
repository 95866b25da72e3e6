package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// unstored is a Secret that is nowhere.
func unstored(m Mapping, data map[string]string) (*holder, *corev1.Secret) {
	o := &corev1.Secret{Data: bytesOf(data)}
	return &(&Cluster{namespace: "shop"}).Served(servedName, m, Refuse).holder, o
}

// TestNamesRefusesTheFormerUser: whoever reads the whole Secret finds the user name
// in whichever key it looks at.
func TestNamesRefusesTheFormerUser(t *testing.T) {
	all := func(more ...string) map[string]string {
		data := map[string]string{"username": "app", "password": "former-password", "database": "app", "POSTGRES_DB": "app", "PGDATABASE": "app", "host": "db"}
		for _, pair := range more {
			key, value, _ := strings.Cut(pair, "=")
			data[key] = value
		}
		return data
	}
	const same, mapped = "holds the name of the served one and is not mapped", "map it: the whole mapping is then `password=password`, `username=username`, "
	for _, test := range []struct {
		name              string
		mapping           Mapping
		data              map[string]string
		next              string
		text, hint, warns string
	}{
		{"a database of that name", nil, all(), "app_alt", "", "", ""},
		{"a second key", nil, all("PGUSER=app"), "app_alt", `key "PGUSER" ` + same, mapped + "`PGUSER=username`", ""},
		{"two more keys", nil, all("DB_LOGIN=app", "database_user=app"), "app_alt", `key "DB_LOGIN", key "database_user" ` + same, mapped + "`DB_LOGIN=username`, `database_user=username`", ""},
		{"another user's", nil, all("MONITORING_USER=metrics"), "app_alt", "", "", ""},
		{"the same user is served", nil, all("PGUSER=app"), "app", "", "", ""},
		{"it is mapped", Mapping{"username": Username, "PGUSER": Username, "password": Password}, all("PGUSER=app"), "app_alt", "", "", ""},
		{"a key that says nothing", nil, all("id=app"), "app_alt", "", "", `key "id" is the name of the served user, or looks alike by chance`},
		{"the name goes with none", Mapping{"password": Password, "DATABASE_URL": URL}, all("PGUSER=app"), "app_alt", `key "PGUSER", key "username" ` + same, "`PGUSER=username`, `username=username`", ""},
		{"no name at all", Mapping{"password": Password, "DATABASE_URL": URL}, map[string]string{"password": "former-password"}, "app_alt", `key "password" takes the password without the user name`, "a key with the user name", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, o := unstored(test.mapping, test.data)
			warnings, err := h.names(o, "app", test.next)
			if test.text == "" && err != nil {
				t.Error(err)
			}
			if test.text != "" {
				if f := wantFailure(t, err, refused, `serve another user in Secret "shop/postgres-credentials": `+test.text); !strings.Contains(f.Hint(), test.hint) {
					t.Errorf("hint %q, want %q", f.Hint(), test.hint)
				}
			}
			if said := strings.Join(warnings, "\n"); !strings.Contains(said, test.warns) || (said == "") != (test.warns == "") {
				t.Errorf("warnings %q, want %q", warnings, test.warns)
			}
		})
	}
}
