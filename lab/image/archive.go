// Package image makes container images out of single static Go programs,
// without a registry, a base image or a container engine.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
)

// Image is a file system that holds one program.
type Image struct {
	Name       string   // required; with tag
	Program    string   // required; its name in the root folder
	Aliases    []string // further names of the same file
	Entrypoint []string // required; the command
}

// Write writes the image to w as `docker save` does: a tar file with a layer, a
// configuration and manifest.json (see "Combined Image JSON + Filesystem
// Changeset Format" in the Docker image specification v1.2). program is the
// content of the program. Equal images are equal byte by byte.
func (i Image) Write(w io.Writer, program []byte) error {
	layer, err := i.layer(program)
	if err != nil {
		return fmt.Errorf("write the layer of %q: %w", i.Name, err)
	}
	config, err := i.config(layer)
	if err != nil {
		return fmt.Errorf("write the configuration of %q: %w", i.Name, err)
	}
	configName := digest(config) + ".json"
	manifest, err := json.Marshal([]map[string]any{{
		"Config": configName, "RepoTags": []string{i.Name}, "Layers": []string{"layer.tar"},
	}})
	if err != nil {
		return fmt.Errorf("write the manifest of %q: %w", i.Name, err)
	}
	out := tar.NewWriter(w)
	for _, file := range []struct {
		name string
		body []byte
	}{{"layer.tar", layer}, {configName, config}, {"manifest.json", manifest}} {
		if err := add(out, file.name, 0o644, file.body); err != nil {
			return fmt.Errorf("write the image %q: %w", i.Name, err)
		}
	}
	return out.Close()
}

// layer makes the file system.
func (i Image) layer(program []byte) ([]byte, error) {
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return nil, err
	}
	if err := add(out, i.Program, 0o755, program); err != nil {
		return nil, err
	}
	for _, alias := range i.Aliases {
		link := &tar.Header{Typeflag: tar.TypeLink, Name: alias, Linkname: i.Program, Mode: 0o755}
		if err := out.WriteHeader(link); err != nil {
			return nil, err
		}
	}
	err := out.Close()
	return b.Bytes(), err
}

// config describes the image. containerd imports none whose platform it does
// not know, so os and architecture must be named.
func (i Image) config(layer []byte) ([]byte, error) {
	return json.Marshal(map[string]any{
		"os": "linux", "architecture": runtime.GOARCH,
		"config": map[string]any{"Entrypoint": i.Entrypoint},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(layer)}},
	})
}

func add(out *tar.Writer, name string, mode int64, body []byte) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(body))}
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	_, err := out.Write(body)
	return err
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
