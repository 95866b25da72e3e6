package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"github.com/pgrotate/pgrotate/internal/secret"
)

const hidden = "Hidden1Password"

// holder carries a secret in every way in which a struct can.
type holder struct {
	Value   secret.Value
	Pointer *secret.Value
	List    []secret.Value
	Map     map[string]secret.Value
	Any     any
	Inner   secret.Credential
	quiet   secret.Value
	deep    *struct{ value secret.Value }
	quietly map[string]secret.Value
}

func held() holder {
	v := secret.New(hidden)
	return holder{Value: v, Pointer: &v, List: []secret.Value{v}, Map: map[string]secret.Value{"a": v}, Any: v,
		Inner: secret.Credential{User: "alfred_user", Password: v, Verifier: v, Keys: map[string]secret.Value{"password": v}},
		quiet: v, deep: &struct{ value secret.Value }{v}, quietly: map[string]secret.Value{"a": v}}
}

// shapes are the values that somebody may print or encode.
func shapes() map[string]any {
	v, h := secret.New(hidden), held()
	return map[string]any{"value": v, "pointer": &v, "slice": []secret.Value{v}, "array": [1]secret.Value{v}, "map": map[string]secret.Value{"a": v},
		"interface": []any{v}, "struct": h, "pointer to struct": &h, "unexported field": struct{ v secret.Value }{v},
		"embedded": struct{ secret.Value }{v}, "credential": h.Inner, "snapshot": secret.Snapshot{Credential: h.Inner},
		"document": secret.Document{Data: h.Map}}
}

// wantHidden fails when text holds the secret, or its bytes as a formatter
// writes those.
func wantHidden(t *testing.T, doing, text string) {
	t.Helper()
	for _, form := range []string{hidden, fmt.Sprintf("%x", hidden), fmt.Sprintf("%X", hidden), fmt.Sprintf("% x", hidden),
		strings.Trim(fmt.Sprint([]byte(hidden)), "[]"), "SGlkZGVuMVBhc3N3b3Jk"} {
		if strings.Contains(text, form) {
			t.Errorf("%s: %q shows the secret", doing, text)
		}
	}
}

func TestNoVerbPrintsASecret(t *testing.T) {
	for name, shape := range shapes() {
		for _, verb := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
			for _, flags := range []string{"", "+", "#", " ", "0", "-", "+#", "# ", "40", "-40", ".3", "40.3", "#40"} {
				format := "%" + flags + string(verb)
				wantHidden(t, name+" by "+format, fmt.Sprintf(format, shape))
			}
		}
		wrapped := fmt.Errorf("wrap: %v", shape)
		wantHidden(t, name, fmt.Sprint(shape)+fmt.Sprintln(shape)+wrapped.Error()+errors.Join(wrapped, wrapped).Error()+fmt.Sprintf("%+v", errors.Join(wrapped)))
	}
}

func TestEveryVerbPrintsThePlaceholder(t *testing.T) {
	for _, v := range []secret.Value{secret.New(hidden), {}} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "% x", "%40s", "%.3s"} {
			if got := fmt.Sprintf(format, v); got != "[secret]" {
				t.Errorf("%s prints %q", format, got)
			}
		}
		if v.String() != "[secret]" || v.GoString() != "[secret]" {
			t.Errorf("String %q, GoString %q", v.String(), v.GoString())
		}
	}
}

func TestLogsShowThePlaceholder(t *testing.T) {
	for name, shape := range shapes() {
		var out bytes.Buffer
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(handler).With("with", shape).WithGroup("group").Info("said", "shape", shape, slog.Group("inner", "shape", shape))
		}
		wantHidden(t, name, out.String())
		if name == "value" && strings.Count(out.String(), "[secret]") != 6 {
			t.Errorf("%q does not show where the secret was", out.String())
		}
	}
}

// field and pointerField have names because XML elements need one.
type (
	field        struct{ V secret.Value }
	pointerField struct{ V *secret.Value }
	attribute    struct {
		V secret.Value `xml:"v,attr" json:"v,omitempty" yaml:"v,omitempty"`
	}
)

func TestEncodersRefuse(t *testing.T) {
	for encoder, encode := range map[string]func(any) ([]byte, error){
		"json": json.Marshal, "xml": xml.Marshal, "gob": encodeGob, "yaml": yaml.Marshal, "yaml v3": yamlv3.Marshal,
	} {
		v := secret.New(hidden)
		for name, shape := range map[string]any{"value": v, "pointer": &v, "slice": []secret.Value{v}, "field": field{v}, "pointer field": pointerField{&v}, "attribute": attribute{v}} {
			text, err := caught(encode, shape)
			if err == nil || !strings.Contains(err.Error(), "encode a secret: refused") {
				t.Errorf("%s of a %s: %q, %v", encoder, name, text, err)
			}
		}
		for name, shape := range shapes() {
			text, err := caught(encode, shape)
			wantHidden(t, encoder+" of a "+name, fmt.Sprintf("%s %v", text, err))
		}
	}
}

func encodeGob(v any) ([]byte, error) {
	var out bytes.Buffer
	err := gob.NewEncoder(&out).Encode(v)
	return out.Bytes(), err
}

// caught turns the panic by which some libraries report an error into one.
func caught(encode func(any) ([]byte, error), v any) (text []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%v", cause)
		}
	}()
	return encode(v)
}

// TestPanicsShowThePlaceholder dies in a process of its own: what the runtime
// prints passes no writer of ours.
func TestPanicsShowThePlaceholder(t *testing.T) {
	const chosen = "PGROTATE_PANIC_WITH"
	if name := os.Getenv(chosen); name != "" {
		panic(shapes()[name])
	}
	for name := range shapes() {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPanicsShowThePlaceholder$")
		cmd.Env = append(os.Environ(), chosen+"="+name, "GOTRACEBACK=system")
		text, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(text), "panic: ") {
			t.Errorf("panic with a %s: no panic: %v\n%s", name, err, text)
		}
		wantHidden(t, "panic with a "+name, string(text))
		if name == "value" && !strings.Contains(string(text), "[secret]") {
			t.Errorf("the panic does not show where the secret was:\n%s", text)
		}
	}
}

func TestTemplatesAndDiffsShowNothing(t *testing.T) {
	h := held()
	for _, text := range []string{"{{.}}", "{{.Value}}", "{{.Inner}}", "<script>{{.Value}}</script>", "<a href='{{.Value}}'>"} {
		var out bytes.Buffer
		err := template.Must(template.New("").Parse(text)).Execute(&out, h)
		wantHidden(t, text, fmt.Sprintf("%s %v", out.String(), err))
	}
	wantHidden(t, "diff", cmp.Diff(h.Inner, secret.Credential{User: "alfred_user", Password: secret.New("other")}))
}

func TestValue(t *testing.T) {
	v, zero := secret.New(hidden), secret.Value{}
	if v.Reveal() != hidden || v.IsZero() {
		t.Error("a secret does not reveal what it was made of")
	}
	if zero.Reveal() != "" || !zero.IsZero() || !secret.New("").IsZero() {
		t.Error("the zero Value and that of an empty string are not both no secret")
	}
	for _, c := range []struct {
		a, b secret.Value
		same bool
	}{
		{v, secret.New(hidden), true}, {v, secret.New(hidden + "x"), false}, {v, secret.New("hidden1Password"), false},
		{v, zero, false}, {zero, v, false}, {zero, secret.New(""), true},
	} {
		if c.a.Equal(c.b) != c.same {
			t.Errorf("%d and %d characters: equal is %v", len(c.a.Reveal()), len(c.b.Reveal()), !c.same)
		}
	}
}

func TestVerdictsHaveNames(t *testing.T) {
	for verdict, want := range map[secret.Verdict]string{secret.Unknown: "unknown", secret.No: "no", secret.Yes: "yes", secret.Closed: "yes but closed"} {
		if verdict.String() != want {
			t.Errorf("%q, want %q", verdict, want)
		}
	}
}
