// Package pki is the lab's certificate authority: one CA, made anew for each
// lab, that signs every certificate in it.
package pki

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// life is how long every certificate is valid.
const life = 10 * 365 * 24 * time.Hour

// Authority is the part that signs certificates into a folder.
type Authority struct {
	Folder string // required; holds ca.crt and what Issue makes
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

// Start makes the authority.
func (a *Authority) Start(context.Context) error {
	if err := os.MkdirAll(a.Folder, 0o755); err != nil {
		return fmt.Errorf("make the certificate folder: %w", err)
	}
	template := certificate(pkix.Name{CommonName: "pgrotate lab"})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the authority's key: %w", err)
	}
	a.cert, a.key = template, key
	return a.sign("ca", template, key)
}

// Ready reads the authority's certificate and key.
func (a *Authority) Ready(context.Context) error { return a.load() }

// Stop does nothing: the authority ends with its folder.
func (*Authority) Stop(context.Context) error { return nil }

// CA returns the path of the authority's own certificate.
func (a *Authority) CA() string { return a.Cert("ca") }

// Cert returns the path of the certificate called name.
func (a *Authority) Cert(name string) string { return filepath.Join(a.Folder, name+".crt") }

// Key returns the path of the private key called name, a PEM file of mode 0600.
func (a *Authority) Key(name string) string { return filepath.Join(a.Folder, name+".key") }

// Issue makes <name>.crt and <name>.key, where they are not there yet, for a
// server on localhost and for a client that Kubernetes knows as user, in groups
// (common name and organizations, see "X509 client certificates" in the
// Kubernetes page on authentication).
func (a *Authority) Issue(name, user string, groups ...string) error {
	if _, err := os.Stat(a.Cert(name)); err == nil {
		return nil
	}
	template := certificate(pkix.Name{CommonName: user, Organization: groups})
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make the key of %q: %w", name, err)
	}
	return a.sign(name, template, key)
}

func certificate(subject pkix.Name) *x509.Certificate {
	serial := make([]byte, 16)
	rand.Read(serial)
	return &x509.Certificate{
		Subject:      subject,
		SerialNumber: new(big.Int).SetBytes(serial),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(life),
	}
}

// sign writes the key first: whoever finds the certificate finds both.
func (a *Authority) sign(name string, template *x509.Certificate, key *ecdsa.PrivateKey) error {
	cert, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return fmt.Errorf("sign the certificate of %q: %w", name, err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode the key of %q: %w", name, err)
	}
	if err := write(a.Key(name), 0o600, "EC PRIVATE KEY", private); err != nil {
		return err
	}
	return write(a.Cert(name), 0o644, "CERTIFICATE", cert)
}

func write(path string, mode os.FileMode, kind string, der []byte) error {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, text, mode); err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return nil
}

func (a *Authority) load() error {
	cert, err := read(a.CA())
	if err != nil {
		return err
	}
	key, err := read(a.Key("ca"))
	if err != nil {
		return err
	}
	if a.cert, err = x509.ParseCertificate(cert); err != nil {
		return fmt.Errorf("parse %q: %w", a.CA(), err)
	}
	if a.key, err = x509.ParseECPrivateKey(key); err != nil {
		return fmt.Errorf("parse %q: %w", a.Key("ca"), err)
	}
	return nil
}

func read(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", path, err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("read %q: no PEM", path)
	}
	return block.Bytes, nil
}
