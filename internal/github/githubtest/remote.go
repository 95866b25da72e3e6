package githubtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Remote scripts an emulator that runs in another process. Its methods do what
// those of Server do.
type Remote struct {
	URL string // without a path: "http://127.0.0.1:21480"
}

// Setup adds repositories, environments, organizations and tokens.
func (r Remote) Setup(setup Setup) error { return r.call(http.MethodPost, "setup", setup, nil) }

// Fault makes the next requests go wrong.
func (r Remote) Fault(f Fault) error {
	return r.call(http.MethodPost, "fault", map[string]any{"fault": f}, nil)
}

// ClearFaults takes back what is left of all faults.
func (r Remote) ClearFaults() error { return r.call(http.MethodDelete, "faults", nil, nil) }

// RotateKey gives target a new key pair.
func (r Remote) RotateKey(target string) error {
	return r.call(http.MethodPost, "rotate-key", map[string]string{"target": target}, nil)
}

// Secret opens a secret and tells when it was written; ok is false where there
// is none.
func (r Remote) Secret(target, name string) (value string, updatedAt time.Time, ok bool, err error) {
	var all []opened
	if err := r.call(http.MethodGet, "secrets", nil, &all); err != nil {
		return "", time.Time{}, false, err
	}
	for _, o := range all {
		if strings.EqualFold(o.Target, target) && strings.EqualFold(o.Name, name) {
			return o.Value, o.UpdatedAt, true, nil
		}
	}
	return "", time.Time{}, false, nil
}

// Violations lists the requests that GitHub's description does not allow.
func (r Remote) Violations() ([]string, error) {
	var all []string
	err := r.call(http.MethodGet, "violations", nil, &all)
	return all, err
}

// Requests lists all requests so far as "METHOD path".
func (r Remote) Requests() ([]string, error) {
	var all []string
	err := r.call(http.MethodGet, "requests", nil, &all)
	return all, err
}

func (r Remote) call(method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("encode for the emulator: %w", err)
	}
	req, err := http.NewRequest(method, r.URL+adminPrefix+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask the emulator: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the emulator: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the emulator for %s: %s %s", path, resp.Status, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}
