package versions

import (
	"slices"
	"testing"
)

func TestRead(t *testing.T) {
	f, said, err := read(`{"Action":"start"}
{"Action":"output","Test":"TestA","Output":"one\n"}
{"Action":"pass","Test":"TestA/Within"}
{"Action":"pass","Test":"TestA"}
{"Action":"output","Test":"TestB","Output":"two\n"}
{"Action":"fail","Test":"TestB"}
{"Action":"skip","Test":"TestC"}
{"Action":"fail"}
`)
	if err != nil || f.Passed != 1 || !slices.Equal(f.Failed, []string{"TestB"}) || !slices.Equal(f.Skipped, []string{"TestC"}) {
		t.Errorf("%+v, %v", f, err)
	}
	if text := "1 tests passed, 1 failed, 1 skipped"; said != "one\ntwo\n" || f.String() != text {
		t.Errorf("%q, %q", said, f)
	}
	if _, _, err := read("FAIL: no JSON"); err == nil {
		t.Error("reads what is no JSON")
	}
}
