package github

import (
	"encoding/base64"
	"os/exec"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// opener is libsodium by way of PyNaCl: it prints a new public key and opens
// what it then reads.
const opener = `
import sys, base64, nacl.public
key = nacl.public.PrivateKey.generate()
print(base64.b64encode(bytes(key.public_key)).decode(), flush=True)
sealed = base64.b64decode(sys.stdin.readline())
sys.stdout.write(nacl.public.SealedBox(key).decrypt(sealed).decode())
`

func TestLibsodiumOpensIt(t *testing.T) {
	labtest.Open(t)
	for _, want := range []string{"Xq7rotatedpasswordZ", "p", strings.Repeat("ä✓", 1000)} {
		if got := opened(t, want); got != want {
			t.Errorf("libsodium opens %q, want %q", got, want)
		}
	}
}

func opened(t *testing.T, value string) string {
	t.Helper()
	python := exec.CommandContext(t.Context(), "python3", "-c", opener)
	stdin, err := python.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := &answers{lines: make(chan string, 1)}
	python.Stdout, python.Stderr = stdout, t.Output()
	if err := python.Start(); err != nil {
		t.Fatalf("start python3 with the package python3-nacl: %v", err)
	}
	public, err := base64.StdEncoding.DecodeString(<-stdout.lines)
	if err != nil {
		t.Fatal(err)
	}
	key := &publicKey{id: "1", point: [32]byte(public)}
	body, err := key.seal(secret.New(value))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write([]byte(body.EncryptedValue + "\n")); err != nil {
		t.Fatal(err)
	}
	if err := python.Wait(); err != nil {
		t.Fatal(err)
	}
	return stdout.rest.String()
}

// answers hands on the first line and keeps the rest.
type answers struct {
	lines chan string
	rest  strings.Builder
	began bool
}

func (a *answers) Write(p []byte) (int, error) {
	if a.began {
		return a.rest.Write(p)
	}
	a.began = true
	line, rest, _ := strings.Cut(string(p), "\n")
	a.lines <- line
	a.rest.WriteString(rest)
	return len(p), nil
}
