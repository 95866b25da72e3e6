package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"slices"
	"testing"
)

func TestIssue(t *testing.T) {
	a := &Authority{Folder: t.TempDir()}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := &Authority{Folder: a.Folder} // of a later command
	if err := again.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := again.Issue("kubelet", "system:node:localhost", "system:nodes"); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(a.Cert("kubelet"), a.Key("kubelet"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(a.CA())
	if err != nil || !roots.AppendCertsFromPEM(ca) {
		t.Fatal("no authority", err)
	}
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("as server %s: %v", name, err)
		}
	}
	client := x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := pair.Leaf.Verify(client); err != nil {
		t.Errorf("as client: %v", err)
	}
	if s := pair.Leaf.Subject; s.CommonName != "system:node:localhost" || !slices.Equal(s.Organization, []string{"system:nodes"}) {
		t.Errorf("subject %s", s)
	}
	info, err := os.Stat(a.Key("kubelet"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key %v, %v", info.Mode(), err)
	}
}

func TestIssueKeepsWhatIsThere(t *testing.T) {
	a := &Authority{Folder: t.TempDir()}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var texts [2]string
	for i := range texts {
		if err := a.Issue("x", "x"); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(a.Cert("x"))
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(text)
	}
	if texts[0] != texts[1] {
		t.Error("issued twice")
	}
}

func TestReadyWithoutAnAuthority(t *testing.T) {
	if (&Authority{Folder: t.TempDir()}).Ready(t.Context()) == nil {
		t.Error("an empty folder was taken for an authority")
	}
}
