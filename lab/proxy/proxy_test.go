package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// before returns a proxy in front of a server that answers its path, and how
// many requests the server has seen.
func before(t *testing.T) (p *Proxy, address string, served *atomic.Int32) {
	served = new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		_, _ = io.WriteString(w, "answer to "+r.URL.Path)
	}))
	t.Cleanup(server.Close)
	target, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	p = New()
	t.Cleanup(func() { _ = p.Close() })
	address, _ = p.HTTP("web", target, &http.Transport{DisableCompression: true})
	return p, address, served
}

// get asks on a connection of its own; the transport must not repeat anything.
func get(address string) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	answer, err := client.Get(address)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

func TestRequestsAreNamedAndNumbered(t *testing.T) {
	p, address, _ := before(t)
	for _, path := range []string{"/a", "/b", "/a", "/api/v1/namespaces/x/pods/web-123?watch=true", "/apis/apps/v1/namespaces/x/deployments/web?dryRun=All"} {
		if _, err := get(address + path); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, r := range p.End() {
		names = append(names, r.Name())
	}
	want := []string{"web GET /a #1", "web GET /b #1", "web GET /a #2", "web WATCH pods/* #1", "web GET deployments/web?dryRun #1"}
	if !slices.Equal(names, want) {
		t.Errorf("the requests are %q", names)
	}
}

func TestOnlyTheNamedRequestMeetsTheFault(t *testing.T) {
	p, address, served := before(t)
	var met atomic.Int32
	reached := p.Begin(&Fault{Name: "web GET /a #2", Moment: Before, Effect: Hang, Meet: func() { met.Store(served.Load()) }})
	_, first := get(address + "/a")
	_, second := get(address + "/a")
	_, third := get(address + "/a")
	if first != nil || second == nil || third != nil {
		t.Errorf("the errors are %v, %v, %v", first, second, third)
	}
	<-reached
	if met.Load() != 1 || served.Load() != 2 {
		t.Errorf("the server had seen %d requests when the fault was met, and saw %d in all", met.Load(), served.Load())
	}
}

func TestAfterMeansThatTheServerHasDoneIt(t *testing.T) {
	p, address, served := before(t)
	var met atomic.Int32
	p.Begin(&Fault{Name: "web GET /a #1", Moment: After, Effect: Hang, Meet: func() { met.Store(served.Load()) }})
	if text, err := get(address + "/a"); err == nil || text != "" {
		t.Errorf("the answer %q came through, error %v", text, err)
	}
	if met.Load() != 1 {
		t.Errorf("the server had seen %d requests", met.Load())
	}
}

func TestCutPassesSoManyBytes(t *testing.T) {
	p, address, _ := before(t)
	p.Begin(nil)
	if _, err := get(address + "/a"); err != nil {
		t.Fatal(err)
	}
	whole := p.End()[0].Answer
	p.Begin(&Fault{Name: "web GET /a #1", Moment: After, Effect: Cut, Bytes: whole - 1})
	text, err := get(address + "/a")
	if want := "answer to /"; text != want || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("of %d bytes but one came %q, error %v", whole, text, err)
	}
	p.Begin(&Fault{Name: "web GET /a #1", Moment: After, Effect: Cut, Bytes: 0})
	if text, err := get(address + "/a"); err == nil {
		t.Errorf("of no bytes came %q", text)
	}
}

func TestAServerThatIsResetStaysSo(t *testing.T) {
	p, address, served := before(t)
	p.Begin(&Fault{Name: "web GET /a #1", Moment: Before, Effect: Reset})
	for range 2 {
		if _, err := get(address + "/a"); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			t.Errorf("the error is %v", err)
		}
	}
	p.End()
	p.Begin(nil)
	if _, err := get(address + "/a"); err != nil || served.Load() != 1 {
		t.Errorf("after it the error is %v, and the server saw %d requests", err, served.Load())
	}
}

func TestAHoleAnswersNobodyUntilTheEnd(t *testing.T) {
	p, address, served := before(t)
	reached := p.Begin(&Fault{Name: "web GET /a #1", Moment: After, Effect: Hole})
	ended := make(chan error, 1)
	go func() {
		_, err := get(address + "/a")
		ended <- err
	}()
	<-reached
	p.End()
	if err := <-ended; err == nil || served.Load() != 1 {
		t.Errorf("it ended with %v, and the server saw %d requests", err, served.Load())
	}
}

func TestCountingBeginsWithARequest(t *testing.T) {
	p, address, _ := before(t)
	p.From = func(r Request) bool { return r.Kind == "GET /b" }
	reached := p.Begin(&Fault{Name: "web GET /a #1", Moment: Before, Effect: Hang})
	for i, path := range []string{"/a", "/b", "/a"} {
		if _, err := get(address + path); (err != nil) != (i == 2) {
			t.Errorf("request %d ended with %v", i, err)
		}
	}
	<-reached
	if all := p.End(); len(all) != 2 || all[0].Name() != "web GET /b #1" || all[1].Number != 2 {
		t.Errorf("these were counted: %v", all)
	}
}

func TestStatementsAreNamedWithoutValues(t *testing.T) {
	for text, want := range map[string]string{
		"ALTER ROLE \"x\" PASSWORD 'SCRAM-SHA-256$4096:salt'\x00": "ALTER ROLE",
		"SELECT  1\n FROM t\x00":                                  "SELECT 1 FROM t",
		"\x00":                                                    "",
	} {
		if got := statement([]byte(text)); got != want {
			t.Errorf("%q is called %q", text, got)
		}
	}
}

func TestWhatIsNoStartUpMessageHasNoName(t *testing.T) {
	cancel := []byte{0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e, 0, 0, 0, 1, 0, 0, 0, 2}
	login := append([]byte{0, 0, 0, 19, 0, 3, 0, 0}, "user\x00me\x00\x00"...)
	if startup(cancel) != "" || startup(login) != "login me" || startup(nil) != "" {
		t.Errorf("they are called %q, %q and %q", startup(cancel), startup(login), startup(nil))
	}
}
