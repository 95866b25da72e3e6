package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Names of the images that the lab has. Each holds one program below lab/pod.
const (
	Pause   = "pgrotate.lab/pause:1"
	Service = "pgrotate.lab/service:1"
	Forward = "pgrotate.lab/forward:1"
)

// All returns the images of the lab.
func All() []Image {
	return []Image{
		{Name: Pause, Program: "pause", Entrypoint: []string{"/pause"}},
		{Name: Service, Program: "service", Aliases: []string{"healthcheck"}, Entrypoint: []string{"/service"}},
		{Name: Forward, Program: "forward", Entrypoint: []string{"/forward"}},
	}
}

// Builder is the part that builds the images.
type Builder struct {
	Source string // required; the lab's module
	Folder string // required; the programs and <program>.tar go here
}

// Archives returns the files that hold the images, by image name.
func (b Builder) Archives() map[string]string {
	archives := map[string]string{}
	for _, i := range All() {
		archives[i.Name] = b.archive(i)
	}
	return archives
}

// Start builds the programs and packs them.
func (b Builder) Start(ctx context.Context) error {
	if err := os.MkdirAll(b.Folder, 0o700); err != nil {
		return fmt.Errorf("make the folder of the images: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags=-s -w", "-o", b.Folder+"/", "./pod/...")
	cmd.Dir = b.Source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // no writer is left behind
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the programs of the pods: %w\n%s", err, out)
	}
	for _, i := range All() {
		if err := b.pack(i); err != nil {
			return err
		}
	}
	return nil
}

func (b Builder) pack(i Image) error {
	program, err := os.ReadFile(filepath.Join(b.Folder, i.Program))
	if err != nil {
		return fmt.Errorf("read the program of %q: %w", i.Name, err)
	}
	file, err := os.Create(b.archive(i) + ".part")
	if err != nil {
		return fmt.Errorf("write the image %q: %w", i.Name, err)
	}
	defer file.Close()
	if err := i.Write(file, program); err != nil {
		return err
	}
	return os.Rename(file.Name(), b.archive(i))
}

// Ready tells whether the archives are there.
func (b Builder) Ready(context.Context) error {
	for _, archive := range b.Archives() {
		if _, err := os.Stat(archive); err != nil {
			return err
		}
	}
	return nil
}

// Stop removes the archives: the next lab builds what its sources say by then.
func (b Builder) Stop(context.Context) error { return os.RemoveAll(b.Folder) }

func (b Builder) archive(i Image) string { return filepath.Join(b.Folder, i.Program+".tar") }
