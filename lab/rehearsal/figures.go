package rehearsal

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Figures are what one rotation of the platform took.
type Figures struct {
	Total     time.Duration // from the start to the end of the process
	Preflight time.Duration
	Slowest   time.Duration // rollout, until the last old pod has ended
	Window    time.Duration // from ALTER ROLE to the end of the restart, as the report tells it
	Seen      time.Duration // from the first to the last refused login of the services
	Refused   int           // logins of the services in that window
	Memory    int64         // largest resident set, bytes
	Image     int64         // compressed size of the image, bytes
}

// String tells the figures with the goals that they have.
func (f Figures) String() string {
	const mib = 1 << 20
	return fmt.Sprintf(`figures
  whole rotation               %s
  preflight                    %s (goal: under 1 s)
  beyond the slowest rollout   %s (goal: under 0.5 s)
  refused logins               %d within %s, the report tells %s
  peak memory                  %.1f MiB (goal: under 60 MiB)
  image, compressed            %.1f MB (goal: under 15 MB)
`, f.Total.Round(time.Millisecond), f.Preflight, (f.Total - f.Slowest).Round(time.Millisecond), f.Refused, f.Seen.Round(time.Millisecond), f.Window, float64(f.Memory)/mib, float64(f.Image)/1e6)
}

// authorities is the other file of the image.
const authorities = "/etc/ssl/certs/ca-certificates.crt"

// compressed returns the size of the image's layer: the program and the
// certificate authorities, as gzip stores them.
func compressed(program string) (size int64, err error) {
	for _, name := range []string{program, authorities} {
		n, err := gzipped(name)
		if err != nil && !(name == authorities && errors.Is(err, os.ErrNotExist)) {
			return 0, fmt.Errorf("measure the image: %w", err)
		}
		size += n
	}
	return size, nil
}

func gzipped(name string) (int64, error) {
	file, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var n counter
	z := gzip.NewWriter(&n)
	if _, err := io.Copy(z, file); err != nil {
		return 0, err
	}
	return int64(n), z.Close()
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
