package githubtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// largest is GitHub's limit for the value of a secret.
// https://docs.github.com/en/actions/reference/security/secrets#limits-for-secrets
const largest = 48 * 1024

var validName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// answer judges a request, performs it, and judges the answer.
func (s *Server) answer(r *http.Request, body []byte) answer {
	escaped := strings.TrimPrefix(r.URL.EscapedPath(), "/api/v3")
	s.requests = append(s.requests, r.Method+" "+escaped)
	c, err := s.description.open(r, escaped, body)
	if err != nil {
		s.violate(r.Method, escaped, err)
		return refuse(http.StatusBadRequest, "GitHub's description does not allow this request: "+err.Error())
	}
	if refusal, is := s.exceeded(r.Method); is {
		return refusal
	}
	fault := s.meet(r.Method, escaped)
	switch fault.Effect {
	case Answer:
		return fault.answer()
	case Reset:
		return answer{hangUp: true}
	}
	a := s.permitted(c, r, fault.Effect)
	if err := c.check(a.status, a.header, a.body); err != nil {
		s.violate(r.Method, escaped, fmt.Errorf("the emulator's own answer: %w", err))
	}
	a.hangUp = fault.Effect == Lose
	return a
}

func (s *Server) violate(method, path string, err error) {
	s.violations = append(s.violations, method+" "+path+": "+err.Error())
}

func (f Fault) answer() answer {
	a := answer{status: f.Status, header: http.Header{}, body: []byte(f.Body)}
	a.header.Set("Content-Type", "application/json; charset=utf-8")
	for name, value := range f.Header {
		a.header.Set(name, value)
	}
	return a
}

// permitted performs an operation for a token that may, and names the
// permission or the scopes in the answer as GitHub does.
func (s *Server) permitted(c *call, r *http.Request, effect Effect) answer {
	value, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	token, known := s.tokens[value]
	if !known || token.Expired {
		return refuse(http.StatusUnauthorized, "Bad credentials")
	}
	a := s.judge(c, token, effect)
	token.show(c, a.header)
	return a
}

func (s *Server) judge(c *call, token Token, effect Effect) answer {
	switch {
	case !token.sees(c.repository()):
		return refuse(http.StatusNotFound, "Not Found")
	case !token.may(c):
		return token.refusal()
	}
	return s.perform(c, effect)
}

// perform does what the operation asks for; the last segment of its path tells
// what that is, for every kind of secret alike.
func (s *Server) perform(c *call, effect Effect) answer {
	if c.template() == "/rate_limit" {
		return reply(http.StatusOK, s.rateLimit())
	}
	v := s.vaults[strings.ToLower(c.target())]
	if v == nil {
		return refuse(http.StatusNotFound, "Not Found")
	}
	switch c.method() + " " + path.Base(c.template()) {
	case "GET {repo}":
		return reply(http.StatusOK, s.showRepository(c, c.repository()))
	case "GET public-key":
		return reply(http.StatusOK, v.publicKey())
	case "GET secrets":
		return reply(http.StatusOK, c.page.list("secrets", v.showAll()))
	case "GET organization-secrets":
		return reply(http.StatusOK, c.page.list("secrets", s.shared(c.params["owner"], c.repository())))
	case "PUT {secret_name}":
		return s.put(c, v, effect)
	}
	e := v.lookup(c.params["secret_name"])
	if e != nil && effect == Stale {
		e = e.former
	}
	if e == nil {
		return refuse(http.StatusNotFound, "Not Found")
	}
	return s.performOn(c, v, e)
}

// performOn does what concerns a secret that exists.
func (s *Server) performOn(c *call, v *vault, e *entry) answer {
	switch c.method() + " " + path.Base(c.template()) {
	case "GET {secret_name}":
		return reply(http.StatusOK, e.show())
	case "DELETE {secret_name}":
		delete(v.secrets, e.Name)
		return reply(http.StatusNoContent, nil)
	}
	if e.Visibility != "selected" && c.method() != http.MethodGet {
		return refuse(http.StatusConflict, "Visibility is not selected")
	}
	switch c.method() + " " + path.Base(c.template()) {
	case "GET repositories":
		return reply(http.StatusOK, c.page.list("repositories", s.showSelected(c, e)))
	case "PUT repositories":
		var body written
		_ = json.Unmarshal(c.body, &body) // valid: the description has judged it
		e.selected = body.selected()
	case "PUT {repository_id}":
		e.selected = append(e.without(c.repositoryID()), c.repositoryID())
	case "DELETE {repository_id}":
		e.selected = e.without(c.repositoryID())
	}
	return reply(http.StatusNoContent, nil)
}

// written is the body of a PUT.
type written struct {
	EncryptedValue string        `json:"encrypted_value"`
	KeyID          string        `json:"key_id"`
	Visibility     string        `json:"visibility"`
	Selected       []json.Number `json:"selected_repository_ids"`
}

// selected reads the repository ids, which may come as numbers or as strings.
func (w written) selected() []int64 {
	var ids []int64
	for _, text := range w.Selected {
		if id, err := strconv.ParseInt(text.String(), 10, 64); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// put stores a secret. Leaving out selected_repository_ids clears the list, as
// it does on GitHub. What it answers where there are too many is told nowhere, but
// that it is a refusal.
func (s *Server) put(c *call, v *vault, effect Effect) answer {
	name := c.params["secret_name"]
	if !validName.MatchString(name) || strings.HasPrefix(strings.ToUpper(name), "GITHUB_") {
		return refuse(http.StatusUnprocessableEntity, "Secret names can only contain alphanumeric characters, and must not start with GITHUB_ or a number")
	}
	var body written
	if err := json.Unmarshal(c.body, &body); err != nil || body.KeyID != v.keyID {
		return refuse(http.StatusUnprocessableEntity, "The key_id is not the one of the current public key")
	}
	value, ok := v.open(body.EncryptedValue)
	if !ok || len(value) > largest {
		return refuse(http.StatusUnprocessableEntity, "Bad request - improperly encrypted secret")
	}
	created := v.lookup(name) == nil
	if created && v.full() {
		return refuse(http.StatusUnprocessableEntity, fmt.Sprintf("There are %d secrets here, and no more are allowed", v.most))
	}
	if effect != Pretend {
		v.store(entry{Name: name, Value: value, Visibility: body.Visibility, selected: body.selected()})
	}
	if created {
		return reply(http.StatusCreated, map[string]any{})
	}
	return reply(http.StatusNoContent, nil)
}

func (e *entry) without(id int64) []int64 {
	return slices.DeleteFunc(slices.Clone(e.selected), func(other int64) bool { return other == id })
}

func (c *call) repositoryID() int64 {
	id, _ := strconv.ParseInt(c.params["repository_id"], 10, 64) // valid: the description has judged it
	return id
}
