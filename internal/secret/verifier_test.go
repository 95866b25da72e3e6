package secret_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/secret"
)

// The example of RFC 7677, section 3: user "user", password "pencil".
const (
	rfcPassword = "pencil"
	rfcSalt     = "W22ZaJ0SNY7soEsUEjb6gQ=="
	rfcAuth     = "n=user,r=rOprNGfwEbeRWgbNEkqO," +
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096," +
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	rfcProof     = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	rfcSignature = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
)

func TestVerifierOfTheRFC(t *testing.T) {
	text := secret.SCRAM(rfcPassword, rfcSalt, 4096)
	keys, ok := strings.CutPrefix(text, "SCRAM-SHA-256$4096:"+rfcSalt+"$")
	if !ok {
		t.Fatalf("verifier %q does not begin with its salting", text)
	}
	stored, server, _ := strings.Cut(keys, ":")
	storedKey, serverKey := unbase64(t, stored), unbase64(t, server)
	if got := base64.StdEncoding.EncodeToString(signature(serverKey)); got != rfcSignature {
		t.Errorf("server signature %s, the RFC has %s", got, rfcSignature)
	}
	client := unbase64(t, rfcProof)
	for i, b := range signature(storedKey) {
		client[i] ^= b
	}
	if sum := sha256.Sum256(client); !hmac.Equal(sum[:], storedKey) {
		t.Error("the stored key does not accept the RFC's client proof")
	}
	if text := secret.SCRAM(rfcPassword, "no base64", 4096); text != "" {
		t.Errorf("a salt that is none makes %q", text)
	}
}

// signature is that of the RFC's exchange.
func signature(key []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(rfcAuth))
	return h.Sum(nil)
}

func unbase64(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestMD5 compares with what PostgreSQL 15 stores for this role and password.
func TestMD5(t *testing.T) {
	if got, want := secret.MD5("app", "pencil"), "md506d701b4dd9f7cbb00816251a451b978"; got != want {
		t.Errorf("hashed = %s, want %s", got, want)
	}
}
