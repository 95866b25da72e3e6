package githubtest

import (
	"net/http"
	"strconv"
	"time"
)

// GitHub's secondary limits, as far as it tells them.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits
const (
	mostAtOnce = 100 // requests under way
	mostPoints = 900 // a minute; a request that only reads is 1, any other 5
	mostWrites = 80  // a minute
)

// limits are the requests of the last minute; nil: nothing is limited.
type limits struct {
	underWay int
	recent   []weighed
	refused  int
}

type weighed struct {
	at     time.Time
	points int
}

// LimitRates makes the server refuse what exceeds GitHub's secondary limits, and
// say when to ask again.
func (s *Server) LimitRates() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = &limits{}
}

// Limited counts the requests that were refused by LimitRates.
func (s *Server) Limited() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limits == nil {
		return 0
	}
	return s.limits.refused
}

// enter counts a request that begins; leave must be called when it has ended.
func (s *Server) enter() (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limits == nil {
		return func() {}
	}
	l := s.limits
	l.underWay++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		l.underWay--
	}
}

// exceeded refuses a request that is one too many; else it counts.
func (s *Server) exceeded(method string) (a answer, refused bool) {
	if s.limits == nil {
		return answer{}, false
	}
	wait := s.limits.take(method, time.Now())
	if wait == 0 {
		return answer{}, false
	}
	s.limits.refused++
	seconds := strconv.Itoa(int(wait/time.Second) + 1)
	return SecondaryLimit(http.StatusForbidden, seconds, 1).answer(), true
}

// take counts a request, or returns how long to wait.
func (l *limits) take(method string, now time.Time) (wait time.Duration) {
	one := weighed{at: now, points: 5}
	if method == http.MethodGet || method == http.MethodHead {
		one.points = 1
	}
	for len(l.recent) > 0 && now.Sub(l.recent[0].at) >= time.Minute {
		l.recent = l.recent[1:]
	}
	points, writes := one.points, 0
	for _, r := range l.recent {
		points += r.points
		if r.points > 1 {
			writes++
		}
	}
	if l.underWay > mostAtOnce {
		return time.Second
	}
	if points > mostPoints || one.points > 1 && writes >= mostWrites {
		return time.Minute - now.Sub(l.recent[0].at)
	}
	l.recent = append(l.recent, one)
	return 0
}
