package kube

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// scramText is a verifier as PostgreSQL writes it, anywhere in a text.
var scramText = regexp.MustCompile(`SCRAM-SHA-256\$([1-9][0-9]{0,7}):([A-Za-z0-9+/]+={0,2})\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=`)

// mostIterations is how many are spent on one text: some seconds.
const mostIterations = 10_000_000

// verifies tells whether text has a verifier of the password, SCRAM or md5, and
// whether it is nothing but that. Of a list only the lines that name the user are
// judged. One that would take too long to judge counts as one.
func verifies(text, user, password string) (Property, bool) {
	is := func(verifier string) (Property, bool) {
		if verifier == text {
			return Verifier, true
		}
		return "", true
	}
	if hash := secret.MD5(user, password); strings.Contains(text, hash) {
		return is(hash)
	}
	spent := 0
	for _, m := range scramText.FindAllStringSubmatch(linesOf(text, user), -1) {
		iterations, err := strconv.Atoi(m[1])
		if spent += iterations; err != nil || spent > mostIterations || m[0] == secret.SCRAM(password, m[2], iterations) {
			return is(m[0])
		}
	}
	return "", false
}

// linesOf leaves out the lines of a list that are about others: those of several words
// that do not name the user.
func linesOf(text, user string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, user) || len(strings.Fields(line)) == 1 {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
