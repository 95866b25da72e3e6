package action_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	corev1 "k8s.io/api/core/v1"

	"github.com/pgrotate/pgrotate/internal/github/githubtest"
	"github.com/pgrotate/pgrotate/internal/labtest"
)

// wrongDatabase are roles and servers on which the password cannot be changed or
// judged.
func wrongDatabase() []situation {
	return []situation{
		{name: "role that may not log in", set: sql(`ALTER ROLE "$ROLE" NOLOGIN`, `ALTER ROLE "$ROLE" LOGIN`), want: "judge role \"$ROLE\": it is NOLOGIN", remedy: `ALTER ROLE "$ROLE" LOGIN`},
		{name: "role whose time is over", set: sql(`ALTER ROLE "$ROLE" VALID UNTIL '2020-01-01'`, endless), want: "its VALID UNTIL ended at 2020-01-01", remedy: `ALTER ROLE "$ROLE" VALID UNTIL 'infinity'`},
		{name: "role whose time ends today", set: sql(`ALTER ROLE "$ROLE" VALID UNTIL '`+time.Now().Add(time.Hour).Format(time.RFC3339)+`'`, endless), want: "its VALID UNTIL ends at", remedy: `ALTER ROLE "$ROLE" VALID UNTIL 'infinity'`},
		{name: "role that is a superuser", set: sql(`ALTER ROLE "$ROLE" SUPERUSER`, `ALTER ROLE "$ROLE" NOSUPERUSER`), want: "try to change the password of role \"$ROLE\": .*42501", remedy: "`postgres-url` log in as a superuser.*ALTER ROLE \"$ROLE\" NOSUPERUSER;", never: "CREATEROLE|GRANT"},
		{name: "role that standbys log in as", set: sql(`ALTER ROLE "$ROLE" REPLICATION`, `ALTER ROLE "$ROLE" NOREPLICATION`), want: "try to change the password of role \"$ROLE\": .*42501", remedy: "`postgres-url` log in as a superuser.*ALTER ROLE \"$ROLE\" NOREPLICATION;", never: "CREATEROLE|GRANT"},
		{name: "role that does not exist", set: served("username", "nobody-at-all"), want: "look up role \"nobody-at-all\": it does not exist", remedy: "check the user name in the served Secret"},
		{name: "role with a name that is too long", set: served("username", "a123456789012345678901234567890123456789012345678901234567890123"), want: "it has 64 bytes, PostgreSQL knows 63", remedy: "the user name in the served Secret, or give the role a shorter name"},
		{name: "another role than the served one", inputs: []string{"postgres-role=somebody"}, want: "serves role \"$ROLE\"", remedy: "`postgres-role` must name"},
		{name: "bootstrap superuser", set: bootstrap, want: "it is the bootstrap superuser", remedy: "a role of their own"},
		{name: "password of somebody else", set: drifted, want: "the database refuses the password", remedy: "put the right password into the Secret.*`on-drift: repair`"},
		{name: "role without a password", set: then(drifted, sql(`ALTER ROLE "$ROLE" PASSWORD NULL`)), want: "the database refuses the password", remedy: "put the right password into the Secret.*`on-drift: repair`"},
		{name: "role that another rotation has closed", inputs: []string{"on-drift=repair"}, set: sql(`ALTER ROLE "$ROLE" NOLOGIN`, `ALTER ROLE "$ROLE" LOGIN`), want: "judge role \"$ROLE\": it is NOLOGIN", remedy: `ALTER ROLE "$ROLE" LOGIN`},
		{name: "connection limit too low for two revisions", set: sql(`ALTER ROLE "$ROLE" CONNECTION LIMIT 1`, `ALTER ROLE "$ROLE" CONNECTION LIMIT -1`), want: "role \"$ROLE\" has CONNECTION LIMIT 1", warned: true},
		{name: "connection limit of a role that new pods do not use", set: sql(`ALTER ROLE "$ROLE" CONNECTION LIMIT 1`, `ALTER ROLE "$ROLE" CONNECTION LIMIT -1`), inputs: alternating, never: "CONNECTION LIMIT", warned: true},

		{name: "administrator who is the role", set: admin(func(st *stage, u *url.URL) { u.User = url.UserPassword(st.Name, st.Password) }), want: "it is the role of `postgres-url` itself", remedy: "let another role change it"},
		{name: "administrator with a wrong password", set: admin(func(st *stage, u *url.URL) { u.User = url.UserPassword(st.Rotator, "wrong") }), want: "connect to PostgreSQL as the administrator: .*28P01", remedy: "check the user and the password of `postgres-url`, or `postgres-password`"},
		{name: "administrator without CREATEROLE", set: sql(`ALTER ROLE "$ROTATOR" NOCREATEROLE`, `ALTER ROLE "$ROTATOR" CREATEROLE`), want: "try to change the password of role \"$ROLE\": .*42501", remedy: `ALTER ROLE "$ROTATOR" CREATEROLE`},
		{name: "administrator who may not log in", set: sql(`ALTER ROLE "$ROTATOR" NOLOGIN`, `ALTER ROLE "$ROTATOR" LOGIN`), want: "connect to PostgreSQL as the administrator: .*28000", remedy: `ALTER ROLE "$ROTATOR" LOGIN`},
		{name: "administrator without a free connection", set: sql(`ALTER ROLE "$ROTATOR" CONNECTION LIMIT 0`, `ALTER ROLE "$ROTATOR" CONNECTION LIMIT -1`), want: "connect to PostgreSQL as the administrator: .*53300", remedy: "raise max_connections and the administrator's CONNECTION LIMIT"},
		{name: "administrator whose transactions are read-only", set: sql(`ALTER ROLE "$ROTATOR" SET default_transaction_read_only = on`, `ALTER ROLE "$ROTATOR" RESET ALL`), want: "read-only transaction", remedy: "default_transaction_read_only = off"},
		{name: "administrator who may not connect to the database", set: sql(`REVOKE CONNECT ON DATABASE "$ROLE" FROM PUBLIC`, `GRANT CONNECT ON DATABASE "$ROLE" TO PUBLIC`), want: "connect to PostgreSQL as the administrator: .*42501", remedy: `GRANT CONNECT ON DATABASE "$ROLE" TO "$ROTATOR";`},
		{name: "database that does not exist", set: admin(func(_ *stage, u *url.URL) { u.Path = "/absent" }), want: "connect to PostgreSQL as the administrator: .*3D000", remedy: "name an existing database"},
		{name: "server that is not there", set: admin(func(_ *stage, u *url.URL) { u.Host = "127.0.0.1:1" }), want: "connect to PostgreSQL as the administrator: .*refused", remedy: "cannot be reached from here: check `postgres-url` and the firewall"},
		{name: "certificate of another authority", inputs: []string{"postgres-ca="}, want: "connect to PostgreSQL as the administrator: .*certificate", remedy: "the authority that signed the server's certificate as `postgres-ca`"},
		{name: "checker that refuses a former password", set: setting("credcheck.password_reuse_history", "5"), want: "set a password of role \"$ROLE\" for the second time: credcheck refuses", remedy: `ALTER ROLE "$ROTATOR" SET credcheck.password_reuse_history = 0;.*add "$ROLE" to credcheck.whitelist`},
		{name: "checker that refuses a password for a year", set: setting("credcheck.password_reuse_interval", "365"), want: "credcheck.password_reuse_interval = 365", remedy: `credcheck.password_reuse_interval = 0;`},
		{name: "emergency with a checker that refuses a former password", set: setting("credcheck.password_reuse_history", "5"), inputs: []string{"mode=emergency", "reason=leaked"},
			want: "for the second time: credcheck refuses", remedy: `credcheck.password_reuse_history = 0`},
		{name: "checker that lets two login roles take turns", set: setting("credcheck.password_reuse_history", "5"), inputs: alternating, want: "credcheck remembers the passwords of role \"$TWIN\"", warned: true},
		{name: "checker that exempts the role", set: sql(`ALTER ROLE "$ROTATOR" SET credcheck.password_reuse_history = 5; ALTER ROLE "$ROTATOR" SET credcheck.whitelist = '$ROLE'`, `ALTER ROLE "$ROTATOR" RESET ALL`), never: "credcheck", warned: true},
		{name: "checker that bans after one refused login", set: setting("credcheck.max_auth_failure", "1"), want: "try a wrong password of role \"$ROLE\": credcheck bans it after one", remedy: `add "$ROLE" to credcheck.whitelist_auth_failure`},
		{name: "checker that bans after some refused logins", set: setting("credcheck.max_auth_failure", "5"), want: "credcheck bans role \"$ROLE\" after 5 refused logins", warned: true},
		{name: "Azure without SCRAM", set: setting("azure.accepted_password_auth_method", "md5"), want: "the server accepts no login with SCRAM \\(azure", remedy: "azure.accepted_password_auth_method = md5,scram-sha-256"},
		{name: "RDS without SCRAM", set: setting("rds.accepted_password_auth_method", "md5"), want: "the server accepts no login with SCRAM \\(rds", remedy: "rds.accepted_password_auth_method = md5\\+scram"},
		{name: "pooler before the server", set: pooled, want: "a connection pooler answers", remedy: "not PgBouncer"},
		{name: "path that takes every password", set: trusting, want: "so a login proves nothing", remedy: `either reach PostgreSQL on a path with scram-sha-256.*GRANT SELECT \(rolname, rolpassword\) ON pg_catalog.pg_authid TO "$ROTATOR";`},
		{name: "standby", set: behind, want: "change a password on a standby: it is read-only", remedy: "let `postgres-url` name the primary"},
		{name: "replica that is not there", inputs: []string{"postgres-replicas=127.0.0.1:1"}, want: "ask the replica \"127.0.0.1:1\"", remedy: "let this machine reach the replica.*take it out of `postgres-replicas`"},

		{name: "emergency without the right to end sessions", set: sql(`ALTER ROLE "$ROTATOR" NOINHERIT`, `ALTER ROLE "$ROTATOR" INHERIT`), inputs: []string{"mode=emergency", "reason=leaked"},
			want: "end the sessions of role \"$ROLE\": role \"$ROTATOR\" may not", remedy: `GRANT pg_signal_backend TO "$ROTATOR"`},
		{name: "twin that is no member", set: sql(`CREATE ROLE "$TWIN" LOGIN`, `DROP ROLE "$TWIN"`), inputs: alternating, want: "use role \"$TWIN\" as the twin of \"$ROLE\": it is no member", remedy: `GRANT "$ROLE" TO "$TWIN"`},
		{name: "twin that acts as itself", set: sql(`CREATE ROLE "$TWIN" LOGIN IN ROLE "$ROLE"`, `DROP ROLE "$TWIN"`), inputs: alternating, want: "what it makes would belong to", remedy: `ALTER ROLE "$TWIN" SET role = '$ROLE'`},
		{name: "twin in use", set: inUse, inputs: alternating, want: "give role \"$TWIN\" a new password: 1 session is logged in as it", remedy: "restart what they belong to"},
		{name: "twin with too long a name", inputs: append([]string{"postgres-role=$ROLE", "postgres-alternate-role=b123456789012345678901234567890123456789012345678901234567890123"}, alternating...), want: "has 64 bytes, PostgreSQL knows 63", remedy: "two names that are short enough"},
	}
}

// wrongGitHub are secrets that cannot be written.
func wrongGitHub() []situation {
	token := func(token githubtest.Token) func(*stage) {
		return func(st *stage) {
			st.GitHub.Setup(githubtest.Setup{Tokens: []githubtest.Token{token}})
			st.give("github-token=" + token.Value)
		}
	}
	meets := func(fault githubtest.Fault) func(*stage) {
		return func(st *stage) {
			st.GitHub.Fault(fault)
			st.Cleanup(st.GitHub.ClearFaults)
		}
	}
	all := githubtest.AllPermissions()
	nextHour := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	return []situation{
		{name: "token that nobody knows", inputs: []string{"github-token=github_pat_unknown"}, want: "GitHub answers 401: Bad credentials", remedy: "the token is wrong, has expired or was revoked: make a new one"},
		{name: "token that has expired", set: token(githubtest.Token{Value: "github_pat_expired", Permissions: all, Expired: true}), want: "GitHub answers 401: Bad credentials", remedy: "the token is wrong, has expired or was revoked: make a new one"},
		{name: "token without the permission", set: token(githubtest.Token{Value: "github_pat_nothing"}), want: "read the public key of acme/shop: GitHub answers 403", remedy: "\"Secrets: read and write\" for acme/shop \\(GitHub asked for secrets=read\\)"},
		{name: "token without the permission for environments", set: token(githubtest.Token{Value: "github_pat_secrets", Permissions: map[string]string{"secrets": "write"}}),
			inputs: []string{"github-secrets=@production DATABASE_PASSWORD"}, want: "read the public key of acme/shop@production: GitHub answers 403", remedy: "\"Environments: read and write\" for acme/shop \\(GitHub asked for environments=read\\)"},
		{name: "token without the permission for Dependabot", set: token(githubtest.Token{Value: "github_pat_secrets", Permissions: map[string]string{"secrets": "write"}}),
			inputs: []string{"github-secrets=dependabot:acme/shop DATABASE_PASSWORD"}, want: "read the public key of dependabot:acme/shop: GitHub answers 403", remedy: "\"Dependabot secrets: read and write\" for acme/shop \\(GitHub asked for dependabot_secrets=read\\)"},
		{name: "GITHUB_TOKEN", set: token(githubtest.Token{Value: "ghs_workflow"}), want: "GitHub answers 403: Resource not accessible by integration", remedy: "GITHUB_TOKEN, which can never write secrets"},
		{name: "token of other repositories", set: token(githubtest.Token{Value: "github_pat_other", Permissions: all, Repositories: []string{"acme/other"}}), want: "read the public key of acme/shop: GitHub answers 404", remedy: "check the spelling of acme/shop; what a token may not see does not exist for it: .*\"Secrets: read and write\" for acme/shop"},
		{name: "repository that does not exist", inputs: []string{"github-secrets=acme/absent DATABASE_PASSWORD"}, want: "read the public key of acme/absent: GitHub answers 404", remedy: "check the spelling of acme/absent; .*\"Secrets: read and write\" for acme/absent"},
		{name: "environment that does not exist", inputs: []string{"github-secrets=@staging DATABASE_PASSWORD"}, want: "read the public key of acme/shop@staging: GitHub answers 404", remedy: "check the spelling of acme/shop@staging; .*\"Environments: read and write\" for acme/shop"},
		{name: "organization that does not exist", inputs: []string{"github-secrets=org:absent DATABASE_PASSWORD"}, want: "read the public key of org:absent: GitHub answers 404", remedy: "check the spelling of org:absent; .*\"Organization secrets: read and write\" for absent"},
		{name: "organization's secret that does not exist", set: func(st *stage) { st.GitHub.Setup(githubtest.Setup{Organizations: []string{"acme"}}) },
			inputs: []string{"github-secrets=org:acme DATABASE_PASSWORD"}, want: "read GitHub secret org:acme DATABASE_PASSWORD: there is no such secret", remedy: "create it on GitHub, with any value, for the repositories that may use it"},
		{name: "repository without room for one more", set: func(st *stage) {
			st.GitHub.Setup(githubtest.Setup{Repositories: []string{"acme/full"}})
			for i := range 100 {
				st.GitHub.Store("acme/full", fmt.Sprintf("OTHER_%d", i), "x", time.Now())
			}
		}, inputs: []string{"github-secrets=DATABASE_PASSWORD\nacme/full DATABASE_PASSWORD"},
			want: "create GitHub secret acme/full DATABASE_PASSWORD: GitHub takes no more than 100 secrets in acme/full", remedy: "delete one there that nobody uses"},
		{name: "classic token without its scope", set: token(githubtest.Token{Value: "ghp_classic", Scopes: []string{"gist", "public_repo"}}),
			want: "the token has the scopes \"gist, public_repo\", \"repo\" is not among them", remedy: "give the token the scope \"repo\", or use a fine-grained one"},
		{name: "hour's requests that are used up", set: meets(githubtest.PrimaryLimit(nextHour, -1)), want: "GitHub's rate limit is reached", remedy: "wait until 20[0-9: -]+ UTC and run it again"},
		{name: "secondary limit that outlasts the run", set: meets(githubtest.SecondaryLimit(http.StatusForbidden, "3600", -1)), want: "GitHub's rate limit is reached", remedy: "wait until 20[0-9: -]+ UTC and run it again"},
		{name: "secondary limit of status 429 that outlasts the run", set: meets(githubtest.SecondaryLimit(http.StatusTooManyRequests, "3600", -1)), want: "GitHub's rate limit is reached", remedy: "wait until 20[0-9: -]+ UTC and run it again"},
		{name: "answer that is no key", set: meets(githubtest.Fault{Effect: githubtest.Answer, Times: -1, Status: 200, Body: `{"key_id":"1","key":"bm9uZQ=="}`}), want: "no key of 32 bytes", remedy: "check `github-api-url`: another server may have answered"},
		{name: "API that redirects elsewhere", set: meets(githubtest.Fault{Effect: githubtest.Answer, Times: -1, Status: 307, Header: map[string]string{"Location": "http://127.0.0.1:1/"}}), want: "redirects to another host", remedy: "check the API's address"},
	}
}

const endless = `ALTER ROLE "$ROLE" VALID UNTIL 'infinity'`

// alternating are two login roles without a secret that has no user name.
var alternating = []string{"strategy=alternate", "github-secrets="}

// sql executes the first statement now and the others afterwards.
func sql(now string, afterwards ...string) func(*stage) {
	return func(st *stage) {
		st.must(st.SQL(st.Superuser, st.expand(now)))
		st.Cleanup(func() {
			for _, statement := range afterwards {
				st.must(st.SQL(st.Superuser, st.expand(statement)))
			}
		})
	}
}

// setting has the administrator see it as if the server had it.
func setting(name, value string) func(*stage) {
	return sql(`ALTER ROLE "$ROTATOR" SET `+name+` = '`+value+`'`, `ALTER ROLE "$ROTATOR" RESET ALL`)
}

// drifted is a role that somebody else has given a password.
func drifted(st *stage) {
	verifier, err := st.Verifier(st.Name)
	st.must(err)
	sql(`ALTER ROLE "$ROLE" PASSWORD 'ByHandByHandByHand1'`, `ALTER ROLE "$ROLE" PASSWORD '`+verifier+`'`)(st)
}

// inUse makes a twin as the product would, and a session that is logged in as it.
func inUse(st *stage) {
	const password = "LeftOpenLeftOpenLeft1"
	sql(`CREATE ROLE "$TWIN" LOGIN PASSWORD '`+password+`' IN ROLE "$ROLE"; ALTER ROLE "$TWIN" SET role = "$ROLE"; GRANT "$TWIN" TO "$ROTATOR" WITH ADMIN OPTION`,
		`DROP ROLE "$TWIN"`)(st)
	u, err := url.Parse(st.Superuser)
	st.must(err)
	u.User = url.UserPassword(st.Twin(), password)
	conn, err := pgx.Connect(st.Context(), u.String())
	st.must(err)
	st.Cleanup(func() { st.must(conn.Close(context.Background())) })
}

// admin changes the connection of the administrator.
func admin(change func(*stage, *url.URL)) func(*stage) {
	return func(st *stage) {
		u, err := url.Parse(st.AdminURL())
		st.must(err)
		change(st, u)
		st.give("postgres-url=" + u.String())
	}
}

func bootstrap(st *stage) {
	u, err := url.Parse(st.Superuser)
	st.must(err)
	served("username", u.User.Username())(st)
}

// trusting moves to the server that asks nobody for a password.
func trusting(st *stage) {
	st.move(st.Lab.PostgresTrustURL)
	st.give("postgres-url=" + st.AdminURL())
}

// behind has the administrator log in at a standby of the server that has the role.
func behind(st *stage) {
	primary := labtest.NewServer(st.T)
	st.move(primary.URL())
	standby := primary.Standby("two", 0)
	st.give("postgres-url=" + strings.Replace(st.AdminURL(), primary.Place(), standby.Place(), 1))
}

// move has another server that has the role.
func (st *stage) move(superuser string) {
	st.Helper()
	left := st.Superuser
	st.Superuser = superuser
	st.Cleanup(func() {
		st.must(st.DropRole(st.Superuser))
		st.Superuser = left
	})
	st.must(st.MakeRole(st.Superuser))
}

// pooled puts a pooler before the server.
func pooled(st *stage) {
	u, err := url.Parse(st.Superuser)
	st.must(err)
	password, _ := u.User.Password()
	pooler := labtest.StartPooler(st.T, u, "pool_mode = transaction\nserver_tls_sslmode = prefer", fmt.Sprintf("%q %q\n", u.User.Username(), password))
	u.Host, u.RawQuery = "127.0.0.1:"+pooler.Port, "sslmode=disable"
	st.give("postgres-url=" + u.String())
}

// served puts a text into a key of the served Secret.
func served(key, text string) func(*stage) {
	return func(st *stage) { st.secret(func(o *corev1.Secret) { o.Data[key] = []byte(st.expand(text)) }) }
}
