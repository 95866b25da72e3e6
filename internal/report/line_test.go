package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/pgrotate/pgrotate/internal/rotation"
	"github.com/pgrotate/pgrotate/internal/secret"
)

func TestAUsualLineIsTheWholeReport(t *testing.T) {
	for name, res := range allCases() {
		document, err := JSON(res, metaOf(name))
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Compact(&want, document); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.String(), line(t, res, metaOf(name))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// manyPods is a rotation of workloads with five pods each, none of which is proven.
func manyPods(workloads int) rotation.Result {
	res := rotatedCase()
	res.Workloads, res.Plan = nil, nil
	for i := range workloads {
		one := workload(fmt.Sprintf("deployment/service-%d", i), 1000, nil)
		for pod := range 5 {
			one.Pods = append(one.Pods, proven(fmt.Sprintf("service-%d-7c8d5f9b4-q8w2%d", i, pod), secret.NotProven, "its health command succeeds under either role; no session of it was seen"))
		}
		res.Workloads = append(res.Workloads, one)
		res.Plan = append(res.Plan, rotation.Line{Step: "restart", Target: one.Name, Change: "5 pods are replaced, at most 2 at a time, because it reads Secret prod/postgres-credentials"})
	}
	return res
}

func TestALineGoesWithoutThePodsFirst(t *testing.T) {
	res := manyPods(1000)
	text, err := JSON(res, usual)
	if err != nil {
		t.Fatal(err)
	}
	whole, short := parsed(t, string(text)), parsed(t, line(t, res, usual))
	if diff := cmp.Diff(map[string]int{"pods": 5000}, short.Shortened); diff != "" {
		t.Errorf("what was left out (-want +got):\n%s", diff)
	}
	if whole.Shortened != nil || len(whole.Workloads) != 1000 || len(whole.Workloads[999].Pods) != 5 {
		t.Errorf("the report itself has %d workloads, and is shortened: %v", len(whole.Workloads), whole.Shortened)
	}
	for i := range whole.Workloads {
		whole.Workloads[i].Pods = []proofInJSON{}
	}
	whole.Shortened = short.Shortened
	if diff := cmp.Diff(whole, short); diff != "" {
		t.Errorf("more than the pods differs (-report +line):\n%s", diff)
	}
}

func TestALineGoesWithoutMoreWhereThePodsAreNotEnough(t *testing.T) {
	for name, tt := range map[string]struct {
		res  rotation.Result
		want map[string]int
	}{
		"plan":    {manyPods(3000), map[string]int{"pods": 15000, "plan": 3000}},
		"largest": {fleet(600), map[string]int{"workloads": 600, "warnings": 600, "findings": 600}},
	} {
		if diff := cmp.Diff(tt.want, parsed(t, line(t, tt.res, usual)).Shortened); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A list that may grow and may not be left out would make an output that GitHub
// does not take.
func TestEveryListMayBeLeftOut(t *testing.T) {
	var names []string
	for _, l := range new(document).lists() {
		names = append(names, l.name)
	}
	shape := reflect.TypeFor[document]()
	for i := range shape.NumField() {
		name, _, _ := strings.Cut(shape.Field(i).Tag.Get("json"), ",")
		if shape.Field(i).Type.Kind() == reflect.Slice && !slices.Contains(names, name) {
			t.Errorf("%q is not among %v", name, names)
		}
	}
}

// line is the output of a result, held to what GitHub takes.
func line(t *testing.T, res rotation.Result, meta Meta) string {
	t.Helper()
	text, err := Line(res, meta)
	if err != nil {
		t.Fatal(err)
	}
	if n := 2 * len(utf16.Encode([]rune(string(text)))); n > 900_000 || bytes.ContainsAny(text, "\r\n") {
		t.Errorf("the output takes %d of 1,000,000 bytes in UTF-16", n)
	}
	return string(text)
}

func parsed(t *testing.T, text string) (d document) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	return d
}
