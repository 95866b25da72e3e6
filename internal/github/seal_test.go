package github

import (
	"bufio"
	"encoding/base64"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/pgrotate/pgrotate/internal/labtest"
	"github.com/pgrotate/pgrotate/internal/secret"
)

// opener is libsodium by way of PyNaCl (Debian: python3-nacl): it prints a new public key and opens
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
	python := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", opener)
	stdin, err := python.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := python.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	python.Stderr = t.Output()
	if err := python.Start(); err != nil {
		t.Fatalf("start Debian's python3: %v", err)
	}
	stdout := bufio.NewReader(pipe)
	line, err := stdout.ReadString('\n')
	if err != nil {
		t.Fatalf("python3 with the package python3-nacl gives no key: %v", err)
	}
	public, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	key := &publicKey{id: "1", point: [32]byte(public)}
	body, err := key.seal(secret.New(value))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stdin.Write([]byte(body.Value + "\n")); err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(stdout)
	if err := errors.Join(err, python.Wait()); err != nil {
		t.Fatal(err)
	}
	return string(plain)
}
