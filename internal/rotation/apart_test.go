package rotation

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// TestApart takes joined errors apart and leaves what was said already out; an error
// that weaves others into a sentence is one.
func TestApart(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	woven := fmt.Errorf("%w, then %w", a, b)
	for _, test := range []struct {
		errs []error
		want []error
	}{
		{nil, nil},
		{[]error{nil, a, nil}, []error{a}},
		{[]error{errors.Join(a, errors.Join(b, a)), b, errors.New("b")}, []error{a, b}},
		{[]error{woven, a}, []error{woven, a}},
	} {
		if got := apart(test.errs...); !slices.Equal(got, test.want) {
			t.Errorf("%v: %v, want %v", test.errs, got, test.want)
		}
	}
}
