package postgres

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestRefusedIn(t *testing.T) {
	const wrong = `FATAL:  password authentication failed for user "app"`
	one := func(address string, logins int) []secret.Refused {
		return []secret.Refused{{Role: "app", Address: address, Logins: logins}}
	}
	for _, test := range []struct {
		name, prefix, log string
		want              []secret.Refused
	}{
		{"nothing", `%m [%p] `, "", nil},
		{"the default", `%m [%p] `, `2026-11-28 21:10:30.123 UTC [42] ` + wrong + "\n" +
			`2026-11-28 21:10:30.123 UTC [42] DETAIL:  Connection matched pg_hba.conf line 4: "host all all all scram-sha-256"`, one("", 1)},
		{"with log_connections", `%m [%p] `, "2026-11-28 21:10:30.1 UTC [42] LOG:  connection received: host=10.1.0.7 port=41234\n" +
			"2026-11-28 21:10:30.1 UTC [43] LOG:  connection received: host=10.1.0.8 port=41235\n" +
			"2026-11-28 21:10:30.2 UTC [42] " + wrong + "\n", one("10.1.0.7", 1)},
		{"a process number that comes again", `[%p] `, "[42] LOG:  connection received: host=10.1.0.7 port=1\n[42] LOG:  connection received: host=10.1.0.8 port=1\n[42] " + wrong, one("10.1.0.8", 1)},
		{"a name in place of an address", `%p `, "42 LOG:  connection received: host=client.example port=1\n42 " + wrong, one("", 1)},
		{"Debian's", `%m [%p] %q%u@%d `, `2026-11-28 21:10:30.123 UTC [42] app@shop ` + wrong, one("", 1)},
		{"host and port", `%t %r %u `, `2026-11-28 21:10:30 UTC 10.1.0.7(5000) app ` + wrong + "\n" + `2026-11-28 21:10:31 UTC 10.1.0.7(5001) app ` + wrong, one("10.1.0.7", 2)},
		{"host, padded", `%-20h|%6p|`, `fd00::7             |    42|` + wrong, one("fd00::7", 1)},
		{"session id", `%c `, "6748a1.2a LOG:  connection received: host=::ffff:10.1.0.7 port=1\n6748a1.2a " + wrong, one("10.1.0.7", 1)},
		{"host twice", `%h %r %h `, `10.1.0.7 10.1.0.7(1) 10.1.0.7 ` + wrong, one("10.1.0.7", 1)},
		{"a percent sign", `100%% [%p] `, `100% [1] ` + wrong, one("", 1)},
		{"none", ``, wrong, one("", 1)},
		{"a Unix socket", `%h `, `[local] ` + wrong, one(secret.Socket, 1)},
		{"closed", `%h `, `10.1.0.7 FATAL:  role "app" is not permitted to log in`, one("10.1.0.7", 1)},
		{"no line for it", `%p `, `1 FATAL:  no pg_hba.conf entry for host "10.1.0.7", user "app", database "shop", no encryption` + "\n" +
			`1 FATAL:  pg_hba.conf rejects connection for host "10.1.0.7", user "app", database "shop", SSL encryption` + "\n" +
			`1 FATAL:  no pg_hba.conf entry for replication connection from host "10.1.0.7", user "app", no encryption`, one("10.1.0.7", 3)},
		{"others", `%p `, `1 FATAL:  password authentication failed for user "application"` + "\n" + `1 FATAL:  database "shop" does not exist` + "\n" + `1 ERROR:  password authentication failed for user "app"`, nil},
		{"two clients, two roles", `%h `, "10.1.0.9 " + wrong + "\n10.1.0.8 " + wrong + "\n10.1.0.9 " + wrong + "\n" + `10.1.0.8 FATAL:  password authentication failed for user "app_alt"`,
			[]secret.Refused{{Role: "app", Address: "10.1.0.9", Logins: 2}, {Role: "app", Address: "10.1.0.8", Logins: 1}, {Role: "app_alt", Address: "10.1.0.8", Logins: 1}}},
		{"a name that looks like a line", `%q%u@%d %h `, `x@y 10.1.0.7 ` + wrong + ` 192.0.2.1 FATAL:  password authentication failed for user "x@y"`, nil},
		{"a name with a line in it", `%q%u `, "x FATAL:  password authentication failed for user \"x\n\tapp " + wrong + `"`, nil},
	} {
		line, err := lineOf(test.prefix)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := refusedIn(line, test.log, []string{"app", "app_alt"}); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

// FuzzRefusedIn has any log and any prefix: what comes of them is a role that was
// asked for, an address and a number, and never a part of a line.
func FuzzRefusedIn(f *testing.F) {
	f.Add(`%m [%p] %q%u@%d `, "2026-11-28 21:10:30.1 UTC [42] app@shop FATAL:  password authentication failed for user \"app\"\n")
	f.Add(`%h %r %c %-5p%%`, `10.1.0.7 10.1.0.7(1) 6748a1.2a 42   %FATAL:  role "app" is not permitted to log in`)
	f.Add(`%u`, `p4ssw0rdFATAL:  no pg_hba.conf entry for host "p4ssw0rd", user "app", database "p4ssw0rd"`)
	f.Add("%", "LOG:  connection received: host=fe80::1%p4ssw0rd port=1")
	f.Add("\xff%p", "\x00")
	f.Fuzz(func(t *testing.T, prefix, log string) {
		line, err := lineOf(prefix)
		if err != nil {
			return
		}
		found := refusedIn(line, log, []string{"app"})
		logins := 0
		for _, r := range found {
			ip, err := netip.ParseAddr(r.Address)
			if r.Role != "app" || r.Logins < 1 || r.Address != "" && r.Address != secret.Socket && (err != nil || ip.Zone() != "") {
				t.Errorf("%+v", r)
			}
			logins += r.Logins
		}
		if logins > strings.Count(log, "FATAL:  ") {
			t.Errorf("%d logins", logins)
		}
	})
}

func TestLessOwn(t *testing.T) {
	found := []secret.Refused{{Role: "app", Address: "10.1.0.7", Logins: 3}, {Role: "app", Address: "127.0.0.1", Logins: 2}, {Role: "app", Logins: 1}, {Role: "app_alt", Address: "::1", Logins: 2}}
	want := []secret.Refused{found[0], {Role: "app_alt", Address: "::1", Logins: 1}}
	if got := lessOwn(map[string]int{"app": 3, "app_alt": 1}, found); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// TestRefused reads what a real server writes, in one form after the other.
func TestRefused(t *testing.T) {
	t.Parallel()
	s := labtest.NewServer(t)
	for _, test := range []struct{ name, setting, value, address string }{
		{"TheDefault", "log_line_prefix", "%m [%p] ", ""},
		{"Connections", "log_connections", "on", "127.0.0.1"},
		{"Everything", "log_line_prefix", "%a|%u|%d|%r|%h|%b|%p|%P|%t|%m|%n|%i|%e|%c|%l|%s|%v|%x|%q|%Q|%%|%-12u|%8p ", "127.0.0.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.Configure(test.setting, test.value)
			f := fixtureAt(t, s.URL(), "")
			began, closed := s.Logged(), f.newRole("closed", "NOLOGIN")
			d, former := f.locked(f.admin), f.app
			if _, err := d.Set(t.Context(), f.fresh()); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				f.opensDoor(former)
			}
			f.opensDoor(closed)
			if verdict, err := d.Holds(t.Context(), former); verdict != secret.No || err != nil {
				t.Fatal(verdict, err)
			}
			got, err := d.Refused(t.Context(), strings.TrimPrefix(s.Logged(), began), true, []string{former.User, closed.User})
			want := []secret.Refused{{Role: former.User, Address: test.address, Logins: 3}, {Role: closed.User, Address: test.address, Logins: 1}}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, %v; want %+v", got, err, want)
			}
		})
	}
	t.Run("OfAnother", func(t *testing.T) {
		f := fixtureAt(t, s.URL(), "")
		d, former := f.locked(f.admin), f.app
		if _, err := d.Set(t.Context(), f.fresh()); err != nil {
			t.Fatal(err)
		}
		if found, err := d.Refused(t.Context(), "", true, []string{former.User}); err != nil || len(found) > 0 {
			t.Errorf("before a login was refused: %v, %v", found, err)
		}
		if verdict, err := d.Holds(t.Context(), former); verdict != secret.No || err != nil {
			t.Fatal(verdict, err)
		}
		if _, err := d.Refused(t.Context(), "", true, []string{former.User}); classOf(err) != refused || !strings.Contains(err.Error(), "it lacks a login") {
			t.Errorf("a log without what this program was refused: %v", err)
		}
		if _, err := d.Refused(t.Context(), "", false, []string{former.User}); err != nil {
			t.Errorf("the first part of one: %v", err)
		}
		resumes := f.open(f.admin) // what it was refused may have been before the change that another run has made
		if verdict, err := resumes.Holds(t.Context(), former); verdict != secret.No || err != nil {
			t.Fatal(verdict, err)
		}
		if _, err := resumes.Refused(t.Context(), "", true, []string{former.User}); err != nil {
			t.Errorf("of a run that has changed nothing: %v", err)
		}
	})
	t.Run("Elsewhere", func(t *testing.T) {
		s.Configure("log_destination", "syslog")
		f := fixtureAt(t, s.URL(), "")
		found, err := f.open(f.admin).Refused(t.Context(), "", true, []string{f.app.User})
		if classOf(err) != refused || hintOf(err) == "" || !strings.Contains(err.Error(), "a place of its own") {
			t.Errorf("%v, %v", found, err)
		}
	})
}

func TestEnglish(t *testing.T) {
	for locale, want := range map[string]bool{"": true, "C": true, "C.UTF-8": true, "POSIX": true, "en_US.utf8": true, "de_DE.UTF-8": false, "Czech": false} {
		if got := english(locale); got != want {
			t.Errorf("%q: %v", locale, got)
		}
	}
}
