package leak

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// awkward has characters that every encoding changes in its own way.
const awkward = `Tr0ub4"do<&>'3 +/?%\é` + "\t-canary"

func TestEveryEncodingIsFound(t *testing.T) {
	forms := map[string]string{}
	for _, e := range Encodings() {
		form := e.Encode(awkward)
		if other := forms[form]; other != "" {
			t.Errorf("%s and %s look the same: this secret cannot tell them apart", e.Name, other)
		}
		forms[form] = e.Name
		hits := known(awkward).In("a text", "before "+form+" after")
		if want := fmt.Sprintf("a text holds the secret (%s)", e.Name); len(hits) != 1 || hits[0] != want {
			t.Errorf("%s: found %q", e.Name, hits)
		}
	}
	if len(forms) != 12 {
		t.Errorf("%d encodings are looked for", len(forms))
	}
}

// TestBase64OfALongerText: what stands around a secret shifts its base64.
func TestBase64OfALongerText(t *testing.T) {
	encode := Encodings()[1].Encode
	for range 100 {
		before, after := strings.Repeat("x", rand.IntN(9)), strings.Repeat("y", rand.IntN(9))
		if hits := known(awkward).In("it", encode(before+awkward+after+"12")); len(hits) == 0 {
			t.Errorf("not found between %d and %d other characters", len(before), len(after))
		}
	}
}

func TestNothingIsFoundWhereNothingIs(t *testing.T) {
	for _, search := range []*Search{known(awkward), known(""), {}} {
		if hits := search.In("it", "a harmless text with nothing of it"); len(hits) != 0 {
			t.Errorf("found %q", hits)
		}
	}
}

func known(secret string) *Search {
	var s Search
	s.Add("the secret", secret)
	return &s
}
