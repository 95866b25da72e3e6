package rehearsal

import (
	"fmt"
	"os"
	"testing"

	"github.com/pgrotate/pgrotate/internal/labtest"
)

// TestRotatesThePlatform rotates once and prints the figures; times are only
// printed, sizes do not depend on the machine and are held.
func TestRotatesThePlatform(t *testing.T) {
	lab := labtest.Open(t)
	lab.Platform(t)
	r := Rehearsal{Lab: lab, Source: "../..", Folder: t.TempDir(), Out: t.Output()}
	figures, err := r.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(os.Stdout, figures)
	if figures.Preflight == 0 || figures.Slowest == 0 {
		t.Errorf("the report tells no time of the preflight, or no rollout was seen: %+v", figures)
	}
	if figures.Memory == 0 || figures.Memory > 60<<20 {
		t.Errorf("peak memory is %d bytes", figures.Memory)
	}
	if figures.Refused == 0 {
		t.Error("no login of the services was refused: they do not log in while the password changes, and the window says nothing")
	}
	if figures.Window < figures.Seen*8/10 {
		t.Errorf("the report tells of a window of %s, the services have seen one of %s", figures.Window, figures.Seen)
	}
	if figures.Image > 15_000_000 {
		t.Errorf("the compressed image has %d bytes", figures.Image)
	}
}

// TestSwitchesRolesOfThePlatform goes to the twin and back under load: no login
// is refused.
func TestSwitchesRolesOfThePlatform(t *testing.T) {
	lab := labtest.Open(t)
	lab.Platform(t)
	for _, way := range []string{"there", "back"} {
		r := Rehearsal{Lab: lab, Source: "../..", Folder: t.TempDir(), Out: t.Output(), Strategy: "alternate"}
		figures, err := r.Run(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", way, err)
		}
		fmt.Fprintf(os.Stdout, "alternate, %s: %s", way, figures)
	}
}
