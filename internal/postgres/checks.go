package postgres

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// Settings of credcheck, an extension that judges passwords and counts refused
// logins: https://github.com/HexaCluster/credcheck/blob/master/README.md.
const (
	reuseHistory  = "credcheck.password_reuse_history"
	reuseInterval = "credcheck.password_reuse_interval"
	unchecked     = "credcheck.whitelist"
	mostFailures  = "credcheck.max_auth_failure"
	neverBanned   = "credcheck.whitelist_auth_failure"
)

// Settings of managed services: the kinds of passwords that open a door.
// https://learn.microsoft.com/azure/postgresql/flexible-server/how-to-connect-scram
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/PostgreSQL_Password_Encryption_configuration.html
const (
	azureMethods = "azure.accepted_password_auth_method"
	rdsMethods   = "rds.accepted_password_auth_method"
)

// checks are settings by which a server judges passwords and logins, and of which
// ALTER ROLE shows nothing when it is tried and rolled back, or too late. What the
// server does not have is empty or missing.
type checks map[string]string

// readChecks reads the settings as this session has them. Refused logins are counted
// before a role's own settings count: there a value that ALTER ROLE has given to
// the administrator hides the one that counts.
func (s *session) readChecks(ctx context.Context) (checks, error) {
	return s.shown(ctx, reuseHistory, reuseInterval, unchecked, mostFailures, neverBanned, azureMethods, rdsMethods)
}

// shown is the value of each setting that the server shows to the administrator.
func (s *session) shown(ctx context.Context, names ...string) (found map[string]string, err error) {
	err = s.row(ctx, `SELECT json_object_agg(name, current_setting(name, true)) FROM unnest($1::text[]) AS name`, []any{names}, &found)
	switch {
	case err == nil:
		return found, nil
	case !hasCode(err, codeNoPrivilege):
		return nil, s.failed("read the settings of password checkers", err)
	case len(names) == 1:
		return nil, nil // it is for others to see
	}
	found = map[string]string{}
	for _, name := range names {
		one, err := s.shown(ctx, name)
		if err != nil {
			return nil, err
		}
		maps.Copy(found, one)
	}
	return found, nil
}

// scram refuses a server on which a new verifier opens nothing.
func (c checks) scram() error {
	for _, kinds := range []struct{ name, value, where string }{
		{azureMethods, "md5,scram-sha-256", "server parameters"},
		{rdsMethods, "md5+scram", "parameter group"},
	} {
		if is := c[kinds.name]; is != "" && !strings.Contains(strings.ToLower(is), "scram") {
			return no(fmt.Sprintf("change a password: the server accepts no login with SCRAM (%s = %s)", kinds.name, is),
				fmt.Sprintf("set %s = %s in the %s of the provider, and roles that have an md5 hash go on logging in", kinds.name, kinds.value, kinds.where))
		}
	}
	return nil
}

// remembered names the settings by which credcheck refuses a password that name
// had before. It takes a verifier for the password, and remembers it before the
// statement runs, so that ROLLBACK leaves it there.
func (c checks) remembered(name string) string {
	var set []string
	for _, policy := range []string{reuseHistory, reuseInterval} {
		if c.number(policy) > 0 && !exempted(name, c[unchecked]) {
			set = append(set, policy+" = "+c[policy])
		}
	}
	return strings.Join(set, ", ")
}

// reuse refuses what sets one verifier twice: a way back, and an emergency, which
// sets the new one when it closes the role and again when it opens it.
func (c checks) reuse(name, admin string) error {
	set := c.remembered(name)
	if set == "" {
		return nil
	}
	return no(fmt.Sprintf("set a password of role %q for the second time: credcheck refuses what it remembers (%s)", name, set),
		fmt.Sprintf("as a superuser: ALTER ROLE %[1]s SET %[2]s = 0; ALTER ROLE %[1]s SET %[3]s = 0; or add %[4]q to %[5]s, or set both to 0, in postgresql.conf or the provider's parameters",
			quote(admin), reuseHistory, reuseInterval, name, unchecked))
}

// unreturning warns where only fresh passwords are set.
func (c checks) unreturning(name string) (warnings []string) {
	if set := c.remembered(name); set != "" {
		warnings = append(warnings, fmt.Sprintf("credcheck remembers the passwords of role %q (%s), also the one that is tried here: `command: rollback` cannot bring back one that was taken away; add the role to %s",
			name, set, unchecked))
	}
	return warnings
}

// failures is how many refused logins in a row ban name, 0 where none do.
func (c checks) failures(name string) int {
	if exempted(name, c[neverBanned]) {
		return 0
	}
	return c.number(mostFailures)
}

// unforgiving refuses to try a wrong password where that alone would shut the role out.
func (c checks) unforgiving(name string) error {
	if c.failures(name) != 1 {
		return nil
	}
	return no(fmt.Sprintf("try a wrong password of role %q: credcheck bans it after one (%s = 1)", name, mostFailures),
		fmt.Sprintf("as a superuser: add %q to %s, or set %s to 0 or to more than the pods may need, in postgresql.conf or the provider's parameters and not by ALTER ROLE, which comes too late", name, neverBanned, mostFailures))
}

// strict warns of a ban that some more refused logins bring about.
func (c checks) strict(name string) (warnings []string) {
	if n := c.failures(name); n > 1 {
		warnings = append(warnings, fmt.Sprintf("credcheck bans role %q after %d refused logins in a row (%s): up to three are made here, and pods that log in with the former password while they are restarted add theirs; add the role to %s",
			name, n, mostFailures, neverBanned))
	}
	return warnings
}

// number is a setting's value; 0 switches it off.
func (c checks) number(name string) int {
	n, err := strconv.Atoi(c[name])
	if err != nil {
		return 0
	}
	return n
}

// exempted tells whether a list of credcheck has name, whatever its case.
func exempted(name, list string) bool {
	for rest, more := list, true; more; {
		one, left, ok := cutName(rest)
		if ok && strings.EqualFold(one, name) {
			return true
		}
		rest, more = strings.CutPrefix(left, ",")
	}
	return false
}
