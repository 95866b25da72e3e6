package rotation

import "testing"

// A panic beside others is told by whoever waits for them, not the end of the process.
func TestAPanicBesideOthersIsTheCallers(t *testing.T) {
	ended := false
	defer func() {
		if cause := recover(); cause != "a fault of its own" || !ended {
			t.Errorf("%v, the other one has ended: %t", cause, ended)
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
