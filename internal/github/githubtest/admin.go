package githubtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// adminPrefix is where another process scripts the emulator; GitHub has no such
// path.
const adminPrefix = "/_emulator/"

// opened is a secret as the admin path shows it.
type opened struct {
	Target    string    `json:"target"`
	Name      string    `json:"name"`
	Value     string    `json:"value"`
	UpdatedAt time.Time `json:"updated_at"`
}

// serveAdmin answers an admin request: see Remote for what each does.
func (s *Server) serveAdmin(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if mistake := recover(); mistake != nil {
			http.Error(w, fmt.Sprint(mistake), http.StatusBadRequest)
		}
	}()
	var body struct {
		Setup
		Fault  Fault  `json:"fault"`
		Target string `json:"target"`
	}
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	var out any
	switch r.Method + " " + strings.TrimPrefix(r.URL.Path, adminPrefix) {
	case "POST setup":
		s.Setup(body.Setup)
	case "POST fault":
		s.Fault(body.Fault)
	case "DELETE faults":
		s.ClearFaults()
	case "POST rotate-key":
		s.RotateKey(body.Target)
	case "GET secrets":
		out = s.opened()
	case "GET violations":
		out = s.Violations()
	case "GET requests":
		out = s.Requests()
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out)
}

func (s *Server) opened() []opened {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []opened{}
	for target, v := range s.vaults {
		for _, e := range v.secrets {
			all = append(all, opened{Target: target, Name: e.Name, Value: e.Value, UpdatedAt: e.UpdatedAt})
		}
	}
	return all
}
