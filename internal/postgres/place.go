package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// sslRequest is the message that asks for TLS, see
// https://www.postgresql.org/docs/current/protocol-message-formats.html.
const sslRequest = 80877103

var errNoTLS = errors.New("the server does not speak TLS")

// place is where the server is and how the way there is protected. The
// administrator, the salt probe and the logins all go this way.
type place struct {
	network string // tcp or unix
	address string
	host    string
	port    uint16
	timeout time.Duration
	tls     *tls.Config // nil: none
	tlsOnly bool        // false: go on without TLS where the server has none
	open    func(ctx context.Context, network, address string) (net.Conn, error)
	direct  bool // no tunnel and no hook: addresses mean what they say
	proven  bool // whoever answers is the server: it may be told a password in clear text
}

func newPlace(c Config, settings map[string]string) (place, error) {
	p := place{host: settings["host"], open: c.Dial, direct: c.Dial == nil}
	if p.direct {
		dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
		p.open = dialer.DialContext
	}
	p.port, _ = port(settings)
	p.timeout, _ = timeout(settings)
	p.network, p.address = pgconn.NetworkAddress(p.host, p.port)
	if p.proven = c.Tunnel || p.network == "unix" || isLoopback(p.host); p.network == "unix" {
		return p, nil
	}
	var err error
	p.tls, p.tlsOnly, err = tlsRules(c, settings)
	p.proven = p.proven || p.tlsOnly && verifies(p.tls)
	return p, err
}

func isLoopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// verifies tells whether a certificate has to be one that an authority signed.
func verifies(c *tls.Config) bool { return !c.InsecureSkipVerify || c.VerifyConnection != nil }

// dial opens the way to address, or to the place itself where it is empty.
func (p place) dial(ctx context.Context, address string) (net.Conn, error) {
	if address == "" {
		address = p.address
	}
	conn, err := p.open(ctx, p.network, address)
	if err != nil || p.tls == nil {
		return conn, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	secured, err := p.secure(ctx, conn)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

// secure asks the server for TLS and begins it.
func (p place) secure(ctx context.Context, conn net.Conn) (net.Conn, error) {
	if err := binary.Write(conn, binary.BigEndian, []uint32{8, sslRequest}); err != nil {
		return nil, err
	}
	answer := make([]byte, 1) // no byte more: what follows belongs to TLS
	if _, err := io.ReadFull(conn, answer); err != nil {
		return nil, err
	}
	switch {
	case answer[0] == 'S':
		secured := tls.Client(conn, p.tls)
		return secured, secured.HandshakeContext(ctx)
	case answer[0] == 'N' && !p.tlsOnly:
		return conn, nil
	}
	return nil, errNoTLS
}

// tlsRules turns sslmode into a TLS configuration, see
// https://www.postgresql.org/docs/current/libpq-ssl.html. Unlike libpq, verify-full
// is the rule and not the exception; allow is taken for prefer.
func tlsRules(c Config, settings map[string]string) (config *tls.Config, only bool, err error) {
	roots, err := authorities(c, settings)
	if err != nil {
		return nil, false, err
	}
	config = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: settings["host"], RootCAs: roots}
	if config.Certificates, err = ownCertificate(settings); err != nil {
		return nil, false, err
	}
	switch effectiveMode(c, settings, roots) {
	case "", "verify-full":
		return config, true, nil
	case "disable":
		return nil, false, nil
	case "prefer", "allow":
		config.InsecureSkipVerify = true
		return config, false, nil
	case "verify-ca":
		return chainOnly(config), true, nil
	case "require":
		if roots != nil {
			return chainOnly(config), true, nil
		}
		config.InsecureSkipVerify = true
		return config, true, nil
	}
	return nil, false, errors.New("read `postgres-url`: sslmode is none of disable, allow, prefer, require, verify-ca, verify-full")
}

// effectiveMode applies the rules for what sslmode does not say.
func effectiveMode(c Config, settings map[string]string, roots *x509.CertPool) string {
	switch mode := settings["sslmode"]; {
	case settings["sslrootcert"] == "system": // libpq: nothing weaker makes sense
		return "verify-full"
	case mode == "" && c.Tunnel && roots == nil:
		return "disable"
	default:
		return mode
	}
}

// chainOnly verifies who signed the certificate, and not whose it is.
func chainOnly(config *tls.Config) *tls.Config {
	roots := config.RootCAs
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state tls.ConnectionState) error {
		between := x509.NewCertPool()
		for _, cert := range state.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		return err
	}
	return config
}

// authorities returns the roots to trust, nil for those of the system.
func authorities(c Config, settings map[string]string) (*x509.CertPool, error) {
	pem, input := c.CA, "`postgres-ca`"
	if file := settings["sslrootcert"]; len(pem) == 0 && file != "" && file != "system" {
		var err error
		input = "sslrootcert of `postgres-url`"
		if pem, err = os.ReadFile(file); err != nil {
			return nil, fmt.Errorf("read %s: %w", input, fileError(err))
		}
	}
	if len(pem) == 0 {
		return nil, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read %s: it holds no certificate", input)
	}
	return roots, nil
}

// ownCertificate loads the administrator's client certificate, if it has one.
func ownCertificate(settings map[string]string) ([]tls.Certificate, error) {
	cert, key := settings["sslcert"], settings["sslkey"]
	if cert == "" && key == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read sslcert and sslkey of `postgres-url`: %w", fileError(err))
	}
	return []tls.Certificate{pair}, nil
}

// fileError leaves out the path: it is a part of the input.
func fileError(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
