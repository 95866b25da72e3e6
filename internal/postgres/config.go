package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgrotate/pgrotate/internal/secret"
)

const (
	// ApplicationName is what every session of this program is called in
	// pg_stat_activity.
	ApplicationName = "pgrotate"

	defaultPort    = 5432
	connectTimeout = 10 * time.Second
	keepAwake      = 15 * time.Second // below the idle limits of tunnels and balancers
)

// Config says where PostgreSQL is and as whom to administer it.
type Config struct {
	// URL is the administrator's connection, a URL or keyword=value list. It may
	// be zero behind a tunnel: then user and database are "postgres", the port is
	// 5432 and there is no TLS.
	URL secret.Value
	// Password is the administrator's where URL holds none.
	Password secret.Value
	// CA are the PEM certificates of the authorities that may have signed the
	// server's certificate; empty: sslrootcert of URL, else those of the system.
	CA []byte
	// Dial opens the network connection; nil dials directly.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Tunnel says that Dial leads into the server's pod whatever address it is
	// given. Then TLS is used only where URL has an sslmode other than disable or
	// there is a CA; the host of URL is its name. Without a tunnel sslmode is
	// verify-full unless URL says otherwise.
	Tunnel bool
	// Replicas are the standbys that clients log in at, host:port.
	Replicas []string
	// Keep masks a secret that is born here and returns it as a Value. // required
	Keep func(string) secret.Value
}

// Database changes and judges passwords on one PostgreSQL primary. It is safe
// for concurrent use; one statement runs at a time, and the logins of Holds beside it.
type Database struct {
	place    place
	replicas []replica
	base     *pgx.ConnConfig   // what all connections have in common
	admin    secret.Credential // the administrator's
	options  string            // the administrator's command-line options for the server
	keep     func(string) secret.Value
	ticker   func(time.Duration) (ticks <-chan time.Time, stop func())

	mu         sync.Mutex
	held       *session             // holds the lock; nil without one
	spare      *session             // without a lock, kept for the next use; nil: there is none
	spared     time.Time            // when spare was last used
	lock       string               // the base that held is for
	controlled map[string]challenge // what was asked of a random password, by the role
	altered    bool                 // this has changed a password, and knows it
	turnedAway refusals             // own logins that were refused since then

	waking sync.Mutex // guards rest
	rest   func()     // ends what keeps the session awake, also while it waits for an answer

	looking sync.Mutex // guards next
	next    *look      // the round trip of Check that has not begun; nil: none waits
}

// Open reads the connection settings, and the certificate files they name, and
// connects to nothing. Its errors name the input `postgres-url`, `postgres-ca`,
// `postgres-password` or `postgres-replicas`, and quote nothing but the last one. The PG* environment variables,
// ~/.pgpass and ~/.postgresql are ignored.
func Open(c Config) (*Database, error) {
	settings, password, err := c.settings()
	if err != nil {
		return nil, err
	}
	admin := secret.Credential{User: settings["user"], Password: password}
	if admin.Password.IsZero() {
		admin.Password = c.Password
	}
	place, err := newPlace(c, settings)
	if err != nil {
		return nil, err
	}
	replicas, err := newReplicas(c, settings)
	if err != nil {
		return nil, err
	}
	base, err := common(settings)
	if err != nil {
		return nil, err
	}
	return &Database{place: place, replicas: replicas, base: base, admin: admin, options: settings["options"], keep: c.Keep,
		ticker: everyTick, controlled: map[string]challenge{}, turnedAway: refusals{each: map[string]int{}}}, nil
}

func everyTick(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTicker(d)
	return t.C, t.Stop
}

// settings parses the URL, takes the password out, and fills in what a tunnel implies.
func (c Config) settings() (settings map[string]string, password secret.Value, err error) {
	if c.URL.IsZero() {
		if !c.Tunnel {
			return nil, password, errors.New("read `postgres-url`: it is empty")
		}
		return map[string]string{"host": "localhost", "user": "postgres", "dbname": "postgres"}, password, nil
	}
	settings, err = parseDSN(strings.TrimSpace(c.URL.Reveal()))
	if err != nil {
		return nil, password, fmt.Errorf("read `postgres-url`: %w", err)
	}
	password = c.Keep(settings["password"])
	delete(settings, "password")
	if c.Tunnel && settings["host"] == "" {
		settings["host"] = "localhost"
	}
	if c.Tunnel && settings["user"] == "" {
		settings["user"] = "postgres"
	}
	return settings, password, check(settings)
}

// check refuses settings that could not lead to one primary.
func check(settings map[string]string) error {
	var errs []error
	wrong := func(problem string) { errs = append(errs, errors.New("read `postgres-url`: "+problem)) }
	if settings["host"] == "" {
		wrong("it names no host")
	}
	if strings.Contains(settings["host"]+settings["port"], ",") {
		wrong("it names several hosts: name the primary only")
	}
	if settings["user"] == "" {
		wrong("it names no user")
	}
	if _, err := port(settings); err != nil {
		wrong("the port is not a number from 1 to 65535")
	}
	if _, err := timeout(settings); err != nil {
		wrong("connect_timeout is not a number of seconds")
	}
	if !slices.Contains([]string{"", "any", "read-write", "primary"}, settings["target_session_attrs"]) {
		wrong("target_session_attrs asks for a standby: a password changes on the primary only")
	}
	return errors.Join(errs...)
}

func port(settings map[string]string) (uint16, error) {
	if settings["port"] == "" {
		return defaultPort, nil
	}
	n, err := strconv.ParseUint(settings["port"], 10, 16)
	if err == nil && n == 0 {
		err = strconv.ErrRange
	}
	return uint16(n), err
}

func timeout(settings map[string]string) (time.Duration, error) {
	if settings["connect_timeout"] == "" {
		return connectTimeout, nil
	}
	n, err := strconv.ParseUint(settings["connect_timeout"], 10, 16)
	if n == 0 { // libpq: no limit
		return connectTimeout, err
	}
	return time.Duration(n) * time.Second, err
}
