package secret

import (
	"cmp"
	"time"
)

// Sessions are the open sessions of one role that come from one client.
type Sessions struct {
	Role        string    // that logged in
	Application string    // application_name: what the client calls itself
	Address     string    // IP address; empty: a Unix socket, or hidden
	Former      int       // opened before the change
	Since       time.Time // when the oldest of those was; zero: there is none
	Recent      int       // opened after it
	Hidden      int       // whose start the administrator may not see
}

// Origin is where a cluster has an IP address.
type Origin struct {
	Pods   []string // that have it, "namespace/name"
	Owners []string // what restarts each of them, "kind/name"
	// Shared says that it is a node's: it may be any of the pods, another behind
	// the node, or a process of the node.
	Shared bool
}

// Socket is how PostgreSQL's log names the client of a Unix socket.
const Socket = "[local]"

// Refused are logins of one client that the database has refused.
type Refused struct {
	Role    string // that it wanted to log in as
	Address string // IP address, or Socket; empty: the log does not tell
	Logins  int
}

// Compare puts the client with the most refused logins first.
func (r Refused) Compare(other Refused) int {
	return cmp.Or(cmp.Compare(other.Logins, r.Logins), cmp.Compare(r.Role, other.Role), cmp.Compare(r.Address, other.Address))
}
