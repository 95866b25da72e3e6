package kube

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"
)

func TestReadForms(t *testing.T) {
	for _, test := range []struct {
		name, text     string
		form           form
		user, password string
		err            error
	}{
		{"url", "postgres://app:s3cret@db:5432/app?sslmode=require", urlForm(), "app", "s3cret", nil},
		{"long scheme and white space", " postgresql://app:s3cret@db/app\n", urlForm(), "app", "s3cret", nil},
		{"url without a path, newline behind", "postgres://app:s3cret@db:5432\n", urlForm(), "app", "s3cret", nil},
		{"several hosts", "postgres://app:s3cret@a:5432,b:5433/app", urlForm(), "app", "s3cret", nil},
		{"escaped", "postgres://a%40b:p%3A%2F%3F%23@db/app", urlForm(), "a@b", "p:/?#", nil},
		{"plus is a plus", "postgres://app:a+b@db/app", urlForm(), "app", "a+b", nil},
		{"parameters", "postgres:///app?host=db&user=app&password=p%26q", urlForm(), "app", "p&q", nil},
		{"the parameter counts more", "postgres://u:one@db/app?password=two&user=app", urlForm(), "app", "two", nil},
		{"at sign in another parameter", "postgres://app:s3cret@db/app?application_name=me@home", urlForm(), "app", "s3cret", nil},
		{"no scheme", "app:s3cret@db/app", urlForm(), "", "", errNotURL},
		{"another scheme", "mysql://app:s3cret@db/app", urlForm(), "", "", errNotURL},
		{"jdbc", "jdbc:postgresql://db/app?user=app&password=p", urlForm(), "", "", errNotURL},
		{"no user", "postgres://db/app", urlForm(), "", "", errNoUser},
		{"no password", "postgres://app@db/app", urlForm(), "", "", errNoPassword},
		{"empty password", "postgres://app:@db/app", urlForm(), "", "", errNoPassword},
		{"raw at sign", "postgres://app:p@ss@db/app", urlForm(), "", "", errURLRaw},
		{"raw at sign and slash", "postgres://app:p@s/s@db/app", urlForm(), "", "", errURLRaw},
		{"raw slash", "postgres://app:pa/ss@db/app", urlForm(), "", "", errURLRaw},
		{"raw question mark", "postgres://app:pa?ss@db/app", urlForm(), "", "", errURLRaw},
		{"raw hash", "postgres://app:pa#ss@db/app", urlForm(), "", "", errURLRaw},
		{"broken escape", "postgres://app:p%zz@db/app", urlForm(), "", "", errURLBytes},

		{"dsn", "host=db user=app password=s3cret dbname=app", keyValueForm(), "app", "s3cret", nil},
		{"quoted", `host=db user='a b' password='it\'s \\ here' dbname=app`, keyValueForm(), "a b", `it's \ here`, nil},
		{"backslash outside quotes", `user=a\ b password=c\'d`, keyValueForm(), "a b", "c'd", nil},
		{"blanks around =", "user = app\tpassword\n=\n's3cret'", keyValueForm(), "app", "s3cret", nil},
		{"the last one counts", "user=x password=one user=app password=two", keyValueForm(), "app", "two", nil},
		{"keyword inside a value", "options='password=no' user=app password=yes", keyValueForm(), "app", "yes", nil},
		{"open quote", "user=app password='s3cret", keyValueForm(), "", "", errOpenQuote},
		{"no equals sign", "user app", keyValueForm(), "", "", errNotKeyValue},
		{"a url is none", "postgres://app:s3cret@db/app", keyValueForm(), "", "", errNotKeyValue},
		{"no password in dsn", "user=app host=db", keyValueForm(), "", "", errNoPassword},
		{"no user in dsn", "password=s3cret host=db", keyValueForm(), "", "", errNoUser},
		{"empty", "", keyValueForm(), "", "", errNoUser},
	} {
		t.Run(test.name, func(t *testing.T) {
			user, password, err := test.form.read(test.text)
			if user != test.user || password != test.password || !errors.Is(err, test.err) {
				t.Errorf("read = %q, %q, %v; want %q, %q, %v", user, password, err, test.user, test.password, test.err)
			}
		})
	}
}

func TestEditForms(t *testing.T) {
	for _, test := range []struct{ name, text, user, password, want string }{
		{"password only", "postgres://app:old@db:5432/app?sslmode=require&x=old\n", "app", "new",
			"postgres://app:new@db:5432/app?sslmode=require&x=old\n"},
		{"user and password", "postgresql://app:old@a,b/app", "app_alt", "n:/w", "postgresql://app_alt:n%3A%2Fw@a,b/app"},
		{"what is right stays as it is written", "postgres://%61pp:%6Fld@db", "app", "old", "postgres://%61pp:%6Fld@db"},
		{"parameters too", "postgres://app:old@db/?password=old&user=app", "app", "new", "postgres://app:new@db/?password=new&user=app"},
		{"dsn", "host=db user=app  password=old dbname=app", "app", "new", "host=db user=app  password=new dbname=app"},
		{"quotes stay", "password='old' user='app'", "app", "new", "password='new' user='app'"},
		{"quotes are added", "password=old user=app", "app", "it's", `password='it\'s' user=app`},
		{"every occurrence", "user=app password=a password=b", "app", "new", "user=app password=new password=new"},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := urlForm()
			if !strings.HasPrefix(test.want, "postgres") {
				f = keyValueForm()
			}
			if got, err := f.edit(test.text, test.user, test.password); err != nil || got != test.want {
				t.Errorf("edit = %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

// TestEditURLKeepsOtherBytes builds URLs from parts, so that what must stay is
// known, and has pgx, which follows libpq, read the edited ones.
func TestEditURLKeepsOtherBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		user, password := word(t, "user"), word(t, "password")
		head := rapid.SampledFrom([]string{"postgres://", "postgresql://"}).Draw(t, "scheme")
		tail := "@" + rapid.SampledFrom([]string{"db", "db:5432", "a:1,b:2", "[::1]:5432", "localhost"}).Draw(t, "hosts") +
			rapid.SampledFrom([]string{"", "/", "/app", "/app?sslmode=disable", "/a%20b?application_name=x@y"}).Draw(t, "path")
		text := head + url.UserPassword("former", word(t, "former")).String() + tail

		edited, err := urlForm().edit(text, user, password)
		if err != nil {
			t.Fatalf("edit: %v", err)
		}
		if want := head + escape(user) + ":" + escape(password) + tail; edited != want {
			t.Fatalf("edit(%q) = %q, want %q", text, edited, want)
		}
		parsed, err := pgx.ParseConfig(edited)
		if err != nil || parsed.User != user || parsed.Password != password {
			t.Fatalf("pgx reads %q as user %q, password %q, %v", edited, parsed.User, parsed.Password, err)
		}
	})
}

func TestEditKeyValueKeepsOtherBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gap := rapid.SampledFrom([]string{" ", "\t", "\n", "  "})
		open := "host=db" + gap.Draw(t, "gap") + "user" + rapid.SampledFrom([]string{"=", " = "}).Draw(t, "equals")
		middle := gap.Draw(t, "gap") + `options='a\'b password=c'` + gap.Draw(t, "gap") + "password="
		end := gap.Draw(t, "gap") + "application_name=x"
		user, password := word(t, "user"), word(t, "password")
		former := quote("", word(t, "former"))

		edited, err := keyValueForm().edit(open+"'former'"+middle+former+end, user, password)
		if err != nil {
			t.Fatalf("edit: %v", err)
		}
		if !strings.HasPrefix(edited, open) || !strings.HasSuffix(edited, end) || strings.Count(edited, middle) != 1 {
			t.Fatalf("other bytes changed: %q", edited)
		}
		parsed, err := pgx.ParseConfig(edited)
		if err != nil || parsed.User != user || parsed.Password != password {
			t.Fatalf("pgx reads %q as user %q, password %q, %v", edited, parsed.User, parsed.Password, err)
		}
	})
}

// word is text without NUL, which PostgreSQL cannot hold.
func word(t *rapid.T, label string) string {
	return rapid.StringMatching(`[ -~äß€]{1,20}`).Draw(t, label)
}

// FuzzForms holds for any text: what could be edited reads back as what was
// written, and editing it again changes nothing.
func FuzzForms(f *testing.F) {
	f.Add("postgres://u:p@h/d?password=x", "user", "pa ss'\\")
	f.Add(`host=h user='a\'b' password = c`, "user", "")
	f.Fuzz(func(t *testing.T, text, user, password string) {
		for _, form := range []form{urlForm(), keyValueForm()} {
			edited, err := form.edit(text, user, password)
			if err != nil {
				continue
			}
			if u, p, err := form.read(edited); u != user || p != password || err != nil {
				t.Fatalf("edit(%q) = %q, which reads as %q, %q, %v", text, edited, u, p, err)
			}
			if again, err := form.edit(edited, user, password); again != edited || err != nil {
				t.Fatalf("editing %q again gives %q, %v", edited, again, err)
			}
		}
	})
}
