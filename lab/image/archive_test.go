package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrite(t *testing.T) {
	i := Image{Name: "pgrotate.lab/x:1", Program: "x", Aliases: []string{"y"}, Entrypoint: []string{"/x"}}
	files := unpack(t, write(t, i))

	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	decode(t, files["manifest.json"].body, &manifest)
	if len(manifest) != 1 || !cmp.Equal(manifest[0].RepoTags, []string{i.Name}) || len(manifest[0].Layers) != 1 {
		t.Fatalf("manifest %+v", manifest)
	}
	layer := files[manifest[0].Layers[0]].body

	var config struct {
		OS, Architecture string
		Config           struct{ Entrypoint []string }
		RootFS           struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	decode(t, files[manifest[0].Config].body, &config)
	if config.OS != "linux" || config.Architecture != runtime.GOARCH {
		t.Errorf("platform %s/%s", config.OS, config.Architecture)
	}
	if !cmp.Equal(config.Config.Entrypoint, []string{"/x"}) {
		t.Errorf("entrypoint %q", config.Config.Entrypoint)
	}
	if !cmp.Equal(config.RootFS.DiffIDs, []string{"sha256:" + digest(layer)}) {
		t.Errorf("layers %q", config.RootFS.DiffIDs)
	}

	root := unpack(t, layer)
	if x := root["x"]; string(x.body) != "program" || x.Mode != 0o755 {
		t.Errorf("program %q, mode %o", x.body, x.Mode)
	}
	if y := root["y"]; y.Typeflag != tar.TypeLink || y.Linkname != "x" {
		t.Errorf("alias of type %c leads to %q", y.Typeflag, y.Linkname)
	}
}

func TestWriteIsReproducible(t *testing.T) {
	if !bytes.Equal(write(t, All()[1]), write(t, All()[1])) {
		t.Error("two writes of one image differ")
	}
}

func write(t *testing.T, i Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := i.Write(&b, []byte("program")); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type file struct {
	*tar.Header
	body []byte
}

func unpack(t *testing.T, archive []byte) map[string]file {
	t.Helper()
	files := map[string]file{}
	for in := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := in.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = file{header, body}
	}
}

func decode(t *testing.T, text []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}
