package githubtest

import (
	"net/http"
	"regexp"
)

// Effect is how a request that meets a Fault goes wrong.
type Effect string

const (
	// Answer answers with the fault's status, headers and body, and does nothing.
	Answer Effect = "answer"
	// Reset closes the connection and does nothing.
	Reset Effect = "reset"
	// Lose does what the request asks for and closes the connection.
	Lose Effect = "lose"
	// Pretend answers as if it had written, and writes nothing.
	Pretend Effect = "pretend"
	// Stale shows a secret as it was before the last write.
	Stale Effect = "stale"
)

// Fault is something that goes wrong with the next requests that match it.
type Fault struct {
	Effect Effect            `json:"effect"`
	Method string            `json:"method,omitempty"` // empty: any
	Path   string            `json:"path,omitempty"`   // regular expression on the escaped path; empty: any
	Times  int               `json:"times"`            // how many requests; negative: all
	Status int               `json:"status,omitempty"`
	Header map[string]string `json:"header,omitempty"`
	Body   string            `json:"body,omitempty"`
}

// scripted is a fault that waits for its requests.
type scripted struct {
	Fault
	path *regexp.Regexp
}

func (f *scripted) matches(method, path string) bool {
	return f.Times != 0 && (f.Method == "" || f.Method == method) && f.path.MatchString(path)
}

// SecondaryLimit is GitHub's answer to many writes in a short time.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
func SecondaryLimit(status int, retryAfter string, times int) Fault {
	return Fault{
		Effect: Answer, Times: times, Status: status, Header: map[string]string{"Retry-After": retryAfter},
		Body: `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",` +
			`"documentation_url":"https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`,
	}
}

// PrimaryLimit is GitHub's answer when the hour's requests are used up; reset
// is when the next hour begins, in seconds since 1970.
func PrimaryLimit(reset string, times int) Fault {
	return Fault{
		Effect: Answer, Times: times, Status: http.StatusForbidden,
		Header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset, "X-RateLimit-Resource": "core"},
		Body:   `{"message":"API rate limit exceeded for user ID 1.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api"}`,
	}
}

// meet returns the effect of the first fault that matches, and uses it up once.
func (s *Server) meet(method, path string) Fault {
	for _, f := range s.faults {
		if f.matches(method, path) {
			if f.Times > 0 {
				f.Times--
			}
			return f.Fault
		}
	}
	return Fault{}
}
