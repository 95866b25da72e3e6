package githubtest

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// descriptionJSON is the part of GitHub's own description of its API that
// concerns secrets, cut out of the npm package @octokit/openapi 23.0.2 (MIT,
// see the licence beside it).
//
//go:embed testdata/github-secrets.openapi.json
var descriptionJSON []byte

// apiVersion is the version of the API that the description belongs to.
// https://docs.github.com/en/rest/about-the-rest-api/api-versions
const apiVersion = "2022-11-28"

var errNotDescribed = errors.New("GitHub's description has no such path")

// description judges requests and answers.
type description struct{ doc *openapi3.T }

// loadDescription parses it once, as a regular expression would be compiled
// once: that takes a tenth of a second, and nothing changes it.
var loadDescription = sync.OnceValues(func() (description, error) {
	doc, err := openapi3.NewLoader().LoadFromData(descriptionJSON)
	if err != nil {
		return description{}, fmt.Errorf("load the description of the API: %w", err)
	}
	return description{doc: doc}, nil
})

// call is one request together with the operation that it asks for.
type call struct {
	input     *openapi3filter.RequestValidationInput
	operation *openapi3.Operation
	params    map[string]string // of the path, unescaped
	body      []byte
	page      page
}

// template is the operation's path as the description writes it.
func (c *call) template() string { return c.input.Route.Path }

// method is the operation's HTTP method.
func (c *call) method() string { return c.input.Route.Method }

// open finds the operation and validates path, query, headers and body.
func (d description) open(r *http.Request, path string, body []byte) (*call, error) {
	template, params := d.find(path)
	item := d.doc.Paths.Value(template)
	if item == nil {
		return nil, errNotDescribed
	}
	operation := item.GetOperation(r.Method)
	if operation == nil {
		return nil, fmt.Errorf("%s is not described for %s", r.Method, template)
	}
	c := &call{operation: operation, params: params, body: body}
	c.input = &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, QueryParams: r.URL.Query(),
		Route:   &routers.Route{Spec: d.doc, Path: template, PathItem: item, Method: r.Method, Operation: operation},
		Options: &openapi3filter.Options{RejectWhenRequestBodyNotSpecified: true, SkipSettingDefaults: true},
	}
	return c, c.validate(r)
}

// find compares segment by segment, still escaped: an environment's name may
// hold an escaped slash. A literal segment wins over a parameter.
func (d description) find(path string) (string, map[string]string) {
	best, params := "", map[string]string(nil)
	for template := range d.doc.Paths.Map() {
		found, ok := match(template, path)
		if ok && (best == "" || len(found) < len(params)) {
			best, params = template, found
		}
	}
	return best, params
}

func match(template, path string) (map[string]string, bool) {
	want, have := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(have) {
		return nil, false
	}
	params := map[string]string{}
	for i, segment := range want {
		name, isParam := strings.CutPrefix(segment, "{")
		value, err := url.PathUnescape(have[i])
		switch {
		case !isParam && segment != have[i], err != nil, value == "" && segment != "":
			return nil, false
		case isParam:
			params[strings.TrimSuffix(name, "}")] = value
		}
	}
	return params, true
}

func (c *call) validate(r *http.Request) error {
	r.Body = io.NopCloser(bytes.NewReader(c.body))
	errs := []error{c.headers(r.Header), c.undeclared(r.URL.Query())}
	if c.operation.RequestBody == nil && len(c.body) > 0 {
		errs = append(errs, errors.New("a body where none is described"))
	}
	errs = append(errs, openapi3filter.ValidateRequest(r.Context(), c.input))
	var err error
	c.page, err = readPage(r.URL.Query())
	return errors.Join(append(errs, err)...)
}

// headers holds a request to what GitHub asks of every one of them.
// https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api
func (c *call) headers(h http.Header) error {
	var errs []error
	if h.Get("User-Agent") == "" {
		errs = append(errs, errors.New("no User-Agent"))
	}
	if !strings.HasPrefix(h.Get("Accept"), "application/vnd.github") {
		errs = append(errs, fmt.Errorf("Accept is %q, want application/vnd.github+json or a version of it", h.Get("Accept")))
	}
	if got := h.Get("X-GitHub-Api-Version"); got != apiVersion {
		errs = append(errs, fmt.Errorf("X-GitHub-Api-Version is %q, want %q", got, apiVersion))
	}
	if got := h.Get("Content-Type"); len(c.body) > 0 && got != "application/json" {
		errs = append(errs, fmt.Errorf("Content-Type is %q, want application/json", got))
	}
	return errors.Join(errs...)
}

// undeclared finds what the description does not know: GitHub would ignore it,
// so the one who sends it believes in something that does not happen.
func (c *call) undeclared(query url.Values) error {
	var errs []error
	for name := range query {
		if c.operation.Parameters.GetByInAndName("query", name) == nil {
			errs = append(errs, fmt.Errorf("unknown query parameter %q", name))
		}
	}
	var sent map[string]json.RawMessage
	if c.operation.RequestBody == nil || json.Unmarshal(c.body, &sent) != nil {
		return errors.Join(errs...) // what is no object fails the schema
	}
	known := c.operation.RequestBody.Value.Content.Get("application/json").Schema.Value.Properties
	for name := range sent {
		if known[name] == nil {
			errs = append(errs, fmt.Errorf("unknown property %q in the body", name))
		}
	}
	return errors.Join(errs...)
}

// check validates an answer of the emulator itself. Refusals are alike for all
// operations, and the description leaves most of them out.
func (c *call) check(status int, header http.Header, body []byte) error {
	if c.operation.Responses.Status(status) == nil && status >= 400 {
		return nil
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: c.input, Status: status, Header: header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	return openapi3filter.ValidateResponse(context.Background(), input.SetBodyBytes(body))
}
