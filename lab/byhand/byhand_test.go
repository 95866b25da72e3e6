package byhand

import (
	"fmt"
	"os"
	"testing"

	"github.com/pgrotate/pgrotate/internal/labtest"
)

// TestRotatesByHand rotates once, so that the figures of pgrotate have others to
// stand beside. That it refuses logins is what pgrotate is for: a count of none
// would say that nobody counts.
func TestRotatesByHand(t *testing.T) {
	lab := labtest.Open(t)
	lab.Platform(t)
	figures, err := Rotate(t.Context(), lab, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(os.Stdout, figures)
	if figures.Refused == 0 {
		t.Error("no login was refused")
	}
	if figures.Memory == 0 {
		t.Error("no memory was measured")
	}
}
