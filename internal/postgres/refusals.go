package postgres

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// Refused counts in log, what the server has written to its standard error, the
// logins as one of roles that were refused, by client. Left out are those of this
// program since it changed a password. Nothing of the log is returned but IP
// addresses. Whoever reaches the server can write there what names may hold, and
// so have a login counted that was none.
//
// Class "refused": the server writes its log elsewhere or not in English, or one
// that is whole lacks what it has refused this program since its change.
func (d *Database) Refused(ctx context.Context, log string, whole bool, roles []string) (found []secret.Refused, err error) {
	var line *regexp.Regexp
	var own map[string]int
	var altered bool
	err = d.with(ctx, func(s *session) (err error) {
		line, err = s.logLine(ctx)
		own, altered = d.turnedAway.all(), d.altered
		return err
	})
	if err != nil {
		return nil, err
	}
	found = refusedIn(line, log, roles)
	if whole && altered && lacks(own, found, roles) {
		return nil, no(lookInLog+": it lacks a login that the server has refused this program: `postgres-pod` may only lead to it", "")
	}
	return lessOwn(own, found), nil
}

const lookInLog = "look in the server's log for refused logins"

// refusals counts logins by their role. Safe for concurrent use: logins are tried at
// the same time.
type refusals struct {
	mu   sync.Mutex
	each map[string]int
}

func (r *refusals) add(role string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.each[role]++
}

func (r *refusals) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.each)
}

func (r *refusals) all() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.each)
}

// lacks tells whether a login of this program's own as one of roles is missing.
func lacks(own map[string]int, found []secret.Refused, roles []string) bool {
	there := map[string]int{}
	for _, f := range found {
		there[f.Role] += f.Logins
	}
	return slices.ContainsFunc(roles, func(role string) bool { return there[role] < own[role] })
}

// logLine asks for what the lines of the server's log look like.
func (s *session) logLine(ctx context.Context) (*regexp.Regexp, error) {
	var prefix, destination, language string
	var collector bool
	err := s.row(ctx, `SELECT current_setting('log_line_prefix'), current_setting('log_destination'), current_setting('lc_messages'),
		current_setting('logging_collector')::bool`, nil, &prefix, &destination, &language, &collector)
	switch {
	case err != nil:
		return nil, s.failed(lookInLog, err)
	case collector || !strings.Contains(destination, "stderr"):
		return nil, no(lookInLog+": the server writes it to a place of its own, not to its standard error", "see logging_collector and log_destination")
	case !english(language):
		return nil, no(fmt.Sprintf("%s: it is not in English (lc_messages is %q)", lookInLog, language), "")
	}
	return lineOf(prefix)
}

func english(locale string) bool {
	return locale == "" || locale == "C" || locale == "POSIX" || strings.HasPrefix(locale, "C.") || strings.HasPrefix(locale, "en")
}

// escape is one of log_line_prefix.
var escape = regexp.MustCompile(`%-?[0-9]*([a-zA-Z%])`)

// lineOf finds process, host, severity and text in the lines that begin with what
// prefix stands for. https://www.postgresql.org/docs/current/runtime-config-logging.html#GUC-LOG-LINE-PREFIX
func lineOf(prefix string) (*regexp.Regexp, error) {
	pattern, rest := "^", 0
	for _, at := range escape.FindAllStringSubmatchIndex(prefix, -1) {
		found := fieldOf(prefix[at[2]])
		if name := group.FindString(found); name != "" && strings.Contains(pattern, name) {
			found = `.*?` // one of a name is enough
		}
		pattern += regexp.QuoteMeta(prefix[rest:at[0]]) + found
		rest = at[1]
	}
	line, err := regexp.Compile(pattern + regexp.QuoteMeta(prefix[rest:]) + `(?P<severity>LOG|FATAL):  (?P<text>.*)$`)
	if err != nil {
		return nil, no("look in the server's log for refused logins: its log_line_prefix is not legible", "")
	}
	return line, nil
}

var group = regexp.MustCompile(`\?P<[a-z]+>`)

// fieldOf is what an escape stands for, with the spaces that pad it. What a client
// chooses may be anything.
func fieldOf(escape byte) string {
	found := `.*?`
	switch escape {
	case '%':
		return "%"
	case 'q':
		return ""
	case 'p':
		found = `(?P<process>[0-9]+)`
	case 'c':
		found = `(?P<process>[0-9a-f]+\.[0-9a-f]+)`
	case 'h':
		found = `(?P<host>[\w.:%\[\]-]+)`
	case 'r':
		found = `(?P<host>[\w.:%\[\]-]+)(?:\([0-9]+\))?`
	case 't', 'm', 's':
		found = `[0-9-]+ [0-9:.]+ [^ ]+`
	case 'n', 'l', 'P', 'Q', 'v', 'x':
		found = `[0-9./-]*`
	}
	return " *" + found + " *"
}

// audit goes through a log.
type audit struct {
	line    *regexp.Regexp
	roles   []string
	clients map[string]string // address of each process that a client was received in
	refused map[client]int
}

// client is who logs in.
type client struct{ role, address string }

// refusedIn counts the refused logins in a log, most refused first.
func refusedIn(line *regexp.Regexp, log string, roles []string) (found []secret.Refused) {
	a := audit{line: line, roles: roles, clients: map[string]string{}, refused: map[client]int{}}
	for text := range strings.Lines(log) {
		a.read(strings.TrimRight(text, "\r\n"))
	}
	for c, logins := range a.refused {
		found = append(found, secret.Refused{Role: c.role, Address: c.address, Logins: logins})
	}
	slices.SortFunc(found, secret.Refused.Compare)
	return found
}

// received opens what the server logs of each client with log_connections.
const received = "connection received: host="

// read takes one line. One that begins with a tab goes on with the line before,
// and one that seems to have two texts holds a name that was chosen to look like
// one.
func (a *audit) read(text string) {
	if strings.HasPrefix(text, "\t") || strings.Count(text, "FATAL:  ")+strings.Count(text, "LOG:  ") != 1 {
		return
	}
	found := a.line.FindStringSubmatch(text)
	if found == nil {
		return
	}
	part := func(name string) string {
		if i := a.line.SubexpIndex(name); i >= 0 {
			return found[i]
		}
		return ""
	}
	process, said := part("process"), part("text")
	if host, ok := strings.CutPrefix(said, received); ok && part("severity") == "LOG" {
		host, _, _ = strings.Cut(host, " ")
		a.clients[process] = addressIn(host)
		return
	}
	if role, host, ok := a.refusal(said); ok && part("severity") == "FATAL" {
		a.refused[client{role, cmp.Or(addressIn(host), addressIn(part("host")), a.clients[process])}]++
	}
}

// unlisted is how the server refuses a client that pg_hba.conf has no line for,
// or one that rejects it.
var unlisted = regexp.MustCompile(`^(?:no pg_hba\.conf entry for|pg_hba\.conf rejects) (?:replication )?(?:connection (?:from|for) )?host "([^"]*)", user "`)

// refusal reads the text of a refused login: the role, and the host where the
// text has it.
func (a *audit) refusal(text string) (role, host string, ok bool) {
	lead := unlisted.FindStringSubmatch(text)
	for _, role := range a.roles {
		name := `"` + role + `"`
		switch {
		case text == "password authentication failed for user "+name, text == "role "+name+" is not permitted to log in":
			return role, "", true
		case lead != nil && strings.HasPrefix(text, lead[0]+role+`", `):
			return role, lead[1], true
		}
	}
	return "", "", false
}

// addressIn is an IP address, secret.Socket, or empty where text is neither.
func addressIn(text string) string {
	if text == secret.Socket {
		return text
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	return ip.Unmap().WithZone("").String()
}

// lessOwn takes away the logins that were this program's own: they come from
// where a tunnel ends, or from where the log does not tell.
func lessOwn(own map[string]int, found []secret.Refused) []secret.Refused {
	for i := range found {
		f := &found[i]
		if ip, err := netip.ParseAddr(f.Address); f.Address == "" || err == nil && ip.IsLoopback() {
			n := min(own[f.Role], f.Logins)
			f.Logins, own[f.Role] = f.Logins-n, own[f.Role]-n
		}
	}
	return slices.DeleteFunc(found, func(f secret.Refused) bool { return f.Logins == 0 })
}
