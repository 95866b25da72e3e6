package postgres

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// leaksNothing looks for text in the error, and in everything that a dump of
// the errors inside it would show.
func leaksNothing(t *testing.T, err error, text string) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		shown := fmt.Sprintf("%v %+v %#v", e, e, reflect.Indirect(reflect.ValueOf(e)))
		if strings.Contains(shown, text) {
			t.Errorf("the error shows %q: %s", text, shown)
		}
		var connect *pgconn.ConnectError
		if errors.As(e, &connect) {
			t.Errorf("the error holds the connection settings: %v", e)
		}
	}
}

func refusal(code string) error { return &pgconn.PgError{Code: code, Message: "said no"} }

func TestErrorText(t *testing.T) {
	for want, err := range map[string]error{
		"do it":                                     no("do it", ""),
		"do it: said no (SQLSTATE 42501)":           unknown("do it", refusal(codeNoPrivilege)),
		"do it: context canceled":                   unknown("do it", context.Canceled),
		"do it: said no (SQLSTATE 28P01), and more": fmt.Errorf("%w, and more", unknown("do it", refusal(codeWrongPassword))),
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
	if !errors.Is(unknown("do it", context.Canceled), context.Canceled) {
		t.Error("the cause is gone")
	}
}

func TestConnectingClassifies(t *testing.T) {
	for _, c := range []struct {
		err   error
		class string
		hint  string
	}{
		{refusal(codeWrongPassword), "refused", "check the user and the password of `postgres-url`, or `postgres-password`"},
		{refusal(codeNotPermitted), "refused", `let the administrator in: a line for it in pg_hba.conf, or, as a superuser: ALTER ROLE "rotator" LOGIN;`},
		{refusal(codeNoPrivilege), "refused", `as a superuser: GRANT CONNECT ON DATABASE "shop" TO "rotator";`},
		{refusal(codeNoDatabase), "refused", "name an existing database in `postgres-url`"},
		{refusal("57P03"), "", ""},
		{errors.New("connection refused"), "", ""},
		{context.DeadlineExceeded, "", "PostgreSQL cannot be reached from here: check `postgres-url` and the firewall, or use `postgres-pod`"},
	} {
		var e *Error
		if !errors.As(connecting(c.err, "rotator", "shop"), &e) || e.Class() != c.class || e.Hint() != c.hint {
			t.Errorf("%v: class %q, hint %q", c.err, e.Class(), e.Hint())
		}
	}
}

func TestWithout(t *testing.T) {
	p := &pgconn.PgError{Code: "22023", Message: "bad SCRAM-X given", Detail: "SCRAM-X", Hint: "SCRAM-X", InternalQuery: "SCRAM-X"}
	err := without(p, "SCRAM-X")
	if got := unknown("do it", err).Error(); got != "do it: bad [verifier] given (SQLSTATE 22023)" {
		t.Errorf("%q", got)
	}
	leaksNothing(t, err, "SCRAM-X")
	if without(p, "") != error(p) || without(context.Canceled, "x") != context.Canceled {
		t.Error("an error that has nothing to hide is changed")
	}
}
