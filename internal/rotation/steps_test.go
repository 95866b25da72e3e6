package rotation

import (
	"fmt"
	"strings"
	"testing"
)

// A panic beside others is told by whoever waits for them, not the end of the process.
func TestAPanicBesideOthersIsTheCallers(t *testing.T) {
	ended := false
	defer func() {
		cause := fmt.Sprint(recover())
		if !strings.HasPrefix(cause, "a fault of its own, in:") || !strings.Contains(cause, "steps_test.go") || !ended {
			t.Errorf("%s, the other one has ended: %t", cause, ended)
		}
	}()
	each([]bool{true, false}, func(faulty bool) error {
		if faulty {
			panic("a fault of its own")
		}
		ended = true
		return nil
	})
}
